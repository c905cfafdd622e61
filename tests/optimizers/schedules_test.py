"""Learning rates against the formulas in NumPy."""

import keras
import numpy as np
import pytest

from tf_textgen.errors import UserError
from tf_textgen.optimizers.schedules import DECAYS, WarmUpThenDecay

PEAK, WARMUP, TOTAL, FINAL = 0.02, 5, 40, 0.1


def oracle(decay, n, warmup=WARMUP):
    """The rate of update number n = 1, 2, ..."""
    if n < warmup:
        return PEAK * n / warmup
    progress = min(max((n - warmup) / (TOTAL - warmup), 0), 1)
    shape = {
        "constant": 1.0,
        "cosine": FINAL + (1 - FINAL) * (1 + np.cos(np.pi * progress)) / 2,
        "linear": 1 - (1 - FINAL) * progress,
        "inverse_sqrt": np.sqrt(max(warmup, 1) / n),
    }
    return PEAK * shape[decay]


@pytest.mark.parametrize("warmup", [0, WARMUP])
@pytest.mark.parametrize("decay", sorted(DECAYS))
def test_rates_follow_the_formula(decay, warmup):
    schedule = WarmUpThenDecay(
        decay, PEAK, warmup_steps=warmup, total_steps=TOTAL, final_fraction=FINAL
    )
    got = [float(schedule(step)) for step in range(TOTAL + 5)]
    np.testing.assert_allclose(
        got, [oracle(decay, step + 1, warmup) for step in range(TOTAL + 5)], rtol=2e-6
    )


def test_rate_stays_at_the_peak_until_the_length_is_known():
    schedule = WarmUpThenDecay("linear", 1.0, warmup_steps=2, final_fraction=0.0)
    assert [float(schedule(s)) for s in (0, 1, 50)] == [0.5, 1.0, 1.0]
    schedule.total_steps = 102
    assert float(schedule(51)) == pytest.approx(0.5)


def test_schedule_survives_serialization():
    schedule = WarmUpThenDecay(
        "cosine", PEAK, warmup_steps=WARMUP, total_steps=TOTAL, final_fraction=FINAL
    )
    optimizer = keras.optimizers.SGD(schedule)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    again.iterations.assign(20)
    assert float(again.learning_rate) == pytest.approx(oracle("cosine", 21))


def test_unknown_schedule_names_the_nearest():
    with pytest.raises(
        UserError, match=r"'cosin': expected one of constant, .*did you mean 'cosine'"
    ):
        WarmUpThenDecay("cosin", 1.0)


def test_the_default_warm_up_is_at_most_a_tenth_of_the_steps():
    schedule = WarmUpThenDecay("constant", 2.0, warmup_steps=None)
    # The number of steps is not known yet.
    assert float(schedule(49)) == 1.0
    schedule.total_steps = 40
    assert [float(schedule(step)) for step in range(5)] == [0.5, 1.0, 1.5, 2.0, 2.0]
    schedule.total_steps = 5
    assert float(schedule(0)) == 2.0
    schedule.total_steps = 10_000
    assert float(schedule(49)) == 1.0


def test_a_given_warm_up_is_kept():
    schedule = WarmUpThenDecay("constant", 2.0, warmup_steps=4, total_steps=5)
    assert [float(schedule(step)) for step in range(5)] == [0.5, 1.0, 1.5, 2.0, 2.0]
