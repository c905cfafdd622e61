"""Nothing looks ahead or at padding, steps equal the whole, and rows do not see each other."""

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.cases import CASES, READERS, V, decoding, draw, often

all_cases = pytest.mark.parametrize("name", often(CASES))
LENGTHS = (1, 3, 2)  # of the prompts
STEPS = 3


def _start(features, lengths, padding=0):
    """Prompts of these lengths, left-padded with an id that would be seen if it counted, and the
    tokens behind them.
    """
    tokens, places = features["target_tokens"], max(lengths, default=0) + padding
    prompts = [[5] * (places - n) + list(row[:n]) for row, n in zip(tokens, lengths, strict=True)]
    behind = [row[n : n + STEPS] for row, n in zip(tokens, lengths, strict=True)]
    changed = {
        "target_tokens": np.array(prompts, np.int32).reshape(len(lengths), places),
        "target_lengths": np.array(lengths, np.int32),
    }
    return {**features, **changed}, np.array(behind, np.int32).reshape(len(lengths), STEPS)


def _row(features, row):
    """One row of the features, its source unpadded."""
    alone = {name: value[row : row + 1] for name, value in features.items()}
    if "source_tokens" in alone:
        alone["source_tokens"] = alone["source_tokens"][:, : alone["source_lengths"][0]]
    return alone


def _pad_source(features, tokens):
    if "source_tokens" not in features:
        return features
    return {**features, "source_tokens": np.pad(features["source_tokens"], [(0, 0), (0, tokens)])}


def _same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@all_cases
def test_a_token_changes_nothing_before_it(name):
    features = draw(CASES[name], (4,))
    length = features["target_tokens"].shape[1]
    rows = {key: np.repeat(value, length + 1, axis=0) for key, value in features.items()}
    for t in range(length):  # row t has another token at t; the last is as drawn
        rows["target_tokens"][t, t] = rows["target_tokens"][t, t] % (V - 1) + 1
    logits = decoding(name).whole(rows).numpy()
    for t in range(length):
        _same(logits[t, :t], logits[-1, :t])
        assert np.abs(logits[t, t] - logits[-1, t]).max() > 1e-3


@pytest.mark.parametrize("name", often(READERS))
def test_padding_of_a_source_changes_nothing(name):
    features, graphs = draw(CASES[name]), decoding(name)
    prompts, tokens = _start(features, LENGTHS)
    source = features["source_tokens"]
    hidden = np.arange(source.shape[1]) >= features["source_lengths"][:, None]
    other, seen = np.where(hidden, 7, source), np.where(hidden, 0, source % 8 + 1)
    for run, inputs in (
        (graphs.whole, features),
        (lambda given: graphs.stepwise(given, tokens, 0), prompts),
    ):
        expected = run(inputs)
        _same(run(_pad_source(inputs, 4)), expected)
        np.testing.assert_array_equal(run({**inputs, "source_tokens": other}), expected)
        assert (
            np.abs(run({**inputs, "source_tokens": seen}) - expected).max(axis=(1, 2)).min() > 1e-3
        )


@all_cases
def test_steps_equal_the_whole_sequence(name):
    features, graphs = draw(CASES[name]), decoding(name)
    whole = graphs.whole(features).numpy()
    logits = graphs.stepwise(*_start(features, LENGTHS), 0)
    for row, length in enumerate(LENGTHS):
        _same(logits[row], whole[row, length - 1 : length + STEPS])


@all_cases
def test_a_row_gives_what_it_gives_alone(name):
    """Whatever stands next to it, however far prompts and sources are padded, and however long the
    cache is.
    """
    features, graphs = draw(CASES[name]), decoding(name)
    together = graphs.stepwise(*_start(features, LENGTHS), 0).numpy()
    prompts, tokens = _start(features, LENGTHS, padding=2)
    _same(graphs.stepwise(_pad_source(prompts, 3), tokens, 4), together)
    for row, length in enumerate(LENGTHS):
        _same(graphs.stepwise(*_start(_row(features, row), (length,)), 0)[0], together[row])
        _same(graphs.whole(_row(features, row))[0], graphs.whole(features)[row])


@all_cases
def test_a_batch_of_no_rows(name):
    features, graphs = {key: value[:0] for key, value in draw(CASES[name]).items()}, decoding(name)
    assert graphs.whole(features).shape == (0, 6, V)
    prompts = {**features, "target_lengths": np.zeros(0, np.int32)}
    assert graphs.stepwise(prompts, np.zeros([0, STEPS], np.int32), 0).shape == (0, STEPS + 1, V)


@all_cases
def test_rows_of_the_state_may_change_places(name):
    """A beam search gathers `per_step`, and tiles `per_source`: every tensor has a row for each
    row.
    """
    model, features = decoding(name).model, draw(CASES[name])
    prompts, tokens = _start(features, LENGTHS)
    _, state = model.start({key: tf.constant(value) for key, value in prompts.items()}, 9)
    assert all(tensor.shape[0] == len(LENGTHS) for tensor in tf.nest.flatten(state))
    order = [2, 0, 0]
    moved = tf.nest.map_structure(lambda tensor: tf.gather(tensor, order), state)
    expected, _ = model.step(tf.constant(tokens[:, 0]), state)
    found, _ = model.step(tf.constant(tokens[order, 0]), moved)
    _same(found, tf.gather(expected, order))


@all_cases
def test_one_trace_serves_all_shapes_and_a_saved_model(name, tmp_path):
    features, graphs = draw(CASES[name]), decoding(name)
    expected = [graphs.whole(features), graphs.stepwise(*_start(features, LENGTHS), 0)]
    _same(graphs.model(features), expected[0])  # eagerly
    shorter = _row(features, 1)
    graphs.whole(shorter), graphs.stepwise(*_start(shorter, (2,)), 1)
    tf.saved_model.save(graphs.exportable(), str(tmp_path))
    assert [
        graph.experimental_get_tracing_count() for graph in (graphs.whole, graphs.stepwise)
    ] == [1, 1]
    loaded = tf.saved_model.load(str(tmp_path))
    prompts, tokens = tf.nest.map_structure(tf.constant, _start(features, LENGTHS))
    _same(loaded.whole(tf.nest.map_structure(tf.constant, features)), expected[0])
    _same(loaded.stepwise(prompts, tokens, tf.constant(0)), expected[1])
