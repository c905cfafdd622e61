"""The answers of generation, as tensors and as Python values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_textgen.decoding.beam_search import Hypotheses
from tf_textgen.decoding.continuation import Continuation
from tf_textgen.decoding.decoding_config import DecodingConfig, refusal
from tf_textgen.decoding.single_search import Decoded
from tf_textgen.decoding.stopping import FINISH_REASONS
from tf_textgen.errors import UserError
from tf_textgen.text.tokenizer import Tokenizer, repair_utf8


class Generation(NamedTuple):
    """One text for each prompt; the outputs of the signature `generate`.

    Attributes:
      text: `[B]` string, valid UTF-8, as it is appended to the prompt.
      score: `[B]` float32, sum of the tokens' log-probabilities, nats.
      token_count: `[B]` int32.
      finish_reason: `[B]` string, "eos", "length", "stop", "loop", or the error of a bad row.
      prompt_truncated: `[B]` bool, whether the prompt was cut, at `truncation_side`.
      token_log_probabilities: `[B, N]` float32, of the model's own distribution; 0 beyond the end.
      token_texts: `[B, N]` string, with the end token and those of a stop string; "" beyond the
        end.
    """

    text: tf.Tensor
    score: tf.Tensor
    token_count: tf.Tensor
    finish_reason: tf.Tensor
    prompt_truncated: tf.Tensor
    token_log_probabilities: tf.Tensor
    token_texts: tf.Tensor


class BestGeneration(NamedTuple):
    """The n best texts for each prompt, best first; the outputs of the signature `beam_search`.

    Attributes:
      text: `[B, n]` string, valid UTF-8, as it is appended to the prompt.
      score: `[B, n]` float32, sum of the tokens' log-probabilities, nats.
      normalized_score: `[B, n]` float32, the score divided by the length penalty, which gives the
        order.
      token_count: `[B, n]` int32.
      finish_reason: `[B, n]` string, as in `Generation`; "" if a row has fewer than n texts.
      prompt_truncated: `[B]` bool.
      token_log_probabilities: `[B, n, N]` float32, as in `Generation`.
      token_texts: `[B, n, N]` string, as in `Generation`.
    """

    text: tf.Tensor
    score: tf.Tensor
    normalized_score: tf.Tensor
    token_count: tf.Tensor
    finish_reason: tf.Tensor
    prompt_truncated: tf.Tensor
    token_log_probabilities: tf.Tensor
    token_texts: tf.Tensor


def shared_outputs(
    found: Decoded | Hypotheses, problem: tf.Tensor, tokenizer: Tokenizer
) -> dict[str, tf.Tensor]:
    """The fields that `Generation` and `BestGeneration` share, empty in bad rows.

    Args:
      found: by the search.
      problem: `[B]` or `[B, 1]` string, the error of a bad row, else "".
      tokenizer: of the texts.
    """
    good = tf.equal(problem, "")
    counts = tf.where(good, found.token_count, 0)
    present = tf.range(tf.shape(found.tokens)[-1]) < counts[..., tf.newaxis]
    return {
        "text": tf.where(good, repair_utf8(found.texts), ""),
        "score": tf.where(good, found.score, 0.0),
        "token_count": counts,
        "finish_reason": tf.where(good, found.finish_reason, problem),
        "token_log_probabilities": tf.where(present, found.log_probabilities, 0.0),
        "token_texts": tf.where(
            present, repair_utf8(tf.gather(tokenizer.pieces, found.tokens)), ""
        ),
    }


def to_continuations(
    rows: Sequence[tuple[str, int]], answer: Mapping[str, Sequence[Any]], decoding: DecodingConfig
) -> list[Continuation]:
    """The continuations in the fields of `Generation`.

    Args:
      rows: prompt and number of the sample of each row.
      answer: a list of Python values for each field.
      decoding: parameters of the rows, for the message of an error.

    Raises:
      UserError: if the graph refused a row, with the reason.
    """
    results = []
    for row, (prompt, sample) in enumerate(rows):
        values = {name: answer[name][row] for name in Generation._fields}
        results.append(_continuation(values, decoding, prompt=prompt, sample=sample))
    return results


def to_best_continuations(
    prompts: Sequence[str], answer: Mapping[str, Sequence[Any]], decoding: DecodingConfig
) -> list[Continuation]:
    """The continuations in the fields of `BestGeneration`: up to `num_best` for each prompt.

    Args and errors are those of `to_continuations`.
    """
    of_each_text = [name for name in BestGeneration._fields if name != "prompt_truncated"]
    results = []
    for row, prompt in enumerate(prompts):
        for rank in range(decoding.num_best):
            values = {name: answer[name][row][rank] for name in of_each_text}
            if not values["finish_reason"]:
                continue
            values["prompt_truncated"] = answer["prompt_truncated"][row]
            results.append(_continuation(values, decoding, prompt=prompt, rank=rank))
    return results


def _continuation(values: dict[str, Any], decoding: DecodingConfig, **place: Any) -> Continuation:
    if values["finish_reason"] not in FINISH_REASONS:
        raise UserError(refusal(values["finish_reason"], decoding))
    count = values["token_count"]
    for name in ("token_log_probabilities", "token_texts"):
        values[name] = tuple(values[name][:count])
    return Continuation(**values, **place)


def to_lists(output: NamedTuple) -> dict[str, list[Any]]:
    """The fields as nested lists of Python values."""
    lists = {}
    for name, value in output._asdict().items():
        array = np.asarray(value)
        if array.dtype == object:
            array = np.frompyfunc(bytes.decode, 1, 1)(array)
        lists[name] = array.tolist()
    return lists
