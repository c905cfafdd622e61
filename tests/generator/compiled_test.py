"""Steps compiled by XLA give the same texts, and see few shapes."""

import numpy as np
import pytest
import tensorflow as tf

from tests.generator.example_requests import REQUESTS, merged, parameter_rows
from tests.support import tiny_models
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameters import Parameters
from tf_textgen.errors import UserError
from tf_textgen.generator.compiled import power_of_two, widen, with_rounded_rows

FAMILIES = ["rnn_seq2seq", "transformer_lm"]


@pytest.mark.thorough
@pytest.mark.parametrize("name", FAMILIES)
def test_compiled_steps_give_the_same_texts(name):
    plain = tiny_models.generator(name).generate_graph
    compiled = tiny_models.generator(name, jit_compile=True).generate_graph
    prompts = tf.constant(list(REQUESTS))
    parameters = merged(parameter_rows(REQUESTS))
    expected = plain(prompts, parameters)
    for rows in (len(REQUESTS), 3, 0):
        some = Parameters(*(values[:rows] for values in parameters))
        found = compiled(prompts[:rows], some)
        assert found.text.shape == (rows,)
        for field in ("text", "token_count", "finish_reason", "prompt_truncated"):
            wanted = getattr(expected, field)[:rows]
            np.testing.assert_array_equal(getattr(found, field), wanted, field)
        np.testing.assert_allclose(found.score, expected.score[:rows], atol=1e-4)


@pytest.mark.thorough
def test_a_compiled_beam_finds_the_same():
    beam = DecodingConfig(beam_width=3, num_best=2, max_new_tokens=12)
    texts = ["abc", "", "a longer source than the others"]
    plain = tiny_models.generator("transformer_seq2seq")
    compiled = tiny_models.generator("transformer_seq2seq", jit_compile=True)
    found = [continuation.text for continuation in compiled.generate(texts, beam)]
    assert found == [continuation.text for continuation in plain.generate(texts, beam)]


def test_counts_are_not_compiled():
    message = "jit_compile: XLA does not compile ngram; expected a neural model"
    with pytest.raises(UserError, match=message):
        tiny_models.generator("ngram", jit_compile=True)


def test_sizes_are_rounded_to_powers_of_two():
    expected = {0: 0, 1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 31: 32, 32: 32, 33: 64, 1000: 1024}
    found = {size: int(power_of_two(tf.constant(size))) for size in expected}
    assert found == expected
    at_least_16 = {size: int(power_of_two(tf.constant(size), 16)) for size in (0, 1, 17)}
    assert at_least_16 == {0: 0, 1: 16, 17: 32}
    np.testing.assert_array_equal(widen(tf.constant([[1, 2, 3]]), 9), [[1, 2, 3, 9]])


def test_rows_are_rounded_to_powers_of_two():
    seen = []

    def multiply(rows, more):
        seen.append(len(rows))
        return rows * more

    squares = with_rounded_rows(multiply, tf.range(5), tf.range(5))
    np.testing.assert_array_equal(squares, np.arange(5) ** 2)
    assert seen == [8]
