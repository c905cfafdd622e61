"""What the graphs of generation answer, and the same as Python values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_textgen.decoding.decoding_config import DecodingConfig, refusal
from tf_textgen.decoding.stopping import FINISH_REASONS
from tf_textgen.errors import UserError


class Generation(NamedTuple):
    """What one call of the graph returns, a row a prompt."""

    text: tf.Tensor  # [B] string, valid UTF-8, without the prompt
    score: tf.Tensor  # [B] float32, sum of the tokens' log-probabilities, nats
    token_count: tf.Tensor  # [B] int32
    finish_reason: (
        tf.Tensor
    )  # [B] string: "eos", "length", "stop", "loop", or what is wrong with the row's parameters
    prompt_truncated: tf.Tensor  # [B] bool, True if the prompt was cut, at `truncation_side`
    token_log_probabilities: (
        tf.Tensor
    )  # [B, N] float32, of the model's own distribution, 0 behind the end
    token_texts: (
        tf.Tensor
    )  # [B, N] string, "" behind the end; with the end token and those of a stop string


class BestGeneration(NamedTuple):
    """What one call of a beam's graph returns: n texts for each prompt, best first."""

    text: tf.Tensor  # [B, n] string, valid UTF-8, without the prompt
    score: tf.Tensor  # [B, n] float32, sum of the tokens' log-probabilities, nats
    normalized_score: (
        tf.Tensor
    )  # [B, n] float32, divided by the length penalty: what the order follows
    token_count: tf.Tensor  # [B, n] int32
    finish_reason: (
        tf.Tensor
    )  # [B, n] string: as in `Generation`; "" if a row has fewer than n texts
    prompt_truncated: tf.Tensor  # [B] bool
    token_log_probabilities: tf.Tensor  # [B, n, N] float32, as in `Generation`
    token_texts: tf.Tensor  # [B, n, N] string


@dataclasses.dataclass(frozen=True, kw_only=True)
class Continuation:
    """One generated text, as Python values; the fields are those of `Generation` and
    `BestGeneration`.
    """

    prompt: str
    text: str
    score: float
    token_count: int
    finish_reason: str
    prompt_truncated: bool
    token_log_probabilities: tuple[float, ...] = ()
    token_texts: tuple[str, ...] = ()
    sample: int = 0
    rank: int = 0  # among the n-best of a beam; 0 is the best
    normalized_score: float | None = None  # of a beam


def to_continuations(
    rows: Sequence[tuple[str, int]], answer: Mapping[str, Sequence[Any]], decoding: DecodingConfig
) -> list[Continuation]:
    """What `Generation`, a list of plain values a field, says of the prompts and samples `rows`.

    Raises:
      UserError: if the graph refused a row, with what it said.
    """
    return [
        _continuation(
            {name: answer[name][i] for name in Generation._fields},
            decoding,
            prompt=prompt,
            sample=sample,
        )
        for i, (prompt, sample) in enumerate(rows)
    ]


def to_best_continuations(
    prompts: Sequence[str], answer: Mapping[str, Sequence[Any]], decoding: DecodingConfig
) -> list[Continuation]:
    """Like `to_continuations`, of `BestGeneration`: up to `num_best` for each prompt."""
    names = [name for name in BestGeneration._fields if name != "prompt_truncated"]
    results = []
    for i, prompt in enumerate(prompts):
        for rank in range(decoding.num_best):
            values = {name: answer[name][i][rank] for name in names}
            if values["finish_reason"]:
                values["prompt_truncated"] = answer["prompt_truncated"][i]
                results.append(_continuation(values, decoding, prompt=prompt, rank=rank))
    return results


def _continuation(values: dict[str, Any], decoding: DecodingConfig, **place: Any) -> Continuation:
    if values["finish_reason"] not in FINISH_REASONS:
        raise UserError(refusal(values["finish_reason"], decoding))
    for name in ("token_log_probabilities", "token_texts"):
        values[name] = tuple(values[name][: values["token_count"]])
    return Continuation(**values, **place)


def plain(output: NamedTuple) -> dict[str, list[Any]]:
    """The fields as nested lists of Python values."""
    arrays = {name: np.asarray(value) for name, value in output._asdict().items()}
    return {
        name: (
            np.frompyfunc(bytes.decode, 1, 1)(array) if array.dtype == object else array
        ).tolist()
        for name, array in arrays.items()
    }
