"""Optimizers: Keras' AdamW, SGD and RMSprop, and an Adafactor whose second moments really are
factored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_textgen.layers.embedding import is_lookup_table
from tf_textgen.optimizers.optimizer_config import OptimizerConfig
from tf_textgen.optimizers.schedules import WarmUpThenDecay


def make_optimizer(
    config: OptimizerConfig, variables: Sequence[keras.Variable], total_steps: int = 0
) -> keras.optimizers.Optimizer:
    """The optimizer of `config`, built on `variables`, so that a checkpoint can be restored into it
    at once.

    Its attribute `schedule` is the `WarmUpThenDecay`, whose `total_steps` may be set later.

    Clipping is not the optimizer's: under `tf.distribute` Keras clips before the gradients of the
    replicas are summed. `TextModel.compile(clip_norm=...)` clips after.

    Args:
      config: the optimizer's configuration.
      variables: the model's trainable variables.
      total_steps: last step of the schedule; 0 if not yet known.
    """
    rate = WarmUpThenDecay(
        config.schedule,
        config.learning_rate,
        warmup_steps=config.warmup_steps,
        total_steps=total_steps,
        final_fraction=config.final_learning_rate_fraction,
    )
    shared: dict[str, Any] = {
        "learning_rate": rate,
        "weight_decay": config.weight_decay or None,
        "name": "optimizer",
    }
    optimizer: keras.optimizers.Optimizer
    if config.name == "adamw":
        shared["weight_decay"] = config.weight_decay
        optimizer = keras.optimizers.AdamW(
            beta_1=config.beta_1, beta_2=config.beta_2, epsilon=config.epsilon, **shared
        )
    elif config.name == "adafactor":
        optimizer = Adafactor(**shared)
    elif config.name == "sgd":
        optimizer = keras.optimizers.SGD(momentum=config.momentum, **shared)
    else:
        optimizer = keras.optimizers.RMSprop(
            rho=config.beta_2, momentum=config.momentum, epsilon=config.epsilon, **shared
        )
    optimizer.exclude_from_weight_decay(var_list=[v for v in variables if not is_decayed(v)])
    optimizer.build(list(variables))
    optimizer.schedule = rate
    return optimizer


def is_decayed(variable: keras.Variable) -> bool:
    """Returns True for matrices that multiply activations.

    Biases, gains (one dimension) and the tables of tokens and positions are left out, as in GPT-2's
    training: a bias cannot overfit, and no gradient opposes the decay of a rare token's row. A tied
    output matrix is the token table and left out with it.
    """
    return len(variable.shape) >= 2 and not is_lookup_table(variable)


@keras.saving.register_keras_serializable(package="tf_textgen")
class Adafactor(keras.optimizers.Optimizer):
    """Adafactor with factored second moments, without momentum.

    For a matrix `[R, C]` it keeps `R + C` numbers where Adam keeps `2 * R * C`.
    `keras.optimizers.Adafactor` also stores the product `[R, C]` of the two factors, and several of
    its variables share one path.

    The step is relative to the weights' own size: `learning_rate * max(epsilon_2, RMS(weights))`;
    0.01 with the schedule `inverse_sqrt` is the paper's proposal.

    Reference: Shazeer and Stern 2018, "Adafactor: Adaptive Learning Rates with Sublinear Memory
    Cost", algorithms 4 and 5.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        decay_exponent: float = 0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        **kwargs: Any,
    ) -> None:
        """Makes the optimizer.

        Args:
          learning_rate: relative step size, a number or a schedule.
          decay_exponent: the second moment's decay at step t is `1 - t ** -decay_exponent` (section
            7.2).
          epsilon_1: added to squared gradients.
          epsilon_2: least size of weights that steps are relative to, so that zeros can move.
          clip_threshold: largest root mean square of an update (section 6).
          **kwargs: those of `keras.optimizers.Optimizer`.
        """
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.decay_exponent = decay_exponent
        self.epsilon_1 = epsilon_1
        self.epsilon_2 = epsilon_2
        self.clip_threshold = clip_threshold

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self.moments = []
        self.index_of = {}
        for i, variable in enumerate(variables):
            name = variable.path.replace("/", "_")
            shape = tuple(variable.shape)
            shapes = (
                {"rows": shape[:-1], "columns": shape[:-2] + shape[-1:]}
                if len(shape) > 1
                else {"moment": shape}
            )
            self.moments.append(
                [
                    self.add_variable(s, dtype="float32", name=f"{name}_{n}")
                    for n, s in shapes.items()
                ]
            )
            # An update sees one replica's part of a distributed variable.
            for part in tf.distribute.get_strategy().experimental_local_results(variable.value):
                self.index_of[part.ref()] = i

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        gradient = tf.cast(tf.convert_to_tensor(gradient), tf.float32)
        step = tf.cast(self.iterations, tf.float32) + 1.0
        decay = 1.0 - step**-self.decay_exponent
        square = tf.square(gradient) + self.epsilon_1
        update = gradient * tf.math.rsqrt(
            self._second_moment(square, decay, self.moments[self.index_of[variable.ref()]])
        )
        update /= tf.maximum(1.0, _root_mean_square(update) / self.clip_threshold)
        size = tf.maximum(self.epsilon_2, _root_mean_square(tf.cast(variable, tf.float32)))
        self.assign_sub(variable, update * size * tf.cast(learning_rate, tf.float32))

    def _second_moment(
        self, square: tf.Tensor, decay: tf.Tensor, moments: list[keras.Variable]
    ) -> tf.Tensor:
        """Moves the running means towards `square` and returns their estimate of it, of `square`'s
        shape.
        """
        means = (
            [square]
            if len(moments) == 1
            else [tf.reduce_mean(square, -1), tf.reduce_mean(square, -2)]
        )
        new = [
            decay * tf.convert_to_tensor(m) + (1.0 - decay) * mean
            for m, mean in zip(moments, means, strict=True)
        ]
        for moment, value in zip(moments, new, strict=True):
            self.assign(moment, value)
        if len(new) == 1:
            return new[0]
        rows, columns = new
        return (rows / tf.reduce_mean(rows, -1, keepdims=True))[..., tf.newaxis] * columns[
            ..., tf.newaxis, :
        ]

    def get_config(self) -> dict[str, Any]:
        names = ("decay_exponent", "epsilon_1", "epsilon_2", "clip_threshold")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _root_mean_square(x: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_mean(tf.square(x)))
