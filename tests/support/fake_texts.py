"""A served model that needs no weights: it says a prompt backwards, character for character.

It has the inputs and outputs of an export, refuses rows in band as one does, and generates no more
than `MOST` tokens.
"""

from __future__ import annotations

import math
from typing import Any

from tests.support.fake_serving import tensor
from tf_textgen.decoding.length_penalty import LENGTH_PENALTY_DTYPES
from tf_textgen.decoding.parameter_table import SEPARATOR
from tf_textgen.decoding.parameters import DTYPES, SEARCH_FIELDS

MOST = 30
LOG_PROBABILITY = -0.25
_NAMES = {"float32": "DT_FLOAT", "int32": "DT_INT32", "int64": "DT_INT64", "string": "DT_STRING"}
_TOO_LARGE = 0x110000
_PARAMETERS = {name: tensor(_NAMES[dtype.name], -1) for name, dtype in DTYPES._asdict().items()}
_PENALTY = {
    name: tensor(_NAMES[dtype.name], -1) for name, dtype in LENGTH_PENALTY_DTYPES._asdict().items()
}
_COUNT = {"token_count": tensor("DT_INT32", -1)}
_ENDS = {"finish_reason": tensor("DT_STRING", -1), "prompt_truncated": tensor("DT_BOOL", -1)}
_SCORE = {"score": tensor("DT_FLOAT", -1)}
_TEXT = {"text": tensor("DT_STRING", -1)}
_TOKENS = {
    "token_log_probabilities": tensor("DT_FLOAT", -1, -1),
    "token_texts": tensor("DT_STRING", -1, -1),
}


def signatures(text_name: str = "prompt") -> dict[str, Any]:
    """Those of an export with a beam of 2, as `/metadata` shows them."""
    text = {text_name: tensor("DT_STRING", -1)}
    source = {"source": tensor("DT_STRING", -1)} if text_name == "source" else {}
    searching = {name: _PARAMETERS[name] for name in SEARCH_FIELDS} | _PENALTY
    chunk = {"state": tensor("DT_STRING", -1), "chunk_tokens": tensor("DT_INT32", -1)}
    going = {"state": tensor("DT_STRING", -1), "finished": tensor("DT_BOOL", -1)}
    ids, error = {"tokens": tensor("DT_STRING", -1)}, {"error": tensor("DT_STRING", -1)}
    cut = {"truncated": tensor("DT_BOOL", -1)}
    scored = {"log_probability": tensor("DT_FLOAT", -1), "perplexity": tensor("DT_FLOAT", -1)}
    made = _TEXT | _SCORE | _COUNT | _ENDS
    best = {**made, "normalized_score": tensor("DT_FLOAT", -1, 2), **_TOKENS}
    found = {
        "serving_default": (_TEXT, _TEXT),
        "generate": (text | _PARAMETERS, made | _TOKENS),
        "generate_chunk": (text | chunk | _PARAMETERS, made | going),
        "beam_search": (text | searching, best),
        "score": (_TEXT | source, scored | _COUNT | _TOKENS | cut),
        "tokenize": (_TEXT, ids | _COUNT | {"token_texts": _TOKENS["token_texts"]}),
        "detokenize": (ids, _TEXT | error),
        "embed": (_TEXT, {"embedding": tensor("DT_FLOAT", -1, 2)} | _COUNT | cut),
    }
    method = "tensorflow/serving/predict"
    return {
        name: {"inputs": i, "outputs": o, "method_name": method} for name, (i, o) in found.items()
    }


def answer(name: str, inputs: dict[str, list]) -> dict[str, Any]:
    """The outputs of a signature."""
    if name == "serving_default":
        return {"text": [text[::-1] for text in inputs["text"]]}
    if name == "score":
        return _columns([_scored(text, source) for text, source in _pairs(inputs)])
    if name == "tokenize":
        return _columns([_tokenized(text) for text in inputs["text"]])
    if name == "detokenize":
        return _columns([_detokenized(tokens) for tokens in inputs["tokens"]])
    if name == "embed":
        return _columns([_embedded(text) for text in inputs["text"]])
    texts = inputs["source"] if "source" in inputs else inputs["prompt"]
    rows = [{key: values[i] for key, values in inputs.items()} for i in range(len(texts))]
    make = {"generate": _generated, "generate_chunk": _chunk, "beam_search": _best}[name]
    return _columns([make(text, row) for text, row in zip(texts, rows, strict=True)])


def _pairs(inputs: dict[str, list]) -> list[tuple[str, str]]:
    return list(zip(inputs["text"], inputs.get("source", inputs["text"]), strict=True))


def _tokenized(text: str) -> dict[str, Any]:
    return {
        "tokens": " ".join(str(ord(one)) for one in text),
        "token_count": len(text),
        "token_texts": list(text),
    }


def _detokenized(tokens: str) -> dict[str, Any]:
    ids = [int(one) for one in tokens.split()]
    if any(not 0 <= one < _TOO_LARGE for one in ids):
        return {"text": "", "error": f"invalid tokens: expected ids from 0 to {_TOO_LARGE - 1}"}
    return {"text": "".join(map(chr, ids)), "error": ""}


def _embedded(text: str) -> dict[str, Any]:
    return {"embedding": [len(text) + 0.5, 1.0], "token_count": len(text), "truncated": False}


def _columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    for name, nothing in (("token_log_probabilities", 0.0), ("token_texts", "")):
        if name in columns:
            _pad(columns[name], nothing)
    return columns


def _pad(lists: list, nothing: Any) -> None:
    """Fills the innermost lists to one length, as a tensor has it."""
    inner = [one for row in lists for one in (row if row and isinstance(row[0], list) else [row])]
    longest = max(map(len, inner))
    for one in inner:
        one += [nothing] * (longest - len(one))


def _refusal(row: dict[str, Any]) -> str:
    if "temperature" in row and not row["temperature"] >= 0:
        return "invalid temperature: expected a finite value >= 0"
    if not 1 <= row["max_new_tokens"] <= MOST:
        return f"invalid max_new_tokens: expected an integer from 1 to {MOST}"
    return ""


def _generated(prompt: str, row: dict[str, Any]) -> dict[str, Any]:
    reason = _refusal(row)
    said = f"{prompt[::-1]}#{row['seed']}" if row.get("seed") else prompt[::-1]
    text, ends = (
        said[: row["max_new_tokens"]],
        "length" if len(said) >= row["max_new_tokens"] else "eos",
    )
    for stop in filter(None, row["stop"].split(SEPARATOR)):
        if stop in text:
            text, ends = text[: text.index(stop)], "stop"
    text = "" if reason else text
    return {
        **_tokens(text),
        "text": text,
        "finish_reason": reason or ends,
        "prompt_truncated": len(prompt) > 40,
    }


def _tokens(text: str) -> dict[str, Any]:
    scores = [LOG_PROBABILITY] * len(text)
    return {
        "score": sum(scores),
        "token_count": len(text),
        "token_log_probabilities": scores,
        "token_texts": list(text),
    }


def _chunk(prompt: str, row: dict[str, Any]) -> dict[str, Any]:
    whole = _generated(prompt, row)
    number = int(row["state"] or 0) + row["chunk_tokens"]
    text = whole["text"][:number]
    finished = whole["finish_reason"].startswith("invalid") or number >= len(whole["text"])
    counted = {name: _tokens(text)[name] for name in ("score", "token_count")}
    made = {"text": text, "finish_reason": whole["finish_reason"] if finished else "", **counted}
    return {
        **made,
        "prompt_truncated": whole["prompt_truncated"],
        "state": str(number),
        "finished": finished,
    }


def _best(prompt: str, row: dict[str, Any]) -> dict[str, Any]:
    """Two texts, of which a short prompt has one."""
    first = _generated(prompt, row)
    second = (
        _generated(prompt.upper(), row)
        if len(prompt) > 1
        else {**first, "finish_reason": "", "text": ""}
    )
    both = [{**one, "normalized_score": one["score"] / 2} for one in (first, second)]
    return {name: [one[name] for one in both] for name in both[0]} | {
        "prompt_truncated": first["prompt_truncated"]
    }


def _scored(text: str, source: str) -> dict[str, Any]:
    found = _tokens(text)
    perplexity = math.exp(-LOG_PROBABILITY) if text else math.nan
    found["log_probability"] = found.pop("score")
    return {**found, "perplexity": perplexity, "truncated": source != text}
