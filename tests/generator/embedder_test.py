"""The vectors of texts: the mean of NumPy's hidden states, and of each text only."""

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
HIDDEN = {
    "transformer_lm": lambda model, tokens: oracle.hidden(
        model.config, oracle.by_path(model), tokens
    ),
    "transformer_seq2seq": lambda model, tokens: oracle.encoded(
        model.config, oracle.by_path(model), tokens
    ),
    "rnn_lm": rnn_lm_test.numpy_hidden,
    "rnn_seq2seq": lambda model, tokens: rnn_seq2seq_test.numpy_memory(
        model.config, rnn_seq2seq_test.numpy_weights(model), tokens
    )[0],
}


@pytest.mark.parametrize("name", cases(HIDDEN, always=("transformer_lm", "transformer_seq2seq")))
def test_a_vector_is_the_mean_over_the_tokens_of_the_text(name):
    generator = generator_of(name)
    tokenizer, found = generator.tokenizer, generator.embed_graph(tf.constant(TEXTS))
    for row, text in enumerate(TEXTS):
        ids = [byte + 5 for byte in text.encode()]
        ended = [*ids, tokenizer.eos_id] if generator.is_pair else ids
        hidden = (
            HIDDEN[name](generator.model, np.array(ended))[: len(ids)] if ids else np.zeros((1, 1))
        )
        np.testing.assert_allclose(
            found.embedding[row], np.broadcast_to(hidden.mean(0), [16]), rtol=1e-3, atol=1e-5
        )
        alone = generator.embed_graph(tf.constant([text]))
        np.testing.assert_allclose(found.embedding[row], alone.embedding[0], atol=1e-6)
    np.testing.assert_array_equal(found.token_count, [3, 0, 38, 3])
    np.testing.assert_array_equal(found.truncated, [False] * 4)
    assert generator.embed_graph(tf.constant([], tf.string)).embedding.shape == (0, 16)


def test_the_frame_is_read_but_not_counted():
    generator = tiny_models.generator("transformer_lm", prompt_format="pair", max_positions=16)
    model, ids = generator.model, [byte + 5 for byte in ("q" * 40).encode()]
    found = generator.embed_graph(tf.constant(["ab", "q" * 40]))
    for row, kept in enumerate(([102, 103], ids[:13])):
        hidden = HIDDEN["transformer_lm"](model, np.array([2, *kept, 4]))[1:-1]
        np.testing.assert_allclose(found.embedding[row], hidden.mean(0), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(found.token_count, [2, 13])
    np.testing.assert_array_equal(found.truncated, [False, True])


def test_counts_have_no_vectors():
    generator = generator_of("ngram")
    assert not hasattr(generator, "embed_graph")
    with pytest.raises(
        UserError, match="ngram has no hidden states: expected a neural model for embeddings"
    ):
        generator.model.hidden({"target_tokens": tf.constant([[5]])})
