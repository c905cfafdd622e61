"""The address and the limits of the local server. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses

from tf_textgen.config import Config, field


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerConfig(Config):
    """For one machine and the people on it, unless a flag says otherwise."""

    host: str = field(
        "127.0.0.1", "Address to listen at; any but a loopback address lets other machines ask."
    )
    port: int = field(
        8501,
        "Port to listen at, TF Serving's for REST; 0 takes a free one.",
        at_least=0,
        at_most=65535,
    )
    max_batch_size: int = field(
        32,
        "Rows that are answered at once, of one request or of several; a longer request is "
        "refused.",
        at_least=1,
    )
    batch_timeout_ms: float = field(
        5.0,
        "How long a row waits for others to join its batch, if nothing else is running.",
        at_least=0.0,
    )
    num_batch_threads: int = field(
        2, "Batches that are answered at the same time, each with memory of its own.", at_least=1
    )
    max_queue_rows: int = field(
        1024,
        "Rows that may wait; what comes beyond is answered with 503 and Retry-After.",
        at_least=1,
    )
    max_requests: int = field(
        512, "Requests open at once; what comes beyond is answered with 503.", at_least=1
    )
    max_body_bytes: int = field(
        2**20, "Size of a request's body; a larger one is answered with 413.", at_least=1
    )
    deadline_s: float = field(
        60.0,
        "How long a request, or one chunk of a stream, may take before it is answered with 504.",
        above=0.0,
    )
    drain_timeout_s: int = field(
        30, "How long open requests may continue after SIGTERM or a new version.", at_least=0
    )
    poll_s: float = field(2.0, "How often the folder is looked at for new versions.", above=0.0)
    log_texts: bool = field(
        False, "Writes bodies and answers to the access log, which has none otherwise."
    )
