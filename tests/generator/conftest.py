"""One generator a family, whose graphs are traced once for all tests of this folder."""

import functools

import pytest
import tensorflow as tf

from tests.support import tiny_models
from tests.support.thorough import cases

FAMILIES = ["ngram", "transformer_lm", "rnn_lm", "rnn_seq2seq", "transformer_seq2seq"]


@functools.cache
def generator_of(family):
    return tiny_models.generator(family)


@pytest.fixture(scope="package", params=cases(FAMILIES, always=["transformer_lm"]))
def generator(request):
    return generator_of(request.param)


@pytest.fixture
def eagerly():
    """A graph takes longer to trace than to run step by step for one short text."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="package")
def pair_generator():
    """A language model that continues `<s> source <sep>`."""
    return tiny_models.generator("transformer_lm", prompt_format="pair", num_layers=1)
