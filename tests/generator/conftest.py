"""One generator for each family, whose graphs are traced once for all tests of this folder."""

import functools

import pytest
import tensorflow as tf

from tests.support import tiny_models
from tests.support.thorough import cases
from tf_textgen.generator.decoder import Decoder

FAMILIES = ["ngram", "transformer_lm", "rnn_lm", "rnn_seq2seq", "transformer_seq2seq"]
# The decoders whose search was traced, each as often as it was.
TRACED = []


@functools.cache
def generator_of(family):
    search = Decoder._continue

    def counted(self, *inputs):
        if tf.inside_function():
            TRACED.append(self)
        return search(self, *inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Decoder, "_continue", counted)
        generator = tiny_models.generator(family)
    # A call that bypasses the graph counts too.
    generator.decoder._continue = functools.partial(counted, generator.decoder)
    return generator


@pytest.fixture(scope="package", params=cases(FAMILIES, always=["transformer_lm"]))
def generator(request):
    return generator_of(request.param)


@pytest.fixture(scope="package", params=cases(FAMILIES, always=["transformer_seq2seq"]))
def any_generator(request):
    """As `generator`, but by default of a model that reads a source."""
    return generator_of(request.param)


@pytest.fixture(scope="package")
def pair_generator():
    """A language model that continues `<s> source <sep>`."""
    return tiny_models.generator("transformer_lm", prompt_format="pair", num_layers=1)


@pytest.fixture
def eagerly():
    """Runs graphs step by step, which for one short text takes less time than tracing them."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
