"""Two replicas, and micro-batches, update the weights as one device does with the whole batch."""

import subprocess
import sys
import textwrap

import pytest

from tests.conformance.cases import LEARNING, ONE_EACH

ONES = [name for name in LEARNING if name in ONE_EACH]
OTHERS = [name for name in LEARNING if name not in ONE_EACH]
_UPDATES = """
    import keras, numpy as np, sys, tensorflow as tf
    from tests.conformance.cases import CASES, build, draw
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    MIRRORED = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])

    def updated(case, strategy, micro_batches):
        fields = {name: 0.0 for name in case.fields if name.endswith("dropout")}
        if not case.fields.get("residual"):  # a second layer adds weights as the first has them, and time
            fields |= {name: 1 for name in case.fields if name.endswith("layers")}
        with strategy.scope():
            model = build(case, **fields)
            model.compile(keras.optimizers.SGD(0.5), clip_norm=0.05, micro_batches=micro_batches, run_eagerly=True)
        before = model.get_weights()
        logs = model.fit(tf.data.Dataset.from_tensors(batch(case)).unbatch().batch(8, drop_remainder=True),
                         verbose=0, shuffle=False).history
        assert logs["gradient_norm"][0] > 0.05
        assert any(np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True))
        return model.get_weights(), logs

    def batch(case):
        rng = np.random.default_rng(1)
        features = {name: tf.convert_to_tensor(value) for name, value in draw(case, (3, 1, 5, 2, 4, 1, 2, 5)).items()}
        labels = rng.integers(0, 13, (8, 6)).astype(np.int32)
        counted = np.arange(6) < rng.integers(0, 7, (8, 1))  # replicas with different numbers of tokens
        return features, labels, counted.astype(np.float32)

    for name in sys.argv[1:]:
        expected, logs = updated(CASES[name], tf.distribute.get_strategy(), 1)
        for way in ((MIRRORED, 2), (tf.distribute.get_strategy(), 4)):
            weights, other = updated(CASES[name], *way)
            for a, b in zip(weights, expected, strict=True):
                np.testing.assert_allclose(a, b, atol=2e-6, err_msg=f"{name} {way}")
            for metric, values in logs.items():
                np.testing.assert_allclose(other[metric], values, rtol=1e-5, err_msg=f"{name} {way} {metric}")
"""


@pytest.mark.thorough
@pytest.mark.parametrize(
    "names", [ONES, pytest.param(OTHERS, marks=pytest.mark.thorough)], ids=["one each", "others"]
)
def test_replicas_and_micro_batches_make_the_same_update(names):
    """In a process of its own, since devices are made once, and in one for many models, since that
    takes seconds.
    """
    code = textwrap.dedent(_UPDATES)
    done = subprocess.run(
        [sys.executable, "-c", code, *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
