"""Log-probability of given texts, or of targets given their sources."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np
from absl import flags

from tf_textgen import config
from tf_textgen.errors import UserError
from tf_textgen.jobs.prompts import lines_of
from tf_textgen.runs import loading

HELP = "Log-probability of given texts or pairs."


def define_flags(flag_values: flags.FlagValues) -> None:
    loading.define_run_flags(flag_values)
    text_help = (
        "A text to score; pairs as source TAB target. Without it: --text_file or standard input."
    )
    flags.DEFINE_multi_string("text", [], text_help, flag_values=flag_values)
    flags.DEFINE_string(
        "text_file",
        None,
        "A file with one text (or source TAB target) a line.",
        flag_values=flag_values,
    )
    escapes_help = r"Read \n, \t, \\, \xHH and \uHHHH in texts as the characters they stand for, after a pair is split."
    flags.DEFINE_boolean("escapes", False, escapes_help, flag_values=flag_values)
    flags.DEFINE_boolean(
        "per_token", False, "Add each token with its log-probability.", flag_values=flag_values
    )
    flags.DEFINE_boolean("json", False, "Write JSON lines.", flag_values=flag_values)
    flags.DEFINE_integer(
        "batch_size", 16, "Texts scored at once.", lower_bound=1, flag_values=flag_values
    )


def run(flag_values: flags.FlagValues) -> None:
    if flag_values["text"].value and flag_values["text_file"].value:
        raise UserError("--text and --text_file are both given: expected one of them")
    loaded = loading.load(flag_values)
    generator = loading.generator_of(loaded)
    texts: Iterator[str] = iter(
        flag_values["text"].value or lines_of(flag_values["text_file"].value, "--text_file")
    )
    unescaped: Callable[[Sequence[str]], list[str]] = (
        _unescape_all if flag_values["escapes"].value else list
    )
    while some := list(islice(texts, flag_values["batch_size"].value)):
        sources, targets = _split_pairs(some) if generator.is_pair else (None, some)
        found = generator.score(unescaped(targets), None if sources is None else unescaped(sources))
        scores = [np.asarray(value) for value in found]
        for text, total, count, perplexity, values, pieces, truncated in zip(
            some, *scores, strict=True
        ):
            row = {"text": text, "log_probability": float(total), "token_count": int(count)}
            row |= {"perplexity": float(perplexity), "truncated": bool(truncated)}
            if flag_values["per_token"].value:
                row["tokens"] = [piece.decode() for piece in pieces[:count]]
                row["token_log_probabilities"] = [
                    round(float(value), 6) for value in values[:count]
                ]
            _write(row, generator.truncation_side, as_json=bool(flag_values["json"].value))


def _unescape_all(texts: Sequence[str]) -> list[str]:
    return [config.unescape(repr(text[:60]), text) for text in texts]


def _split_pairs(lines: list[str]) -> tuple[list[str], list[str]]:
    pairs = [line.split("\t") for line in lines]
    for line, pair in zip(lines, pairs, strict=True):
        if len(pair) != 2:
            raise UserError(
                f"{line[:60]!r} has {len(pair)} tab-separated columns: expected source TAB target"
            )
    return [source for source, _ in pairs], [target for _, target in pairs]


def _write(row: dict, truncation_side: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(row, ensure_ascii=False), flush=True)
        return
    total = row["log_probability"]
    count = row["token_count"]
    perplexity = row["perplexity"]
    print(f"{total:.4f} nats  {count} tokens  perplexity {perplexity:.3f}  {row['text']}")
    for piece, value in zip(
        row.get("tokens", ()), row.get("token_log_probabilities", ()), strict=True
    ):
        print(f"  {value:9.4f}  {piece!r}", flush=True)
    if row["truncated"]:
        lost = f"a source loses its {truncation_side}, a text its end"
        print(f"note: {row['text'][:40]!r}... is longer than the context: {lost}", file=sys.stderr)
