"""The training step, on a bigram model whose gradient is written down by hand."""

import dataclasses
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.config import field, required
from tf_textgen.errors import UserError
from tf_textgen.models.base import TextModel
from tf_textgen.models.model_config import ModelConfig

V = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class BigramConfig(ModelConfig):
    prefix = "bigram"
    vocabulary_size: int = field(required, "V")
    pad_id: int = field(0, "Padding.", at_least=0)


@keras.saving.register_keras_serializable(package="tf_textgen_tests")
class Bigram(TextModel):
    """Logits are a row of a table: the gradient of each row is its sum of
    `probabilities - target`.
    """

    config_class = BigramConfig

    def __init__(self, config, **kwargs):
        super().__init__(config, **kwargs)
        size = config.vocabulary_size
        self.table = keras.layers.Embedding(size, size, name="table", dtype=self.dtype_policy)

    def build(self, input_shape=None):
        self.table.build((None, None))
        self.table.embeddings.assign(
            np.random.default_rng(0).normal(size=self.table.embeddings.shape)
        )

    def call(self, features, training=False):
        return tf.cast(self.table(features["target_tokens"]), tf.float32)

    def example_features(self):
        return {"target_tokens": tf.zeros([1, 1], tf.int32)}


def _model(**options):
    model = Bigram(BigramConfig(vocabulary_size=V)).initialize()
    model.compile(options.pop("optimizer", keras.optimizers.SGD(1.0)), **options)
    return model


def _batch(seed=0, rows=3, length=6, share=0.7):
    rng = np.random.default_rng(seed)
    tokens, labels = (rng.integers(0, V, (rows, length)).astype(np.int32) for _ in range(2))
    return (
        {"target_tokens": tokens},
        labels,
        (rng.random((rows, length)) < share).astype(np.float32),
    )


def _table(model):
    return np.asarray(model.table.embeddings.value, np.float64)


def _numpy_sums(table, batch, smoothing=0.0):
    """Gradient of the smoothed loss, unsmoothed nats, hits and tokens, token by token."""
    features, labels, weights = batch
    gradient, nats, hits = np.zeros((V, V)), 0.0, 0.0
    for token, label, weight in zip(
        features["target_tokens"].flat, labels.flat, weights.flat, strict=True
    ):
        probabilities = np.exp(table[token]) / np.exp(table[token]).sum()
        target = (1 - smoothing) * np.eye(V)[label] + smoothing / V
        gradient[token] += weight * (probabilities - target)
        nats -= weight * np.log(probabilities[label])
        hits += weight * (probabilities.argmax() == label)
    return gradient, nats, hits, weights.sum()


@pytest.mark.parametrize(
    "smoothing, clip_norm, jit_compile, micro_batches",
    [
        (0.0, None, False, 1),
        (0.2, None, False, 3),
        (0.0, 0.05, False, 1),
        (0.2, 100.0, False, 2),
        (0.2, 0.05, True, 1),
        (0.2, 0.05, True, 2),
    ],
)
def test_one_step_equals_numpy(smoothing, clip_norm, jit_compile, micro_batches):
    options = {"label_smoothing": smoothing, "clip_norm": clip_norm, "jit_compile": jit_compile}
    model, batch = _model(micro_batches=micro_batches, **options), _batch(rows=6)
    before = _table(model)
    gradient, nats, hits, tokens = _numpy_sums(before, batch, smoothing)
    gradient /= tokens
    norm = np.linalg.norm(gradient)
    if clip_norm:
        gradient *= min(1.0, clip_norm / norm)
    logs = model.train_on_batch(*batch, return_dict=True)
    np.testing.assert_allclose(_table(model), before - gradient, atol=1e-6)
    assert logs["loss"] == pytest.approx(nats / tokens, rel=1e-5)
    assert logs["perplexity"] == pytest.approx(np.exp(nats / tokens), rel=1e-5)
    assert logs["accuracy"] == pytest.approx(hits / tokens, rel=1e-5)
    assert logs["gradient_norm"] == pytest.approx(norm, rel=1e-5)
    assert logs["tokens"] == tokens


def test_evaluation_divides_once():
    """Batches of 10 and 90 tokens: the mean of all tokens, not of the two means."""
    model = _model(label_smoothing=0.3)
    batches = [_batch(0, 1, 10, share=1.0), _batch(1, 9, 10, share=1.0)]
    sums = [_numpy_sums(_table(model), batch) for batch in batches]
    nats, hits = sum(s[1] for s in sums), sum(s[2] for s in sums)
    data = tf.data.Dataset.from_generator(
        lambda: iter(batches),
        output_signature=(
            {"target_tokens": tf.TensorSpec([None, 10], tf.int32)},
            tf.TensorSpec([None, 10], tf.int32),
            tf.TensorSpec([None, 10], tf.float32),
        ),
    ).apply(tf.data.experimental.assert_cardinality(2))
    logs = model.evaluate(data, verbose=0, return_dict=True)
    assert set(logs) == {"loss", "perplexity", "accuracy", "tokens"}
    assert logs["loss"] == pytest.approx(nats / 100, rel=1e-5)
    assert logs["accuracy"] == pytest.approx(hits / 100)
    assert logs["tokens"] == 100
    assert logs["loss"] != pytest.approx(np.mean([s[1] / s[3] for s in sums]), rel=1e-3)
    history = model.fit(data.repeat(2), verbose=0, shuffle=False).history
    assert history["tokens"] == [200]


def test_fit_logs_sums_over_the_epoch_and_resets():
    model = _model(optimizer=keras.optimizers.SGD(0.0))
    batches = tf.data.Dataset.from_tensors(_batch()).repeat(3)
    history = model.fit(batches, epochs=2, verbose=0, shuffle=False).history
    _, nats, _, tokens = _numpy_sums(_table(model), _batch())
    np.testing.assert_allclose(history["loss"], [nats / tokens] * 2, rtol=1e-5)
    assert history["tokens"] == [3 * tokens] * 2


def test_weights_default_to_one():
    features, labels, _ = _batch()
    assert _model().test_on_batch(features, labels, return_dict=True)["tokens"] == labels.size


@pytest.mark.parametrize("rows", [0, 2])
def test_a_batch_without_tokens_changes_nothing(rows):
    model = _model(clip_norm=1.0)
    before = _table(model)
    logs = model.train_on_batch(*_batch(rows=rows, share=0.0), return_dict=True)
    np.testing.assert_array_equal(_table(model), before)
    assert (logs["loss"], logs["tokens"], logs["gradient_norm"]) == (0.0, 0.0, 0.0)


def test_gradient_norm_counts_an_id_used_twice_once():
    """Two uses of one row add before they are squared: sparse gradients of an embedding hold them
    apart.
    """
    model = _model()
    batch = ({"target_tokens": np.int32([[1, 1]])}, np.int32([[2, 2]]), np.float32([[1, 1]]))
    expected = np.linalg.norm(_numpy_sums(_table(model), batch)[0] / 2)
    assert model.train_on_batch(*batch, return_dict=True)["gradient_norm"] == pytest.approx(
        expected, rel=1e-5
    )


def test_keras_file_keeps_how_it_was_compiled(tmp_path):
    model = _model(optimizer=keras.optimizers.Adam(1e-2), label_smoothing=0.1, clip_norm=2.0)
    model.train_on_batch(*_batch())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (loaded.label_smoothing, loaded.clip_norm, int(loaded.optimizer.iterations)) == (
        0.1,
        2.0,
        1,
    )
    for each in (model, loaded):
        each.train_on_batch(*_batch(1))
    np.testing.assert_array_equal(_table(loaded), _table(model))


def test_keras_file_of_a_model_compiled_but_not_trained(tmp_path):
    """Its optimizer has no moments yet, in memory and in the file alike."""
    model = _model(optimizer=keras.optimizers.Adam(1e-2), steps_per_execution=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.steps_per_execution == 2 and int(loaded.optimizer.iterations) == 0
    for each in (model, loaded):
        each.train_on_batch(*_batch(1))
    np.testing.assert_array_equal(_table(loaded), _table(model))


@pytest.mark.parametrize(
    "options", [{"loss": "sparse_categorical_crossentropy"}, {"metrics": ["accuracy"]}]
)
def test_the_loss_and_the_metrics_are_the_models_own(options):
    with pytest.raises(UserError, match=r"compile\(loss=.*expected neither, since the model has"):
        _model(**options)


def test_bad_options_are_named():
    with pytest.raises(UserError, match=r"label_smoothing=1: expected a value in \[0, 1\)"):
        _model(label_smoothing=1.0)
    with pytest.raises(UserError, match="clip_norm=0: expected a value above 0, or None"):
        _model(clip_norm=0.0)
    with pytest.raises(UserError, match=r"micro_batches=0: expected 1 .* or more"):
        _model(micro_batches=0)
    with pytest.raises(UserError, match="a batch without labels: expected"):
        _model(run_eagerly=True).train_on_batch(_batch()[0])


_REPLICAS = """
    import keras, numpy as np, sys, tensorflow as tf
    from tests.models import base_test as t
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    def run(strategy, jit_compile, micro_batches=1):
        with strategy.scope():
            model = t._model(optimizer=keras.optimizers.Adam(0.1), label_smoothing=0.1, clip_norm=0.05,
                             jit_compile=jit_compile, micro_batches=micro_batches)
        features, labels, weights = t._batch(rows=4)
        weights[:2] *= np.float32([1, 0, 0, 1, 0, 0])
        data = tf.data.Dataset.from_tensor_slices((features, labels, weights)).batch(4, drop_remainder=True).repeat(3)
        batch_logs = []
        keep = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: batch_logs.append(dict(logs)))
        model.fit(data, verbose=0, shuffle=False, callbacks=[keep])
        results = [t._table(model), batch_logs[-1]]
        return results if jit_compile else [*results, model.evaluate(data, verbose=0, return_dict=True)]
    with tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]).scope():
        assert t._model(jit_compile=True).get_compile_config()["jit_compile"] is True
    one = run(tf.distribute.get_strategy(), False)
    for jit_compile in (False, True):
        two = run(tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]), jit_compile, 1 + jit_compile)
        np.testing.assert_allclose(two[0], one[0], atol=1e-6)
        for ours, theirs in zip(two[1:], one[1:]):
            assert set(ours) == set(theirs)
            for name, value in theirs.items():
                np.testing.assert_allclose(float(ours[name]), float(value), rtol=1e-5, err_msg=name)
"""


@pytest.mark.thorough
def test_two_replicas_train_as_one_device():
    """Replicas with different numbers of tokens, clipping active: in a process of its own, devices
    are made once.
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_REPLICAS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
