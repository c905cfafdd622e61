"""Texts to ids and back, as a server's client sees them: one string a row, bad rows next to good
ones.
"""

import numpy as np
import pytest
import tensorflow as tf

from tests.generator.conftest import generator_of


@pytest.fixture(scope="module")
def generator():
    """Over bytes: byte b has the id b + 5, of 261."""
    return generator_of("ngram")


def test_ids_come_and_go_as_one_string(generator):
    texts = ["", "ab", "猫 \n"]
    found = generator.tokenize_graph(tf.constant(texts))
    ids = [[byte + 5 for byte in text.encode()] for text in texts]
    assert [tokens.decode() for tokens in found.tokens.numpy()] == [
        " ".join(map(str, row)) for row in ids
    ]
    np.testing.assert_array_equal(found.token_count, [0, 2, 5])
    np.testing.assert_array_equal(found.token_texts[1].numpy(), [b"a", b"b", b"", b"", b""])
    back = generator.detokenize_graph(found.tokens)
    assert [text.decode() for text in back.text.numpy()] == texts
    assert not any(back.error.numpy())


def test_bad_ids_fail_alone_and_say_why(generator):
    decimal = "invalid tokens: expected ids in decimal with spaces between"
    rows = {
        "102 103": ("ab", ""),
        "  2 102\t3  ": ("a", ""),  # special ids have no text
        "102 261": ("", "invalid tokens: expected ids from 0 to 260"),
        "102 4294967398": (
            "",
            "invalid tokens: expected ids from 0 to 260",
        ),  # 102 in the lower half of its bits
        "102 -1": ("", decimal),
        "1.5": ("", decimal),
        "9" * 99: ("", decimal),
        b"\xff 102": ("", decimal),
        "230": ("\ufffd", ""),
    }
    found = generator.detokenize_graph(tf.constant(list(rows)))
    answers = zip(found.text.numpy(), found.error.numpy(), strict=True)
    assert [(text.decode(), error.decode()) for text, error in answers] == list(rows.values())


def test_no_rows(generator):
    none = tf.constant([], tf.string)
    assert (
        generator.tokenize_graph(none).token_texts.shape[0]
        == generator.detokenize_graph(none).text.shape[0]
        == 0
    )
