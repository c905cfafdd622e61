import doctest
import math

import pytest

from tf_textgen import objectives
from tf_textgen.objectives import metrics
from tf_textgen.objectives.perplexity import bits_per_byte


def test_a_batch_counts_as_many_times_as_it_has_tokens():
    loss, perplexity, tokens = (
        objectives.TokenMean("loss"),
        objectives.Perplexity("perplexity"),
        objectives.TokenCount("tokens"),
    )
    for metric in (loss, perplexity, tokens):
        metric.update_state(10 * 0.001, 10)
        metric.update_state(90 * 1.386, 90)
    assert float(loss.result()) == pytest.approx(1.2475, abs=1e-6)
    assert float(perplexity.result()) == pytest.approx(math.exp(1.2475), abs=1e-5)
    assert float(tokens.result()) == 100


def test_nothing_counted_yet():
    assert float(objectives.TokenMean("loss").result()) == 0.0
    assert float(objectives.Perplexity("perplexity").result()) == 1.0


def test_counting_goes_on_beyond_what_float32_can():
    tokens = objectives.TokenCount("tokens")
    tokens.update_state(0, 2**33)
    tokens.update_state(0, 10)
    assert int(tokens.result()) == 2**33 + 10


def test_reset():
    loss = objectives.TokenMean("loss")
    loss.update_state(3.0, 1)
    loss.reset_state()
    assert float(loss.result()) == 0.0


def test_the_examples_in_docstrings():
    assert doctest.testmod(metrics) == (0, 4)


def test_a_byte_that_an_unknown_token_hides_costs_8_bits_more():
    known = bits_per_byte(2 * math.log(2), bytes_per_token=4.0)
    assert known == pytest.approx(0.5)
    hidden = bits_per_byte(2 * math.log(2), bytes_per_token=4.0, unknown_byte_share=0.25)
    assert hidden == pytest.approx(0.5 + 2.0)
