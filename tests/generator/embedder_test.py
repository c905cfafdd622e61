"""The vector of a text is the mean of NumPy's hidden states over its tokens."""

import numpy as np
import pytest
import tensorflow as tf

from tests.generator.conftest import generator_of
from tests.models import rnn_lm_test, rnn_seq2seq_test
from tests.support import tiny_models
from tests.support import transformer_oracle as oracle
from tests.support.thorough import cases
from tf_textgen.errors import UserError

TEXTS = ["abc", "", "a much longer text than its neighbours", "猫"]


def transformer_lm_hidden(model, tokens):
    return oracle.hidden(model.config, oracle.by_path(model), tokens)


def transformer_seq2seq_hidden(model, tokens):
    return oracle.encoded(model.config, oracle.by_path(model), tokens)


def rnn_seq2seq_hidden(model, tokens):
    weights = rnn_seq2seq_test.numpy_weights(model)
    return rnn_seq2seq_test.numpy_memory(model.config, weights, tokens)[0]


HIDDEN = {
    "transformer_lm": transformer_lm_hidden,
    "transformer_seq2seq": transformer_seq2seq_hidden,
    "rnn_lm": rnn_lm_test.numpy_hidden,
    "rnn_seq2seq": rnn_seq2seq_hidden,
}


@pytest.mark.parametrize("name", cases(HIDDEN, always=("transformer_lm", "transformer_seq2seq")))
def test_a_vector_is_the_mean_over_the_tokens_of_the_text(name):
    generator = generator_of(name)
    found = generator.embed_graph(tf.constant(TEXTS))
    for row, text in enumerate(TEXTS):
        ids = [byte + 5 for byte in text.encode()]
        expected = np.zeros(16)
        if ids:
            ended = [*ids, generator.tokenizer.eos_id] if generator.is_pair else ids
            hidden = HIDDEN[name](generator.model, np.array(ended))
            expected = hidden[: len(ids)].mean(0)
        np.testing.assert_allclose(found.embedding[row], expected, rtol=1e-3, atol=1e-5)
        single = generator.embed_graph(tf.constant([text]))
        np.testing.assert_allclose(found.embedding[row], single.embedding[0], atol=1e-6)
    np.testing.assert_array_equal(found.token_count, [3, 0, 38, 3])
    np.testing.assert_array_equal(found.truncated, [False] * 4)
    assert generator.embed_graph(tf.constant([], tf.string)).embedding.shape == (0, 16)


def test_the_frame_is_read_but_not_counted():
    generator = tiny_models.generator("transformer_lm", prompt_format="pair", max_positions=16)
    found = generator.embed_graph(tf.constant(["ab", "q" * 40]))
    for row, text in enumerate(["ab", "q" * 13]):
        kept = [byte + 5 for byte in text.encode()]
        hidden = transformer_lm_hidden(generator.model, np.array([2, *kept, 4]))
        expected = hidden[1:-1].mean(0)
        np.testing.assert_allclose(found.embedding[row], expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(found.token_count, [2, 13])
    np.testing.assert_array_equal(found.truncated, [False, True])


def test_counts_have_no_vectors():
    generator = generator_of("ngram")
    assert not hasattr(generator, "embed_graph")
    message = "ngram has no hidden states: expected a neural model for embeddings"
    with pytest.raises(UserError, match=message):
        generator.model.hidden({"target_tokens": tf.constant([[5]])})
