"""Log-probabilities of texts against teacher forcing, and the scored part of a long pair."""

import numpy as np
import pytest
import tensorflow as tf

from tests.generator.conftest import generator_of
from tests.support import tiny_models
from tf_textgen.errors import UserError
from tf_textgen.objectives.cross_entropy import token_log_probabilities


def ids_of(tokenizer, text):
    return tokenizer.tokenize(tf.constant([text])).to_list()[0]


def teacher_forcing(generator, text, source):
    """The log-probability of each label of one text."""
    tokenizer = generator.tokenizer
    labels = ids_of(tokenizer, text)
    features = {}
    if generator.is_pair:
        labels.append(tokenizer.eos_id)
        source_ids = [*ids_of(tokenizer, source), tokenizer.eos_id]
        features["source_tokens"] = tf.constant([source_ids])
        features["source_lengths"] = tf.constant([len(source_ids)])
    if not labels:
        return np.zeros(0)
    features["target_tokens"] = tf.constant([[tokenizer.bos_id, *labels[:-1]]])
    logits = generator.model(features)
    return token_log_probabilities(logits, tf.constant([labels], tf.int32)).numpy()[0]


def test_score_equals_teacher_forcing(generator):
    texts = ["ab", "猫", ""]
    sources = ["x", "yy", "zzz"]
    found = generator.score(texts, sources if generator.is_pair else None)
    for row, text in enumerate(texts):
        expected = teacher_forcing(generator, text, sources[row])
        count = len(expected)
        values = found.token_log_probabilities[row]
        np.testing.assert_allclose(values[:count], expected, atol=1e-5)
        np.testing.assert_array_equal(values[count:], 0)
        np.testing.assert_allclose(found.log_probability[row], expected.sum(), atol=1e-4)
        assert int(found.token_count[row]) == count


def test_scores_of_pairs_on_a_language_model_count_only_the_target(pair_generator):
    tokenizer = pair_generator.tokenizer
    source = ids_of(tokenizer, "abc")
    target = ids_of(tokenizer, "de")
    row = [tokenizer.bos_id, *source, tokenizer.sep_id, *target, tokenizer.eos_id]
    logits = pair_generator.model({"target_tokens": tf.constant([row[:-1]])})
    values = token_log_probabilities(logits, tf.constant([row[1:]])).numpy()[0]
    expected = values[len(source) + 1 :]
    found = pair_generator.score(["q", "de"], ["a much longer source", "abc"])
    np.testing.assert_allclose(found.token_log_probabilities[1], expected, atol=1e-5)


@pytest.mark.parametrize("side", ["beginning", "end"])
def test_scores_of_long_pairs_report_truncation(side):
    """The source gives way to the target, as in generation; only then the target loses its end."""
    generator = tiny_models.generator(
        "transformer_lm",
        prompt_format="pair",
        truncation_side=side,
        max_positions=16,
        num_layers=1,
    )
    long_source = "uvw" + "q" * 30 + "xyz"
    found = generator.score(["abc", "abc", "a" * 30], [long_source, "xyz", ""])
    np.testing.assert_array_equal(found.truncated, [True, False, True])
    np.testing.assert_array_equal(found.token_count, [4, 4, 15])
    kept_source = "q" * 8 + "xyz" if side == "beginning" else "uvw" + "q" * 8
    kept = generator.score(["abc"], [kept_source])
    assert not kept.truncated[0]
    np.testing.assert_allclose(found.log_probability[0], kept.log_probability[0], rtol=1e-5)


def test_scores_report_that_a_source_was_cut():
    found = generator_of("rnn_seq2seq").score(["ab", "ab"], ["x" * 2000, "x"])
    np.testing.assert_array_equal(found.truncated, [True, False])


def test_sources_belong_to_pairs_only(generator):
    sources = None if generator.is_pair else ["b"]
    message = "got no sources, expected a source" if generator.is_pair else "expected only texts"
    with pytest.raises(UserError, match=message):
        generator.score(["a"], sources)


def test_every_text_of_a_pair_has_a_source(pair_generator):
    with pytest.raises(UserError, match="score: 1 sources and 2 texts, expected as many of each"):
        pair_generator.score(["a", "b"], ["c"])
