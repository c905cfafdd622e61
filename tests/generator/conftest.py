"""One generator a family, whose graphs are traced once for all tests of this folder."""

import pytest

from tests.support import tiny_models

FAMILIES = ["ngram", "transformer_lm", "rnn_lm", "rnn_seq2seq", "transformer_seq2seq"]


@pytest.fixture(scope="package", params=FAMILIES)
def generator(request):
    return tiny_models.generator(request.param)
