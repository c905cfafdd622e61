"""Log-probabilities of texts against teacher forcing, and what of a long pair is scored."""

import numpy as np
import pytest
import tensorflow as tf

from tests.generator.conftest import generator_of
from tests.support import tiny_models
from tf_textgen.errors import UserError
from tf_textgen.objectives.cross_entropy import token_log_probabilities


def test_score_equals_teacher_forcing(generator):
    texts, sources = ["ab", "猫", ""], ["x", "yy", "zzz"]
    found = generator.score(texts, sources if generator.is_pair else None)
    tokenizer = generator.tokenizer
    for row, text in enumerate(texts):
        labels = (
            tokenizer.tokenize(tf.constant([text])).to_list()[0]
            + [tokenizer.eos_id] * generator.is_pair
        )
        features = {
            "target_tokens": tf.constant([[tokenizer.bos_id, *labels][:-1] or [tokenizer.bos_id]])
        }
        if generator.is_pair:
            source = [
                *tokenizer.tokenize(tf.constant([sources[row]])).to_list()[0],
                tokenizer.eos_id,
            ]
            features |= {
                "source_tokens": tf.constant([source]),
                "source_lengths": tf.constant([len(source)]),
            }
        logits = generator.model(features)[:, : len(labels)]
        expected = (
            token_log_probabilities(logits, tf.constant([labels], tf.int32)).numpy()[0]
            if labels
            else np.zeros(0)
        )
        np.testing.assert_allclose(
            found.token_log_probabilities[row, : len(labels)], expected, atol=1e-5
        )
        np.testing.assert_allclose(found.log_probability[row], expected.sum(), atol=1e-4)
        assert int(found.token_count[row]) == len(labels)
        np.testing.assert_array_equal(found.token_log_probabilities[row, len(labels) :], 0)


def test_scores_of_pairs_on_a_language_model_count_the_target_alone(pair_generator):
    tokenizer = pair_generator.tokenizer
    source, target = (
        tokenizer.tokenize(tf.constant([text])).to_list()[0] for text in ("abc", "de")
    )
    row = [tokenizer.bos_id, *source, tokenizer.sep_id, *target, tokenizer.eos_id]
    logits = pair_generator.model({"target_tokens": tf.constant([row[:-1]])})
    expected = token_log_probabilities(logits, tf.constant([row[1:]])).numpy()[0, len(source) + 1 :]
    found = pair_generator.score(["q", "de"], ["a much longer source", "abc"])
    np.testing.assert_allclose(found.token_log_probabilities[1], expected, atol=1e-5)


@pytest.mark.parametrize("side", ["beginning", "end"])
def test_scores_of_long_pairs_say_what_was_cut(side):
    """The source gives way to the target, as in generation; only then the target loses its end."""
    generator = tiny_models.generator(
        "transformer_lm", prompt_format="pair", truncation_side=side, max_positions=16, num_layers=1
    )
    found = generator.score(["abc", "abc", "a" * 30], ["uvw" + "q" * 30 + "xyz", "xyz", ""])
    np.testing.assert_array_equal(found.truncated, [True, False, True])
    np.testing.assert_array_equal(found.token_count, [4, 4, 15])
    kept = generator.score(["abc"], ["q" * 8 + "xyz" if side == "beginning" else "uvw" + "q" * 8])
    assert not kept.truncated[0]
    np.testing.assert_allclose(found.log_probability[0], kept.log_probability[0], rtol=1e-5)


def test_scores_say_that_a_source_was_cut():
    found = generator_of("rnn_seq2seq").score(["ab", "ab"], ["x" * 2000, "x"])
    np.testing.assert_array_equal(found.truncated, [True, False])


def test_score_wants_sources_for_pairs_alone(generator):
    with pytest.raises(UserError, match="expected"):
        generator.score(["a"], None if generator.is_pair else ["b"])
