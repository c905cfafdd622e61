import numpy as np
import pytest

from tf_textgen.data import order


@pytest.mark.parametrize("n", [*range(1, 40), 63, 64, 65, 255, 257, 1000, 4096, 65537])
def test_permute_is_a_bijection(n):
    for epoch in range(3):
        assert sorted(order.permute(np.arange(n), n, 7, epoch).tolist()) == list(range(n))


def test_single_values_are_those_of_the_whole():
    whole = order.permute(np.arange(1000), 1000, 5, 2)
    for index in (0, 1, 500, 999):
        assert order.permute(np.array([index]), 1000, 5, 2) == whole[index]
    np.testing.assert_array_equal(
        order.permute(np.arange(6).reshape(2, 3), 1000, 5, 2), whole[:6].reshape(2, 3)
    )


def test_huge_n_costs_nothing():
    n = (1 << 61) + 12345
    values = order.permute(np.arange(100), n, 1, 0)
    assert len(set(values.tolist())) == 100
    assert values.min() >= 0 and values.max() < n


def test_seeds_and_epochs_give_unrelated_orders():
    orders = [
        order.permute(np.arange(1000), 1000, seed, epoch) for seed in (0, 1, -1) for epoch in (0, 1)
    ]
    for i, one in enumerate(orders):
        for other in orders[:i]:
            assert np.mean(one == other) < 0.01
            assert abs(np.corrcoef(one, other)[0, 1]) < 0.15


@pytest.mark.parametrize("n", [2, 5, 10])
def test_every_value_is_equally_likely_at_every_place(n):
    draws = 4000
    orders = np.stack([order.permute(np.arange(n), n, seed, 3) for seed in range(draws)])
    for place in range(n):
        counts = np.bincount(orders[:, place], minlength=n)
        assert np.all(np.abs(counts - draws / n) < 6 * np.sqrt(draws / n))


def test_neighbours_are_torn_apart():
    values = order.permute(np.arange(10000), 10000, 1, 1)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.05
    assert abs(np.corrcoef(np.arange(10000), values)[0, 1]) < 0.05


def test_numpy_global_state_is_neither_read_nor_changed():
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first = order.permute(np.arange(100), 100, 1, 0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.random.seed(2)
    np.testing.assert_array_equal(order.permute(np.arange(100), 100, 1, 0), first)


def test_the_order_stays_what_it_was():
    """A run begun with an earlier version continues with the same rows."""
    assert order.permute(np.arange(10), 10, 1, 0).tolist() == [6, 1, 8, 7, 9, 4, 5, 3, 2, 0]
    assert order.random_integer(1000, 1, 2, 3) == 470


@pytest.mark.parametrize(("batch_size", "n"), [(4, 10), (7, 3), (5, 5), (1, 1)])
def test_epoch_rows_follow_without_gap_or_repetition(batch_size, n):
    steps = [order.epoch_rows(step, batch_size, n, 9) for step in range(4 * n)]
    epochs, rows = (np.concatenate(part) for part in zip(*steps, strict=True))
    for epoch in range(int(epochs[-1])):
        assert sorted(rows[epochs == epoch].tolist()) == list(range(n))
    assert np.all(np.diff(epochs) >= 0)
