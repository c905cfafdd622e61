"""Requests merged into one batch, as `--enable_batching` does, in the graph that TF Serving runs: each row is answered
as it is alone, and one that is wrong fails by itself.
"""

import numpy as np
import pytest

from tests.generator.wishes import WISHES
from tf_textgen.compat import ServedModel
from tf_textgen.export.exported import generate_inputs

BAD = {
    "temperature": (float("nan"), "invalid temperature: expected a finite value >= 0"),
    "top_p": (2.0, "invalid top_p: expected a value > 0 and <= 1"),
    "max_new_tokens": (10_000, "invalid max_new_tokens: expected an integer from 1 to 24"),
}


@pytest.fixture(scope="module")
def served(exported):
    return ServedModel(str(exported[1].path))


def one(prompt, wish, **changed):
    return {name: values[0] for name, values in generate_inputs("prompt", [prompt], wish).items()} | changed


def ask(served, signature, rows):
    """The answer of each row of one request."""
    inputs = {name: [row[name] for row in rows] for name in rows[0]}
    answer = served.ask(signature, inputs)
    return [{name: values[row] for name, values in answer.items()} for row in range(len(rows))]


def assert_same(merged, alone):
    """Numbers within 1e-4, all else to the letter; the longest row of a batch gives the width of token columns.

    A state holds the score to its last bit, which may differ, and a mark of it.
    """
    for name, value in alone.items():
        other = merged[name][: len(value)] if np.ndim(value) else merged[name]
        if name == "state":
            value, other = value.split()[3:], other.split()[3:]
        if np.asarray(value).dtype.kind == "f":
            rtol = 1e-4 if name == "perplexity" else 0  # of numbers in the hundreds
            np.testing.assert_allclose(other, value, rtol=rtol, atol=1e-4, err_msg=name)
        else:
            np.testing.assert_array_equal(other, value, err_msg=name)


def test_merged_rows_are_answered_as_alone_and_bad_ones_fail_by_themselves(served):
    good = [one(prompt, wish) for prompt, wish in WISHES.items()]
    bad = [{**good[1], name: value} for name, (value, _) in BAD.items()]
    merged = ask(served, "generate", bad + good)
    for answer, (_, message) in zip(merged, BAD.values(), strict=False):
        assert (answer["finish_reason"].decode(), answer["text"], answer["token_count"]) == (message, b"", 0)
    for answer, row in zip(merged[len(bad) :], good, strict=True):
        assert_same(answer, ask(served, "generate", [row])[0])


def test_merged_chunks_go_on_as_alone_wherever_they_are(served):
    rows = [one(prompt, wish, state="", chunk_tokens=2 + i) for i, (prompt, wish) in enumerate(WISHES.items())]
    begun = ask(served, "generate_chunk", rows)
    going = [
        {**row, "state": answer["state"]} for row, answer in zip(rows, begun, strict=True) if not answer["finished"]
    ]
    assert len(going) > 5
    damaged = {**going[0], "state": going[0]["state"].replace(b" ", b" 1", 1)}
    merged = ask(served, "generate_chunk", [damaged, {**rows[0], "chunk_tokens": 0}, *rows[:2], *going])
    assert [answer["finish_reason"].split(b":")[0] for answer in merged[:2]] == [
        b"invalid state",
        b"invalid chunk_tokens",
    ]
    assert all(answer["finished"] and answer["text"] == answer["state"] == b"" for answer in merged[:2])
    for answer, row in zip(merged[2:], rows[:2] + going, strict=True):
        assert_same(answer, ask(served, "generate_chunk", [row])[0])


def test_merged_ids_and_vectors(served):
    texts, tokens = ["", "the cat", "猫"], ["102 103", "102 x", "261", ""]
    for signature, rows in (("tokenize", texts), ("embed", texts), ("score", texts)):
        for answer, text in zip(ask(served, signature, [{"text": text} for text in rows]), rows, strict=True):
            assert_same(answer, ask(served, signature, [{"text": text}])[0])
    found = served.ask("detokenize", {"tokens": tokens})
    assert found["text"].tolist() == [b"ab", b"", b"", b""] and [bool(error) for error in found["error"]] == [
        0,
        1,
        1,
        0,
    ]
