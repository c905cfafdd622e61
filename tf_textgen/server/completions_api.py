"""Completions in OpenAI's form: at once, or streamed as server-sent events.

A stream asks the signature `generate_chunk` for some tokens at a time. So its chunks are joined
with those of other streams, and a stream that its reader leaves costs nothing more.

Reference: OpenAI API reference, Completions; WHATWG HTML, section 9.2 (server-sent events).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
from starlette.responses import Response, StreamingResponse

from tf_textgen.server.completion_request import (
    CHUNK_SIGNATURE,
    SIGNATURE,
    CompletionRequest,
    parse_completion,
)
from tf_textgen.server.json_tensors import Arrays, parse_object, to_json
from tf_textgen.server.predict_api import json_response
from tf_textgen.server.request_context import Exchange
from tf_textgen.server.request_error import RequestError, invalid
from tf_textgen.server.text_offsets import text_offsets

CHUNK_TOKENS = (
    8  # few enough to read along, many enough that reading the text so far again costs little
)
_REASONS = {"eos": "stop", "stop": "stop", "loop": "stop", "length": "length"}
_REFUSED = "invalid "  # how the finish reason of a refused row begins
_DONE = b"data: [DONE]\n\n"
_ERROR_TYPES = {404: "not_found_error", 503: "overloaded_error", 504: "timeout_error"}


async def models(exchange: Exchange) -> Response:
    """The one model there is."""
    model = {
        "id": exchange.model.name,
        "object": "model",
        "created": exchange.model.created,
        "owned_by": "tf_textgen",
    }
    return json_response({"object": "list", "data": [model]})


async def completions(exchange: Exchange) -> Response:
    """Continuations of prompts."""
    document = parse_object(await exchange.body())
    if document.get("stream") is True:
        events = _events(exchange, document)
        first = await anext(events)  # errors of the request are reported before the answer starts
        return StreamingResponse(_with_first(first, events), media_type="text/event-stream")
    with exchange.model.lease() as served:
        wish = parse_completion(
            document, exchange.model.name, served.loaded, exchange.config.max_batch_size
        )
        outputs = await exchange.ask(served, SIGNATURE, wish.inputs)
    _check_rows(outputs, wish)
    choices = [
        _choice(row, outputs, before, wish.logprobs) for row, before in enumerate(wish.echoed)
    ]
    answer = {
        **_head(exchange),
        "choices": choices,
        "usage": _usage(int(outputs["token_count"].sum())),
    }
    return json_response(answer)


def error_body(error: RequestError) -> dict[str, Any]:
    """OpenAI's form of an error."""
    kind = _ERROR_TYPES.get(
        error.code, "server_error" if error.code >= 500 else "invalid_request_error"
    )
    code = "model_not_found" if error.code == 404 and error.parameter == "model" else None
    return {
        "error": {"message": error.message, "type": kind, "param": error.parameter, "code": code}
    }


def _head(exchange: Exchange) -> dict[str, Any]:
    return {
        "id": f"cmpl-{secrets.token_hex(12)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": exchange.model.name,
    }


def _usage(new_tokens: int) -> dict[str, int]:
    """Counts only new tokens, since an export does not return the number of a prompt's tokens."""
    return {"completion_tokens": new_tokens}


def _check_rows(outputs: Arrays, wish: CompletionRequest) -> None:
    """All rows have the same parameters: what the graph says of one is the request's fault."""
    for reason in outputs["finish_reason"]:
        text = reason.decode()
        if text.startswith(_REFUSED):
            name, expected = text.removeprefix(_REFUSED).split(": ", 1)
            name = wish.aliases.get(name, name)
            raise invalid(f"{name}: {expected}", name)


def _choice(row: int, outputs: Arrays, before: str, logprobs: bool) -> dict[str, Any]:
    return {
        "text": before + outputs["text"][row].decode(),
        "index": row,
        "logprobs": _logprobs(row, outputs) if logprobs else None,
        "finish_reason": _REASONS[outputs["finish_reason"][row].decode()],
        "prompt_truncated": bool(outputs["prompt_truncated"][row]),
    }


def _logprobs(row: int, outputs: Arrays) -> dict[str, Any]:
    """The chosen tokens and their places in the choice's text.

    The tokens of a stop string are among them; the text ends before it.
    """
    count = int(outputs["token_count"][row])
    tokens = [token.decode() for token in outputs["token_texts"][row][:count]]
    values = outputs["token_log_probabilities"][row][:count]
    text = outputs["text"][row].decode()
    finish_reason = outputs["finish_reason"][row].decode()
    return {
        "tokens": tokens,
        "token_logprobs": values.astype(str).astype(float).tolist(),
        "top_logprobs": None,
        "text_offset": text_offsets(text, tokens, finish_reason),
    }


async def _events(exchange: Exchange, document: Mapping[str, Any]) -> AsyncIterator[bytes]:
    """Yields the events of a stream; raises only before the first one."""
    with exchange.model.lease() as served:
        wish = parse_completion(
            document, exchange.model.name, served.loaded, exchange.config.max_batch_size
        )
        head = _head(exchange)
        rows = np.arange(len(wish.echoed))
        before = wish.echoed
        read = [0] * len(rows)
        new_tokens = 0
        inputs: Arrays = {
            **wish.inputs,
            "state": np.full(len(rows), b"", object),
            "chunk_tokens": np.full(len(rows), CHUNK_TOKENS, np.int32),
        }
        has_started = False
        while len(rows):
            try:
                asked = exchange.ask(served, CHUNK_SIGNATURE, inputs)
                outputs = await asyncio.wait_for(asked, exchange.config.deadline_s)
                _check_rows(outputs, wish)
            except Exception as error:
                if not has_started:
                    raise
                yield _event(error_body(exchange.refusal(error)))
                return
            has_started = True
            choices = []
            for at, row in enumerate(rows):
                text = outputs["text"][at].decode()
                finished = bool(outputs["finished"][at])
                choices.append(
                    _delta(int(row), before[row] + text[read[row] :], outputs, at, finished)
                )
                before[row] = ""
                read[row] = len(text)
                new_tokens += int(outputs["token_count"][at]) * finished
                exchange.log_answers([outputs["text"][at]] if finished else [])
            exchange.record.tokens = new_tokens
            yield _event({**head, "choices": choices})
            going = ~outputs["finished"]
            inputs = {
                name: array[going] for name, array in {**inputs, "state": outputs["state"]}.items()
            }
            rows = rows[going]
        if wish.include_usage:
            yield _event({**head, "choices": [], "usage": _usage(new_tokens)})
        yield _DONE


def _delta(row: int, text: str, outputs: Arrays, at: int, finished: bool) -> dict[str, Any]:
    reason = _REASONS[outputs["finish_reason"][at].decode()] if finished else None
    return {"text": text, "index": row, "logprobs": None, "finish_reason": reason}


def _event(value: Any) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"


async def _with_first(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for event in others:
        yield event
