"""Prompt and text are one text, by every way to generate it.

The words of a tokenizer of words are the hardest case: a space between them is no token. Each kind
of tokenizer is tested in `tests/text/tokenizer_test.py`.
"""

import functools

import pytest
import tensorflow as tf

from tests.support import tiny_models
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.length_penalty import length_penalty_of
from tf_textgen.decoding.parameters import from_config
from tf_textgen.generator import TextGenerator
from tf_textgen.text.words import WordTokenizer

# The prompt, the tokens that are generated (as text), and the text that must be returned.
WORDS = {
    "the cat": (" sat on", " sat on"),
    "the cat ": ("sat on", "sat on"),
    "": ("the mat", "the mat"),
    "the mat\n": ("a dog", "a dog"),
    "a cat sat": ("\na dog", "\na dog"),
}
PROMPTS = tf.constant(list(WORDS))
EXPECTED = [text.encode() for _, text in WORDS.values()]


pytestmark = pytest.mark.usefixtures("eagerly")


@functools.cache
def generator_of(prompt_format):
    tokenizer = WordTokenizer(["\n", "the", "cat", "sat", "on", "mat", "a", "dog"])
    model = tiny_models.model("ngram", tokenizer.vocabulary_size, order=2)
    return TextGenerator(model, tokenizer, prompt_format=prompt_format, max_new_tokens=12)


def parameters_of(generator, decoding=None):
    """Parameters by which exactly the tokens of `WORDS` are generated."""
    decoding = decoding or DecodingConfig(temperature=0.0)
    texts = tf.constant([generated for generated, _ in WORDS.values()])
    counts = generator.tokenizer.tokenize(texts).row_lengths()
    rows = from_config(decoding, len(WORDS))
    return rows._replace(forced_prefix=texts, max_new_tokens=tf.cast(counts, tf.int32))


@pytest.mark.parametrize("prompt_format", ["continuation", "document"])
def test_texts_continue_their_prompts(prompt_format):
    generator = generator_of(prompt_format)
    found = generator.generate_graph(PROMPTS, parameters_of(generator))
    assert found.text.numpy().tolist() == EXPECTED


def test_a_target_is_a_text_of_its_own():
    generator = generator_of("pair")
    found = generator.generate_graph(PROMPTS, parameters_of(generator))
    assert found.text.numpy().tolist() == [text.lstrip(b" ") for text in EXPECTED]


def test_every_text_of_a_beam_continues_its_prompt():
    generator = generator_of("continuation")
    beam = DecodingConfig(beam_width=3, num_best=2)
    rows = parameters_of(generator, beam)
    more = rows._replace(max_new_tokens=rows.max_new_tokens + 1)
    penalty = length_penalty_of(beam, len(WORDS))
    found = generator.beam_graph(3, 2)(PROMPTS, more, penalty)
    for texts, expected in zip(found.text.numpy(), EXPECTED, strict=True):
        assert len(set(texts)) == 2
        for text in texts:
            assert text.startswith(expected)


def test_a_stream_grows_to_the_same_text():
    generator = generator_of("continuation")
    rows = parameters_of(generator)
    one = tf.ones([len(WORDS)], tf.int32)
    first = generator.chunk_graph(PROMPTS, tf.fill([len(WORDS)], ""), one, rows)
    going = tf.where(~first.finished)[:, 0]
    rows = type(rows)(*(tf.gather(value, going) for value in rows))
    prompts = tf.gather(PROMPTS, going)
    states = tf.gather(first.state, going)
    last = generator.chunk_graph(prompts, states, tf.fill(tf.shape(going), 9), rows)
    starts = tf.gather(first.text, going).numpy().tolist()
    assert starts == [b" sat", b"sat", b"the", b"a", b"\n"]
    assert last.text.numpy().tolist() == EXPECTED
