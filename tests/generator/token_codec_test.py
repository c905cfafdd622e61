"""Texts to ids and back, as a server's client sees them: one string a row, bad rows among good."""

import numpy as np
import pytest
import tensorflow as tf

from tests.generator.conftest import generator_of

DECIMAL = "invalid tokens: expected ids in decimal with spaces between"
RANGE = "invalid tokens: expected ids from 0 to 260"


@pytest.fixture(scope="module")
def codec():
    """Over bytes: byte b has the id b + 5, of 261."""
    return generator_of("ngram").token_codec


def test_ids_are_one_string_in_both_directions(codec):
    texts = ["", "ab", "猫 \n"]
    found = codec.tokenize_graph(tf.constant(texts))
    ids = [[byte + 5 for byte in text.encode()] for text in texts]
    strings = [tokens.decode() for tokens in found.tokens.numpy()]
    assert strings == [" ".join(map(str, row)) for row in ids]
    np.testing.assert_array_equal(found.token_count, [0, 2, 5])
    np.testing.assert_array_equal(found.token_texts[1].numpy(), [b"a", b"b", b"", b"", b""])
    back = codec.detokenize_graph(found.tokens)
    assert [text.decode() for text in back.text.numpy()] == texts
    assert not any(back.error.numpy())


@pytest.mark.parametrize(
    ("tokens", "text", "error"),
    [
        ("102 103", "ab", ""),
        # Special ids have no text.
        ("  2 102\t3  ", "a", ""),
        ("230", "\ufffd", ""),
        ("102 261", "", RANGE),
        # 102 is in the lower half of its bits.
        ("102 4294967398", "", RANGE),
        ("102 -1", "", DECIMAL),
        ("1.5", "", DECIMAL),
        ("9" * 99, "", DECIMAL),
        (b"\xff 102", "", DECIMAL),
    ],
)
def test_a_bad_row_fails_by_itself_with_a_reason(codec, tokens, text, error):
    found = codec.detokenize_graph(tf.constant(["103", tokens, "104"]))
    assert [value.decode() for value in found.text.numpy()] == ["b", text, "c"]
    assert [value.decode() for value in found.error.numpy()] == ["", error, ""]


def test_no_rows(codec):
    nothing = tf.constant([], tf.string)
    assert codec.tokenize_graph(nothing).token_texts.shape[0] == 0
    assert codec.detokenize_graph(nothing).text.shape[0] == 0
