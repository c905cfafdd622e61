"""Steps compiled by XLA: the same texts, whatever the shapes, of which few are compiled."""

import numpy as np
import pytest
import tensorflow as tf

from tests.generator.wishes import WISHES, merged
from tests.support import tiny_models
from tests.support.thorough import cases
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameters import from_config
from tf_textgen.errors import UserError
from tf_textgen.generator.compiled import power_of_two, widen, with_rounded_rows

FAMILIES = ["rnn_seq2seq", "transformer_lm"]


@pytest.mark.parametrize("name", cases(FAMILIES, always=["transformer_lm"]))
def test_compiled_steps_give_the_same_texts(name):
    prompts, parameters = (
        tf.constant(list(WISHES)),
        merged([from_config(wish, 1) for wish in WISHES.values()]),
    )
    plain, compiled = (
        tiny_models.generator(name, jit_compile=jit).generate_graph for jit in (False, True)
    )
    expected = plain(prompts, parameters)
    for rows in (len(WISHES), 3, 0):
        found = compiled(prompts[:rows], type(parameters)(*(one[:rows] for one in parameters)))
        assert found.text.shape == (rows,)
        for field in ("text", "token_count", "finish_reason", "prompt_truncated"):
            np.testing.assert_array_equal(
                getattr(found, field), getattr(expected, field)[:rows], field
            )
        np.testing.assert_allclose(found.score, expected.score[:rows], atol=1e-4)


@pytest.mark.thorough
def test_a_compiled_beam_finds_the_same():
    beam = DecodingConfig(beam_width=3, num_best=2, max_new_tokens=12)
    texts = ["abc", "", "a longer source than the others"]
    plain, compiled = (
        tiny_models.generator("transformer_seq2seq", jit_compile=jit) for jit in (False, True)
    )
    assert [one.text for one in compiled.generate(texts, beam)] == [
        one.text for one in plain.generate(texts, beam)
    ]


def test_counts_are_not_compiled():
    with pytest.raises(
        UserError, match="jit_compile: XLA does not compile ngram; expected a neural model"
    ):
        tiny_models.generator("ngram", jit_compile=True)


def test_shapes_are_powers_of_two():
    sizes = [0, 1, 2, 3, 4, 5, 31, 32, 33, 1000]
    assert [int(power_of_two(tf.constant(size))) for size in sizes] == [
        0,
        1,
        2,
        4,
        4,
        8,
        32,
        32,
        64,
        1024,
    ]
    assert [int(power_of_two(tf.constant(size), 16)) for size in (0, 1, 17)] == [0, 16, 32]
    np.testing.assert_array_equal(widen(tf.constant([[1, 2, 3]]), 9), [[1, 2, 3, 9]])
    seen = []
    doubled = with_rounded_rows(
        lambda rows, more: seen.append(len(rows)) or rows * more, tf.range(5), tf.range(5)
    )
    np.testing.assert_array_equal(doubled, np.arange(5) ** 2)
    assert seen == [8]
