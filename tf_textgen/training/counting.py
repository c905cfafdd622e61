"""Training by counting: one pass over the tokenized training data, kept as a run's only
checkpoint.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tf_textgen.data.split import TokenizedSplit
from tf_textgen.data.token_streams import ragged_places
from tf_textgen.models.base import TextModel
from tf_textgen.models.kneser_ney import Estimate, estimate
from tf_textgen.models.ngram_counts import NGramCounts
from tf_textgen.runs.checkpoints import Checkpoints
from tf_textgen.runs.recorded_config import RecordedConfig
from tf_textgen.runs.run_folder import RunFolder, make_model
from tf_textgen.runs.run_state import RunState

CHUNK_TOKENS = 1 << 22  # 32 MiB a column of int64


class Counted(NamedTuple):
    """A counted run: its model, its state, and its configuration with the sizes
    that counting found.
    """

    model: TextModel
    state: RunState
    config: RecordedConfig


def count_run(
    split: TokenizedSplit, folder: RunFolder, checkpoints: Checkpoints, config: RecordedConfig
) -> Counted:
    """Counts `split`, says what was found, and writes config.json and the checkpoint.

    Raises:
      UserError: if there are no n-grams of the order, or no room on the disk.
    """
    began = time.perf_counter()
    given: Any = config.model_config
    print(
        f"counting n-grams of up to {given.order} tokens in one pass, which takes neither budget "
        "nor optimizer"
    )
    found = count(split, given.order)
    print(*describe_estimate(found), sep="\n")
    sized = dataclasses.replace(given, contexts=found.contexts, continuations=found.continuations)
    whole = dataclasses.replace(config, model_config=sized)
    folder.write_config(whole)
    model = make_model(whole)
    model.assign(found)  # type: ignore[attr-defined]
    seconds = time.perf_counter() - began
    state = RunState(step=1, total_steps=1, seconds=seconds, tokens=split.num_tokens)
    checkpoints.save(state, model)
    return Counted(model, state, whole)


def restore_count(
    folder: RunFolder, checkpoints: Checkpoints, config: RecordedConfig
) -> Counted | None:
    """Returns the result of `count_run`, or None if it did not finish."""
    recorded = folder.recorded()
    step = checkpoints.newest_whole()
    if recorded is None or step is None:
        return None
    whole = dataclasses.replace(config, model_config=recorded.model_config)
    folder.write_config(whole)
    model = make_model(whole)
    return Counted(model, checkpoints.restore(step, model), whole)


def count(split: TokenizedSplit, order: int, chunk_tokens: int = CHUNK_TOKENS) -> Estimate:
    """The n-gram model of a split: of the labels that a loss over it counts, each with its
    document's tokens before.

    Args:
      split: documents, or pairs taken as rows `<s> source <sep> target </s>`, of which the target
        and its `</s>` count.
      order: tokens of the longest n-gram.
      chunk_tokens: read at once, about.

    Raises:
      UserError: if there are no n-grams of this order.
    """
    counts = NGramCounts(order, split.vocabulary_size, split.bos_id)
    chunks = (
        _pair_chunks(split, chunk_tokens)
        if split.is_pairs
        else _text_chunks(split, chunk_tokens, order - 1)
    )
    for tokens, counted in chunks:
        counts.add(tokens, counted)
    never = {split.pad_id, split.bos_id, split.sep_id} - {split.eos_id}
    return estimate(counts.table(), split.vocabulary_size, never)


def _text_chunks(
    split: TokenizedSplit, chunk_tokens: int, history: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Stretches of the stream, each with `history` tokens of the one before; every label counted
    once.
    """
    for start in range(0, split.stream_tokens, chunk_tokens):
        first = max(0, start - history)
        tokens = split.read(first, min(start + chunk_tokens, split.stream_tokens))
        yield tokens, (tokens != split.bos_id) & (np.arange(first, first + len(tokens)) >= start)


def _pair_chunks(
    split: TokenizedSplit, chunk_tokens: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows `<s> source <sep> target </s>` one after the other, whole, and which of their tokens are
    counted.
    """
    sources = split.lengths("source")
    targets = split.lengths("target")
    places = ragged_places(sources + targets + 3)
    first = 0
    while first < split.num_documents:
        # At least one pair, however long.
        last = max(
            first + 1, int(np.searchsorted(places, places[first] + chunk_tokens, "right")) - 1
        )
        some = slice(first, last)
        yield _pair_rows(
            split, some, places[first : last + 1] - places[first], sources[some], targets[some]
        )
        first = last


def _pair_rows(
    split: TokenizedSplit, some: slice, places: np.ndarray, sources: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    tokens = np.full(places[-1], split.bos_id, np.int32)
    counted = np.zeros(places[-1], bool)
    behind = places[:-1] + 1 + sources
    tokens[behind] = split.sep_id
    tokens[places[1:] - 1] = split.eos_id
    for name, begins, lengths in (
        ("source", places[:-1] + 1, sources),
        ("target", behind + 1, targets),
    ):
        at = np.repeat(begins - ragged_places(lengths)[:-1], lengths) + np.arange(lengths.sum())
        tokens[at] = split.read_documents(name, some.start, some.stop)
        counted[at] = name == "target"
    counted[places[1:] - 1] = True
    return tokens, counted


def describe_estimate(found: Estimate) -> list[str]:
    """One line for people on each order."""
    lines = []
    for order, discounts in enumerate(found.discounts, start=1):
        notes = []
        if order > 1:
            notes = [
                f"{found.contexts[order - 2]:,} contexts",
                f"{found.continuations[order - 2]:,} n-grams",
            ]
        notes.append("discounts " + " ".join(f"{value:.3g}" for value in discounts.values))
        if not discounts.estimated:
            numbers = ", ".join(f"{number:,}" for number in discounts.counts_of_counts)
            notes.append(
                f"which are used instead, as {numbers} n-grams with counts of 1 to 4 give no "
                "estimate"
            )
        lines.append(f"order {order}: {', '.join(notes)}")
    return lines
