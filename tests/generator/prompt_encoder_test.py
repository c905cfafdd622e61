"""The frame of prompts, and the end that a long one loses."""

import numpy as np
import pytest
import tensorflow as tf

from tests.generator.conftest import generator_of
from tests.support import tiny_models
from tf_textgen.decoding.decoding_config import DecodingConfig

GREEDY = DecodingConfig(temperature=0.0, max_new_tokens=8)


def test_pair_format_frames_the_source(pair_generator):
    prompts = tf.constant(["ab", ""])
    features, truncated = pair_generator.encoder.features(prompts, tf.constant([4, 4]))
    tokenizer = pair_generator.tokenizer
    a, b = tokenizer.tokenize(tf.constant(["ab"])).to_list()[0]
    expected = [
        [tokenizer.bos_id, a, b, tokenizer.sep_id],
        [tokenizer.pad_id, tokenizer.pad_id, tokenizer.bos_id, tokenizer.sep_id],
    ]
    np.testing.assert_array_equal(features["target_tokens"], expected)
    np.testing.assert_array_equal(features["target_lengths"], [4, 2])
    assert not any(truncated.numpy())


def test_source_and_target_have_the_whole_context_each(eagerly):
    generator = tiny_models.generator(
        "transformer_seq2seq",
        max_positions=16,
        positions="learned",
        decoder_layers=1,
    )
    assert generator.max_prompt_tokens == 16
    assert generator.max_new_tokens == 15
    assert generator.default_new_tokens == 15
    decoding = DecodingConfig(temperature=0.0, max_new_tokens=15, min_new_tokens=15)
    # With its </s> the first has a token too many.
    sources = ["0123456789abcdef", "0123456789abcde", ""]
    cut, whole, _ = generator.generate(sources, decoding)
    assert cut.prompt_truncated
    assert not whole.prompt_truncated
    assert cut.text == whole.text
    assert cut.token_count == 15
    found = generator.score(["x" * 30, "x" * 15, "x"], sources)
    np.testing.assert_array_equal(found.token_count, [16, 16, 2])
    np.testing.assert_array_equal(found.truncated, [True, False, False])


def test_a_long_prompt_loses_its_beginning():
    generator = generator_of("transformer_lm")
    long = "".join(chr(97 + i % 26) for i in range(200))
    (cut,) = generator.generate([long], GREEDY)
    room = generator.context - GREEDY.max_new_tokens
    (same,) = generator.generate([long[-room:]], GREEDY)
    assert cut.prompt_truncated
    assert not same.prompt_truncated
    assert cut.text == same.text


@pytest.mark.parametrize("side", ["beginning", "end"])
@pytest.mark.parametrize(("name", "room"), [("transformer_seq2seq", 63), ("transformer_lm", 54)])
def test_a_long_source_loses_the_end_that_training_cut(name, room, side):
    """The room is without the frame: `</s>` of a source, `<s>` and `<sep>` of a pair.

    A pair also leaves 8 places to its target.
    """
    is_source = name == "transformer_seq2seq"
    generator = tiny_models.generator(name, "source" if is_source else "pair", side)
    long = "".join(chr(97 + i * i % 26) for i in range(200))
    kept = long[-room:] if side == "beginning" else long[:room]
    new_tokens = tf.fill([2], GREEDY.max_new_tokens)
    features, truncated = generator.encoder.features(tf.constant([long, kept]), new_tokens)
    np.testing.assert_array_equal(truncated, [True, False])
    tokens = features["source_tokens" if is_source else "target_tokens"].numpy()
    np.testing.assert_array_equal(tokens[0], tokens[1])
    text = bytes(token - 5 for token in tokens[0] if token >= 5)
    assert text.decode() == kept
