"""Prints the log-probability of given texts, or of targets given their sources."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from typing import Any

from absl import flags

from tf_textgen import config
from tf_textgen.config import Config, field
from tf_textgen.errors import UserError
from tf_textgen.jobs import run_flags
from tf_textgen.jobs.prompts import lines_of

HELP = "Print the log-probability of given texts or pairs."


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreConfig(Config):
    """The texts and the form of their scores."""

    text: tuple[str, ...] = field(
        (),
        "A text to score; pairs as source TAB target. Without it: --text_file or standard input.",
    )
    text_file: str | None = field(
        None, "A file with one text (or source TAB target) a line.", path=True
    )
    escapes: bool = field(
        False,
        r"Read \n, \t, \\, \xHH and \uHHHH in texts as the characters that they represent, after a "
        r"pair "
        "is split.",
    )
    per_token: bool = field(False, "Add each token with its log-probability.")
    json: bool = field(False, "Print JSON lines.")
    batch_size: int = field(16, "Number of texts scored together.", at_least=1)


def define_flags(flag_values: flags.FlagValues) -> None:
    run_flags.define_run_flags(flag_values)
    config.define_flags(ScoreConfig, flag_values)


def run(flag_values: flags.FlagValues) -> None:
    score_config = config.from_flags(ScoreConfig, flag_values)
    if score_config.text and score_config.text_file:
        raise UserError("--text and --text_file are both given: expected one of them")
    texts = score_config.text or lines_of(score_config.text_file, "--text_file")
    loaded = run_flags.load(flag_values)

    from tf_textgen.judging.scoring import score_texts
    from tf_textgen.runs import loading

    generator = loading.generator_of(loaded)
    rows = score_texts(
        generator,
        texts,
        batch_size=score_config.batch_size,
        escapes=score_config.escapes,
        per_token=score_config.per_token,
    )
    for row in rows:
        if score_config.json:
            print(json.dumps(row, ensure_ascii=False), flush=True)
        else:
            _print(row, generator.truncation_side)


def _print(row: Mapping[str, Any], truncation_side: str) -> None:
    print(
        f"{row['log_probability']:.4f} nats  {row['token_count']} tokens  "
        f"perplexity {row['perplexity']:.3f}  {row['text']}"
    )
    if "tokens" in row:
        for token, value in zip(row["tokens"], row["token_log_probabilities"], strict=True):
            print(f"  {value:9.4f}  {token!r}", flush=True)
    if row["truncated"]:
        print(
            f"note: {row['text'][:40]!r}... is longer than the context: a source loses its "
            f"{truncation_side}, a text its end",
            file=sys.stderr,
        )
