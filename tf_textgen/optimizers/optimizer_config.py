"""Configuration of the optimizer and its learning rate. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from tf_textgen.config import Config, field


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Config):
    """How weights are changed by gradients."""

    prefix: ClassVar[str] = "optimizer"

    name: str = field(
        "adamw",
        "Update rule; adamw is what Transformers are trained with, adafactor needs the least "
        "memory.",
        choices=("adamw", "adafactor", "sgd", "rmsprop"),
    )
    learning_rate: float = field(
        1e-3,
        "Peak learning rate; 1e-3 suits models of 1 to 20 million parameters under adamw.",
        above=0.0,
    )
    schedule: str = field(
        "cosine",
        "Course of the learning rate after the warm-up; cosine as in GPT-3 (Brown et al. 2020, "
        "appendix B).",
        choices=("constant", "cosine", "linear", "inverse_sqrt"),
    )
    warmup_steps: int | None = field(
        None,
        "Steps of linear growth up to the peak, since Adam's first moments are noise. None is 100, "
        "but at most a tenth of the steps, so that a short training reaches its learning rate.",
        at_least=0,
        may_change=True,
    )
    final_learning_rate_fraction: float = field(
        0.1,
        "Learning rate at the last step as a fraction of the peak, for cosine and linear (0.1 as "
        "in GPT-3).",
        at_least=0.0,
        at_most=1.0,
    )
    weight_decay: float = field(
        0.1,
        "Decoupled weight decay of matrices; never of biases, norms and embeddings.",
        at_least=0.0,
    )
    beta_1: float = field(0.9, "Decay of the first moment (adamw).", at_least=0.0, below=1.0)
    beta_2: float = field(
        0.99,
        "Decay of the second moment (adamw, rmsprop); 0.95 for large batches.",
        at_least=0.0,
        below=1.0,
    )
    epsilon: float = field(
        1e-8, "Added to the root of the second moment (adamw, rmsprop).", above=0.0
    )
    momentum: float = field(0.9, "Momentum (sgd, rmsprop).", at_least=0.0, below=1.0)
    clip_norm: float = field(
        1.0,
        "Largest global norm of the gradient of one token's mean loss; 0 does not clip.",
        at_least=0.0,
    )
    ema_decay: float = field(
        0.0,
        "Decay of a moving average of the weights, which is validated and exported in their place; "
        "0.999 is common, 0 keeps none.",
        at_least=0.0,
        below=1.0,
    )
    label_smoothing: float = field(
        0.0,
        "Share of the target probability spread over the vocabulary, in training only.",
        at_least=0.0,
        below=1.0,
    )
