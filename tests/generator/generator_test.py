"""Prompts in, continuations out: the Python interface of a generator."""

import dataclasses

import numpy as np
import pytest

from tests.generator.conftest import generator_of
from tests.generator.example_requests import PROMPTS
from tests.support import tiny_models
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError

GREEDY = DecodingConfig(temperature=0.0, max_new_tokens=8)
BEAM = DecodingConfig(beam_width=4, num_best=3, max_new_tokens=8)
SAMPLED = DecodingConfig(temperature=1.0, top_k=30, max_new_tokens=8, seed=11)


def texts_of(continuations):
    return [continuation.text for continuation in continuations]


@pytest.mark.parametrize("decoding", [GREEDY, SAMPLED, BEAM], ids=["greedy", "sampled", "beam"])
def test_a_prompt_in_a_batch_gives_its_own_text(generator, decoding):
    together = generator.generate(PROMPTS, decoding, batch_size=16)
    one_by_one = generator.generate(PROMPTS, decoding, batch_size=1)
    assert texts_of(together) == texts_of(one_by_one)
    scores = [continuation.score for continuation in together]
    expected = [continuation.score for continuation in one_by_one]
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_one_text_needs_no_list(generator):
    assert generator.generate("猫 a", GREEDY) == generator.generate(["猫 a"], GREEDY)
    source = "b c" if generator.is_pair else None
    found = generator.score("猫 a", source)
    expected = generator.score(["猫 a"], [source] if source else None)
    np.testing.assert_array_equal(found.log_probability, expected.log_probability)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            {"forced": ("a" * 30,)},
            "max_new_tokens=8: expected enough for the tokens of forced and forced_prefix",
        ),
        ({"max_new_tokens": 1000}, "max_new_tokens=1000: expected an integer from 1 to"),
    ],
)
def test_bad_parameters_are_reported_before_there_are_prompts(generator, bad, message):
    generator.check(GREEDY)
    decoding = dataclasses.replace(GREEDY, **bad)
    with pytest.raises(UserError, match=message):
        generator.check(decoding)
    with pytest.raises(UserError, match=message):
        generator.generate(["a"], decoding)


def test_more_tokens_than_the_bound_are_refused(generator):
    decoding = DecodingConfig(temperature=0.0, max_new_tokens=generator.max_new_tokens + 1)
    with pytest.raises(UserError, match="max_new_tokens"):
        generator.generate(["a"], decoding)


def test_samples_differ_and_do_not_depend_on_their_place(generator):
    decoding = DecodingConfig(temperature=1.5, max_new_tokens=12, num_samples=3, seed=2)
    found = generator.generate(["one", "two"], decoding)
    assert [continuation.prompt for continuation in found] == ["one"] * 3 + ["two"] * 3
    assert [continuation.sample for continuation in found] == [0, 1, 2] * 2
    assert len(set(texts_of(found[:3]))) == 3
    assert texts_of(generator.generate(["two"], decoding)) == texts_of(found[3:])


def test_prompts_may_have_their_own_seeds(generator):
    decoding = DecodingConfig(temperature=1.5, max_new_tokens=12, num_samples=2, seed=2)
    found = generator.generate(["one", "one", "two"], decoding, batch_size=4, seeds=[5, -6, 2])
    expected = []
    for prompt, seed in (("one", 5), ("one", -6), ("two", 2)):
        expected += generator.generate([prompt], dataclasses.replace(decoding, seed=seed))
    assert texts_of(found) == texts_of(expected)
    assert found[0].text != found[2].text
    message = "generate: 2 prompts and 1 seeds, expected as many of each"
    with pytest.raises(UserError, match=message):
        generator.generate(["one", "two"], decoding, seeds=[1])


def test_default_leaves_the_prompt_half_of_the_context(eagerly):
    generator = tiny_models.generator("transformer_lm", max_positions=16, num_layers=1)
    assert generator.max_new_tokens == 15
    assert generator.default_new_tokens == 8
    (continuation,) = generator.generate(["12345678"])
    assert not continuation.prompt_truncated
    assert continuation.token_count <= 8
    assert generator_of("rnn_seq2seq").default_new_tokens == 24


def test_no_prompts(generator):
    assert generator.generate([], GREEDY) == []
