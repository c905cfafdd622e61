"""Whether a run compiles its model with XLA."""

from __future__ import annotations

import tensorflow as tf

from tf_textgen.models.base import TextModel
from tf_textgen.runs.run_config import RunConfig


def use_xla(config: RunConfig, model: TextModel, *, is_pairs: bool) -> bool:
    """Whether `config` compiles `model` with XLA; `auto` does so if that is faster.

    XLA compiles again for each shape, of which pairs have many, and on a CPU it has no bfloat16
    matrix product.
    """
    if not model.config.supports_xla:
        return False
    good_arithmetic = config.precision == "float32" or bool(tf.config.list_physical_devices("GPU"))
    return {"on": True, "off": False, "auto": good_arithmetic and not is_pairs}[config.xla]
