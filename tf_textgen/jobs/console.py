"""The encoding of standard output and standard error. Does not import TensorFlow."""

from __future__ import annotations

import codecs
import io
import json
import sys

_ESCAPED = "tf_textgen.escaped"


def use_utf8() -> None:
    """Makes both streams UTF-8, whatever the locale says, unless a terminal shows them.

    A terminal keeps its encoding, and characters that it lacks are written as `\\uHHHH`. Pairs of
    them represent the later planes, as in JSON, so that lines of JSON stay valid.
    """
    codecs.register_error(_ESCAPED, _escaped)
    for stream in (sys.stdout, sys.stderr):
        # A notebook has other streams, and a closed stream is None.
        if not isinstance(stream, io.TextIOWrapper):
            continue
        if stream.isatty():
            stream.reconfigure(errors=_ESCAPED)
        else:
            stream.reconfigure(encoding="utf-8", errors=_ESCAPED)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return json.dumps(characters).strip('"'), error.end
