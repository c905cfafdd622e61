"""The likelihood of text under a model, as token-weighted metrics."""

from __future__ import annotations

from typing import Any

import keras

from tf_textgen.objectives.perplexity import bits_per_byte, perplexity


def evaluate(
    model: keras.Model, batches: Any, bytes_per_token: float | None = None, steps: int | None = None
) -> dict[str, Any]:
    """Token-level metrics of `model` over all of `batches`; its running metrics are reset.

    Args:
      model: compiled.
      batches: of one pass.
      bytes_per_token: of their text, if known.
      steps: their number if they are distributed: Keras would take the parts of the replicas for
        steps.

    Returns:
      `nats_per_token`, `perplexity`, `accuracy`, `tokens`, and `bits_per_byte` if `bytes_per_token`
      is known.
    """
    values = model.evaluate(batches, verbose=0, steps=steps, return_dict=True)
    model.reset_metrics()
    loss = float(values["loss"])
    metrics: dict[str, Any] = {"nats_per_token": loss, "perplexity": perplexity(loss)}
    if bytes_per_token:
        metrics["bits_per_byte"] = bits_per_byte(loss, bytes_per_token)
    return {
        **metrics,
        "accuracy": float(values["accuracy"]),
        "tokens": round(float(values["tokens"])),
    }
