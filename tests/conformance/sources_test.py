"""A source's answer is its own, whatever padding its neighbours in the batch bring."""

import numpy as np
import pytest
import tensorflow as tf

from tests.support import tiny_models
from tests.support.thorough import cases
from tf_textgen.decoding.decoding_config import DecodingConfig

GREEDY = DecodingConfig(temperature=0.0, max_new_tokens=8)
SOURCES = ["a", "".join(chr(97 + i * i % 26) for i in range(500))]  # of bytes, thus tokens
READERS = {
    "transformer_seq2seq": ("transformer_seq2seq", {"max_positions": 512}),
    "rnn_seq2seq-luong": ("rnn_seq2seq", {"attention": "luong_general"}),
    "rnn_seq2seq-bahdanau": ("rnn_seq2seq", {"attention": "bahdanau"}),
    "rnn_seq2seq-input_feeding": (
        "rnn_seq2seq",
        {"attention": "luong_general", "input_feeding": True},
    ),
    "transformer_lm-pair": ("transformer_lm", {"prompt_format": "pair", "max_positions": 520}),
    "rnn_lm-pair": ("rnn_lm", {"prompt_format": "pair"}),
}


def generate(generator, sources):
    """Step by step: six graphs for three calls each would take longer to trace than to run."""
    tf.config.run_functions_eagerly(True)
    try:
        return generator.generate(sources, GREEDY)
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize(
    "name", cases(READERS, always=("transformer_seq2seq", "transformer_lm-pair"))
)
def test_a_source_of_one_token_beside_one_of_five_hundred(name):
    model, options = READERS[name]
    generator = tiny_models.generator(model, **options)
    together = generate(generator, SOURCES)
    targets = ["xyz", "a target"]
    scores = generator.score(targets, SOURCES)
    assert not any(one.prompt_truncated for one in together) and not any(scores.truncated)
    swapped = generator.score(targets, SOURCES[::-1])
    assert np.all(
        np.abs(scores.log_probability - swapped.log_probability) > 1e-2
    )  # the sources count
    for row, source in enumerate(SOURCES):
        (alone,) = generate(generator, [source])
        assert alone.text == together[row].text
        assert alone.score == pytest.approx(together[row].score, abs=1e-4)
        found = generator.score([targets[row]], [source])
        np.testing.assert_allclose(found.log_probability[0], scores.log_probability[row], atol=1e-4)
