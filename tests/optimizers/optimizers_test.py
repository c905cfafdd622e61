"""One optimizer after the other against NumPy, over several steps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.layers.embedding import TokenEmbedding
from tf_textgen.models import family
from tf_textgen.optimizers.optimizer_config import OptimizerConfig
from tf_textgen.optimizers.optimizers import Adafactor, is_decayed, make_optimizer

RATE, STEPS, DECAY = 0.05, 4, 0.2


def adamw(config, w, g, t, memory):
    m, v = memory.setdefault("m", 0 * w), memory.setdefault("v", 0 * w)
    memory["m"] = m = config.beta_1 * m + (1 - config.beta_1) * g
    memory["v"] = v = config.beta_2 * v + (1 - config.beta_2) * g * g
    alpha = RATE * np.sqrt(1 - config.beta_2**t) / (1 - config.beta_1**t)
    return w - alpha * m / (np.sqrt(v) + config.epsilon)


def sgd(config, w, g, t, memory):
    memory["m"] = config.momentum * memory.get("m", 0 * w) - RATE * g
    return w + memory["m"]


def rmsprop(config, w, g, t, memory):
    memory["v"] = config.beta_2 * memory.get("v", 0 * w) + (1 - config.beta_2) * g * g
    memory["m"] = config.momentum * memory.get("m", 0 * w) + RATE * g / np.sqrt(
        memory["v"] + config.epsilon
    )
    return w - memory["m"]


def adafactor(config, w, g, t, memory):
    """Algorithm 4 (matrices) and 5 (vectors) of Shazeer and Stern, with the factors as sums as
    printed there.
    """
    beta, square = 1 - t**-0.8, g * g + 1e-30
    if w.ndim == 1:
        memory["v"] = estimate = beta * memory.get("v", 0 * w) + (1 - beta) * square
    else:
        memory["r"] = r = beta * memory.get("r", 0) + (1 - beta) * square.sum(-1)
        memory["c"] = c = beta * memory.get("c", 0) + (1 - beta) * square.sum(-2)
        estimate = r[..., :, None] * c[..., None, :] / r.sum(-1)[..., None, None]
    u = g / np.sqrt(estimate)
    u /= max(1, np.sqrt(np.mean(u * u)))
    return w - max(1e-3, np.sqrt(np.mean(w * w))) * RATE * u


ORACLES = {"adamw": adamw, "sgd": sgd, "rmsprop": rmsprop, "adafactor": adafactor}


def variables(seed=0):
    draw = np.random.default_rng(seed).normal
    shapes = {"token_embedding": (5, 3), "kernel": (3, 4), "tensor": (2, 3, 4), "bias": (4,)}
    made = [keras.Variable(draw(size=s).astype("float32"), name=n) for n, s in shapes.items()]
    table = TokenEmbedding(*shapes["token_embedding"], name="token_embedding")
    table.build()
    table.table.assign(made[0])
    return [table.table, *made[1:]]


@pytest.mark.parametrize("weight_decay", [0.0, DECAY])
@pytest.mark.parametrize("name", sorted(ORACLES))
def test_updates_equal_numpy(name, weight_decay):
    config = OptimizerConfig(
        name=name,
        learning_rate=RATE,
        schedule="constant",
        warmup_steps=0,
        weight_decay=weight_decay,
    )
    weights = variables()
    expected = [w.numpy().astype("float64") for w in weights]
    optimizer = make_optimizer(config, weights)
    apply = tf.function(lambda gradients: optimizer.apply(gradients, weights), autograph=False)
    draw, memories = np.random.default_rng(1).normal, [{} for _ in weights]
    for t in range(1, STEPS + 1):
        gradients = [draw(size=w.shape) for w in expected]
        apply([tf.constant(g, tf.float32) for g in gradients])
        for i, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
            kept = 1 - RATE * weight_decay if weight.name in ("kernel", "tensor") else 1.0
            # Decoupled: the decay does not enter the moments, and is relative to the weight before
            # the update.
            size = {"adafactor": kept * expected[i]}.get(name, expected[i])
            change = ORACLES[name](config, size, gradient, t, memories[i]) - size
            expected[i] = kept * expected[i] + change
    for weight, value in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight.numpy(), value, rtol=2e-4, atol=2e-5, err_msg=weight.name)


def test_weight_decay_spares_vectors_and_embeddings():
    assert [v.name for v in variables() if is_decayed(v)] == ["kernel", "tensor"]


def test_weight_decay_of_a_transformer_is_of_its_projections_alone():
    chosen = family("transformer_lm")
    config = chosen.config_class(vocabulary_size=9, num_layers=1, width=8)
    paths = {
        v.path
        for v in chosen.model_class()(config, name="lm").initialize().trainable_variables
        if is_decayed(v)
    }
    expected = {"attention/query_key_value", "attention/output_projection"}
    expected |= {"feed_forward/input_projection", "feed_forward/output_projection"}
    assert paths == {f"lm/block_0/{layer}/kernel" for layer in expected}


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_every_slot_has_its_own_path(name):
    paths = [v.path for v in make_optimizer(OptimizerConfig(name=name), variables()).variables]
    assert len(paths) == len(set(paths)) > 1


def test_adafactor_stores_rows_and_columns_alone():
    kernel = keras.Variable(np.zeros((30, 40), "float32"), name="kernel")
    optimizer = make_optimizer(OptimizerConfig(name="adafactor"), [kernel])
    assert (
        sum(int(np.prod(v.shape)) for v in optimizer.variables if "iteration" not in v.path)
        == 30 + 40
    )


def test_adafactor_moves_zeros_and_survives_serialization():
    weight = keras.Variable(np.zeros((2, 3), "float32"), name="kernel")
    optimizer = keras.optimizers.deserialize(
        keras.optimizers.serialize(Adafactor(0.1, epsilon_2=0.01))
    )
    optimizer.apply([tf.ones([2, 3])], [weight])
    np.testing.assert_allclose(weight.numpy(), np.full((2, 3), -0.1 * 0.01), rtol=1e-5)


def test_bfloat16_weights_keep_float32_moments():
    weight = keras.Variable(np.ones((2, 3)), name="kernel", dtype="bfloat16")
    optimizer = make_optimizer(OptimizerConfig(name="adafactor"), [weight])
    optimizer.apply([tf.ones([2, 3], tf.bfloat16)], [weight])
    assert {v.dtype for v in optimizer.moments[0]} == {"float32"}


def test_adafactor_under_mirrored_strategy_equals_one_device():
    """On all logical CPU devices; one alone already makes distributed variables."""
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    results = []
    for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(devices)):
        with strategy.scope():
            weight = keras.Variable(np.ones((2, 3), "float32"), name="kernel")
            optimizer = make_optimizer(OptimizerConfig(name="adafactor"), [weight])
        share = tf.reshape(tf.range(6.0), [2, 3]) / strategy.num_replicas_in_sync
        for _ in range(2):
            strategy.run(lambda o=optimizer, g=share, w=weight: o.apply([g], [w]))
        results.append(weight.numpy())
    np.testing.assert_allclose(results[1], results[0], rtol=1e-6)


def test_unknown_optimizer_is_refused():
    with pytest.raises(UserError, match=r"--optimizer.name=adam: expected one of adamw"):
        OptimizerConfig(name="adam")
