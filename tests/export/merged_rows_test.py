"""Merged batches: each row is answered as it is by itself, and a bad one fails by itself.

They are answered by the graph that TF Serving runs with `--enable_batching`.
"""

import numpy as np
import pytest

from tests.export.conftest import write_unchecked
from tests.generator.example_requests import REQUESTS
from tests.support import tiny_models
from tests.support.thorough import cases
from tf_textgen.compat import SavedModelSession
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.generator.decoder import generate_inputs

FAMILIES = ["ngram", "transformer_lm", "rnn_lm", "rnn_seq2seq", "transformer_seq2seq"]
BAD = {
    "temperature": (float("nan"), "invalid temperature: expected a finite value >= 0"),
    "top_p": (2.0, "invalid top_p: expected a value > 0 and <= 1"),
    "max_new_tokens": (10_000, "invalid max_new_tokens: expected an integer from 1 to 24"),
}


def row_of(text_name, prompt, decoding, **changed):
    inputs = generate_inputs(text_name, [prompt], decoding)
    row = {name: values[0] for name, values in inputs.items()}
    return {**row, **changed}


def ask(session, signature, rows):
    """The answer of each row of one request."""
    inputs = {name: [row[name] for row in rows] for name in rows[0]}
    answer = session.run(signature, inputs)
    return [{name: values[row] for name, values in answer.items()} for row in range(len(rows))]


def assert_same(merged, single):
    """Compares the answers of one row.

    Numbers may differ by 1e-4. The longest row of a batch gives the width of token columns. A state
    holds the score to its last bit, which may differ, and a checksum of it.
    """
    for name, value in single.items():
        other = merged[name][: len(value)] if np.ndim(value) else merged[name]
        if name == "state":
            value = value.split()[3:]
            other = other.split()[3:]
        if np.asarray(value).dtype.kind == "f":
            # The perplexity is a number in the hundreds.
            rtol = 1e-4 if name == "perplexity" else 0
            np.testing.assert_allclose(other, value, rtol=rtol, atol=1e-4, err_msg=name)
        else:
            np.testing.assert_array_equal(other, value, err_msg=name)


def test_merged_requests(exported):
    good = [row_of("prompt", prompt, decoding) for prompt, decoding in REQUESTS.items()]
    bad = [{**good[1], name: value} for name, (value, _) in BAD.items()]
    merged = ask(exported.served, "generate", bad + good)
    for answer, (_, message) in zip(merged, BAD.values(), strict=False):
        assert answer["finish_reason"].decode() == message
        assert answer["text"] == b""
        assert answer["token_count"] == 0
    for answer, row in zip(merged[len(bad) :], good, strict=True):
        assert_same(answer, ask(exported.served, "generate", [row])[0])


def test_merged_chunks(exported):
    rows = []
    for i, (prompt, decoding) in enumerate(REQUESTS.items()):
        rows.append(row_of("prompt", prompt, decoding, state="", chunk_tokens=2 + i))
    first_chunks = ask(exported.served, "generate_chunk", rows)
    unfinished = []
    for row, answer in zip(rows, first_chunks, strict=True):
        if not answer["finished"]:
            unfinished.append({**row, "state": answer["state"]})
    assert len(unfinished) > 5
    damaged_state = unfinished[0]["state"].replace(b" ", b" 1", 1)
    bad = [{**unfinished[0], "state": damaged_state}, {**rows[0], "chunk_tokens": 0}]
    good = rows[:2] + unfinished
    merged = ask(exported.served, "generate_chunk", bad + good)
    refused = merged[:2]
    names = [answer["finish_reason"].split(b":")[0] for answer in refused]
    assert names == [b"invalid state", b"invalid chunk_tokens"]
    for answer in refused:
        assert answer["finished"]
        assert answer["text"] == b""
        assert answer["state"] == b""
    for answer, row in zip(merged[2:], good, strict=True):
        assert_same(answer, ask(exported.served, "generate_chunk", [row])[0])


@pytest.mark.parametrize("signature", ["tokenize", "embed", "score"])
def test_merged_texts(exported, signature):
    rows = [{"text": text} for text in ("", "the cat", "猫")]
    for answer, row in zip(ask(exported.served, signature, rows), rows, strict=True):
        assert_same(answer, ask(exported.served, signature, [row])[0])


def test_merged_ids(exported):
    found = exported.served.run("detokenize", {"tokens": ["102 103", "102 x", "261", ""]})
    assert found["text"].tolist() == [b"ab", b"", b"", b""]
    assert [bool(error) for error in found["error"]] == [False, True, True, False]


@pytest.mark.parametrize("family", cases(FAMILIES, always=["transformer_lm"]))
def test_optimized_graphs_give_the_answers_of_the_generator(family, exported, tmp_path):
    """TF Serving lets Grappler optimize the graphs, which the other tests leave as they are."""
    if family == "transformer_lm":
        generator = exported.generator
        path = exported.loaded.path
    else:
        generator = tiny_models.generator(family)
        decoding = DecodingConfig(max_new_tokens=12)
        path = write_unchecked(generator, tmp_path / "model", decoding)
    session = SavedModelSession(str(path), optimize=True)
    text_name = "source" if generator.is_pair else "prompt"
    rows = [row_of(text_name, prompt, decoding) for prompt, decoding in REQUESTS.items()]
    signature = generator.signatures(DecodingConfig())["generate"]
    inputs = {name: [row[name] for row in rows] for name in rows[0]}
    expected = signature.function(**inputs)
    for place, answer in enumerate(ask(session, "generate", rows)):
        assert_same(answer, {name: values.numpy()[place] for name, values in expected.items()})
