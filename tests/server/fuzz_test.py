"""Bodies that are malformed in every way: an error that is the client's, as JSON, and a server that
continues.
"""

import json
import os
import random

import pytest

from tests.server.served import asking, serving
from tests.server.toy_export import DECODING

BODIES = int(os.environ.get("FUZZ_BODIES", "100"))  # 2,000 take a minute and a half
MOST_BYTES = 20_000
PREDICT, COMPLETIONS = "/v1/models/toy:predict", "/v1/completions"
ROW = {"prompt": "x", "max_new_tokens": 2, "seed": 1, "stop": "", "temperature": 1.0, "top_k": 0}
STRINGS, WHOLE = ("prompt", "stop"), ("max_new_tokens", "seed", "top_k")
ODD_TEXTS = [
    "",
    "\x00",
    "‮",
    "从" * 99,
    "a" * 9999,
    "../../etc/passwd",
    "%s%n",
    "<script>",
    "NaN",
    "ÿ",
    "\ud800",
]
DEEP = [json.loads("[" * depth + "]" * depth) for depth in (1, 2, 9, 60, 900)]


def wrong(rng, name):
    """A value that the input `name` does not take."""
    anything = [None, [], {}, {"b64": 1}, {"a": "b"}, ["x"], [1], *DEEP]
    if name in STRINGS:
        return rng.choice([*anything, 1, 1.5, True, {"b64": "%"}, 10**400])
    others = [*anything, "1", True, {"b64": "MQ=="}]
    return rng.choice(
        [*others, 1.5, 2**63, -(2**63) - 1] if name in WHOLE else [*others, 1e300, 2**24 + 1]
    )


def damaged_row(rng):
    row = dict(ROW)
    name = rng.choice(list(row))
    kind = rng.randrange(3)
    if kind == 0:
        row[name] = wrong(rng, name)
    elif kind == 1:
        del row[name]
    else:
        row[rng.choice(ODD_TEXTS)] = 1
    return row


def damaged_predict(rng):
    asked = {"signature_name": "generate"}
    kind = rng.randrange(7)
    if kind == 0:
        rows = [dict(ROW) for _ in range(rng.randint(1, 4))]
        rows.insert(rng.randrange(len(rows) + 1), damaged_row(rng))
        return {**asked, "instances": rows}
    if kind == 1:
        columns = {name: [value] * 2 for name, value in ROW.items()}
        name = rng.choice(list(columns))
        columns[name] = rng.choice(
            [columns[name][:1], columns[name] * 2, ROW[name], [columns[name]], {}, "x", None]
        )
        return {**asked, "inputs": columns}
    if kind == 2:
        return {
            **asked,
            rng.choice(["instances", "inputs"]): rng.choice(
                [None, 1, True, "x", {}, ["x"], [[]], *DEEP]
            ),
        }
    if kind == 3:
        return {"signature_name": rng.choice([*ODD_TEXTS[1:], 1, None, [], {}]), "instances": ["x"]}
    if kind == 4:
        return {**asked, "instances": [ROW] * 33}
    if kind == 5:
        return {**asked, "inputs": ["x"], "instances": ["x"]}
    return rng.choice([{}, [], None, 1, "instances", {"instance": ["x"]}, {"instances": []}, *DEEP])


def damaged_completion(rng):
    body = {"prompt": "x", "max_tokens": 2, "stream": rng.random() < 0.3}
    field = rng.choice(
        [
            *sorted(set(DECODING) & set(ROW)),
            "prompt",
            "n",
            "echo",
            "stream",
            "logprobs",
            "model",
            "odd",
        ]
    )
    if field in ROW and field != "stop" and field != "prompt":
        bad = wrong(rng, field)
        return {
            **body,
            field: 1.25 if bad is None and field in WHOLE else "1" if bad is None else bad,
        }
    value = {
        "stop": [1, True, [1], [""], {"b64": "eA=="}, ["x", None]],
        "prompt": [1, True, [], [1], {}, ["x", None], [["x"]], ["x"] * 33],
        "n": [0, -1, 1.5, "1", True, 129, [], {}],
        "echo": [0, 1, "true", [], {}],
        "stream": [0, 1, "true", [], {}],
        "logprobs": [1, -1, True, "0", [], {}],
        "model": [*ODD_TEXTS, 1, [], {}],
        "odd": [*ODD_TEXTS, 1, [], {}],
    }[field]
    name = rng.choice([text for text in ODD_TEXTS if text]) if field == "odd" else field
    return {**body, name: rng.choice(value)}


def damaged_text(rng, valid):
    """What is no JSON, or not of JSON's letters."""
    encoded = json.dumps(valid).encode()
    kind = rng.randrange(4)
    if kind == 0:
        return encoded[: rng.randrange(len(encoded))]
    if kind == 1:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(200)))
    if kind == 2:
        at = rng.randrange(len(encoded))
        return encoded[:at] + bytes([rng.choice([0x80, 0xC0, 0xFF])]) + encoded[at:]
    return rng.choice(
        [b"[" * 20_000, b'{"a":' * 3000, encoded + b"x" * MOST_BYTES, b"\x00", encoded + encoded]
    )


def bodies(seed):
    rng = random.Random(seed)
    for _ in range(BODIES):
        path = rng.choice([PREDICT, COMPLETIONS])
        kind = rng.random()
        valid = (
            {"signature_name": "generate", "instances": [ROW]}
            if path == PREDICT
            else {"prompt": "x"}
        )
        if kind < 0.25:
            yield path, damaged_text(rng, valid)
        else:
            yield (
                path,
                json.dumps(
                    damaged_predict(rng) if path == PREDICT else damaged_completion(rng)
                ).encode(),
            )


@pytest.mark.parametrize("seed", [1])
def test_malformed_bodies_are_the_clients_errors(toy_root, capfd, seed):
    codes = {}
    with serving(toy_root, max_body_bytes=MOST_BYTES) as server, asking(server) as client:
        for path, body in bodies(seed):
            answer = client.post(path, body)
            if answer.code == 413:  # what was not read stands in the way of the next
                client.close()
            error = (answer.json or {}).get("error")
            message = error["message"] if isinstance(error, dict) else error
            assert 400 <= answer.code < 500 and message and "\n" not in message, (
                path,
                body[:300],
                answer,
            )
            assert len(answer.text) < 2000
            codes[answer.code] = codes.get(answer.code, 0) + 1
        assert client.post(PREDICT, {"instances": ["x"]}).json == {"predictions": ["xa"]}
    assert sum(codes.values()) == BODIES and codes[413] and codes[404]
    log = capfd.readouterr().err
    assert "Traceback" not in log and "unexpected" not in log
