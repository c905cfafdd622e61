"""Texts that a run generates for a split, judged by the metrics that were asked for."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from absl import flags

from tf_textgen import config
from tf_textgen.config import did_you_mean
from tf_textgen.data.data_config import DataConfig
from tf_textgen.decoding.decoding_config import DecodingConfig, sample_seed
from tf_textgen.errors import UserError
from tf_textgen.runs import loading

if TYPE_CHECKING:
    from tf_textgen.data.references import Example
    from tf_textgen.evaluation.scores import Scores
    from tf_textgen.generator import Continuation, TextGenerator
    from tf_textgen.runs.run_folder import LoadedRun

REFERENCE_METRICS = ("bleu", "chrf", "rouge")
METRICS = ("likelihood", *REFERENCE_METRICS, "distinct", "memorization")
_BLEU_TOKENIZERS = ("auto", "13a", "intl", "zh", "char", "none")
_ROUGE_TOKENIZERS = ("auto", "english", "unicode")
_SAMPLES = 100  # of a run on texts, which has no sources to go through
_TEXTS_AT_ONCE = 8192  # tokenized
_PROGRESS_SECONDS = 10.0


def define_flags(flag_values: flags.FlagValues) -> None:
    text = (
        f"What to judge by, comma-separated: {', '.join(METRICS)}. likelihood needs no generated "
        f"text; {', '.join(REFERENCE_METRICS)} are for pairs. Texts are generated with the run's "
        "decoding parameters."
    )
    flags.DEFINE_multi_string("metrics", ["likelihood"], text, flag_values=flag_values)
    text = f"Generate for this many sources, from the first on; texts: from so many prompts ({_SAMPLES} if not set)."
    flags.DEFINE_integer("limit", None, text, lower_bound=1, flag_values=flag_values)
    text = "Columns of a TSV file after the target are further references."
    flags.DEFINE_boolean("further_references", False, text, flag_values=flag_values)
    text = "Tokens of BLEU, as sacreBLEU names them; auto is zh for Chinese references, else 13a."
    flags.DEFINE_enum("bleu_tokenizer", "auto", _BLEU_TOKENIZERS, text, flag_values=flag_values)
    text = "Tokens of ROUGE: english is [a-z0-9]+, unicode any script's words; auto goes by the references."
    flags.DEFINE_enum("rouge_tokenizer", "auto", _ROUGE_TOKENIZERS, text, flag_values=flag_values)
    flags.DEFINE_integer(
        "batch_size", 32, "Texts generated at once.", lower_bound=1, flag_values=flag_values
    )
    text = "Write the generated texts here: JSON lines with source, text, references, score and finish reason."
    flags.DEFINE_string("output", None, text, flag_values=flag_values)
    config.define_flags(DecodingConfig, flag_values)


def asked_metrics(flag_values: flags.FlagValues) -> list[str]:
    """The metrics of the flags, each once.

    Raises:
      UserError: for an unknown one, or none.
    """
    given = [
        name.strip()
        for value in flag_values["metrics"].value or ()
        for name in value.split(",")
        if name.strip()
    ]
    for name in given:
        if name not in METRICS:
            raise UserError(
                f"--metrics={name}: expected some of "
                f"{', '.join(METRICS)}{did_you_mean(name, METRICS)}"
            )
    if not given:
        raise UserError(f"--metrics is empty: expected some of {', '.join(METRICS)}")
    _refuse_idle_flags(given, flag_values)
    return list(dict.fromkeys(given))


def _refuse_idle_flags(metrics: Sequence[str], flag_values: flags.FlagValues) -> None:
    """Raises `UserError` for a flag that could not do anything with these metrics."""
    generating = METRICS[1:]
    needed: dict[str, Sequence[str]] = dict.fromkeys(("output", "limit", "batch_size"), generating)
    needed |= {
        name: generating for name in flag_values if name.startswith(f"{DecodingConfig.prefix}.")
    }
    needed |= {
        "further_references": REFERENCE_METRICS,
        "bleu_tokenizer": ("bleu",),
        "rouge_tokenizer": ("rouge",),
    }
    needed["stride"] = ("likelihood",)
    for name, users in needed.items():
        if flag_values[name].present and not set(users) & set(metrics):
            raise UserError(
                f"--{name} with --metrics={','.join(metrics)}: expected some of {', '.join(users)} "
                "next to it; add one or leave it out"
            )


def check_metrics(metrics: Sequence[str], data: DataConfig) -> None:
    """Raises `UserError` if a metric needs references and the data have none."""
    needed = [name for name in metrics if name in REFERENCE_METRICS]
    if needed and not data.is_pairs:
        others = ", ".join(name for name in METRICS if name not in REFERENCE_METRICS)
        raise UserError(
            f"--metrics={needed[0]} with --data.format=text: it compares with references, expected "
            f"pairs; for texts take some of {others}"
        )


def judge(
    loaded: LoadedRun,
    data: DataConfig,
    split: str,
    metrics: Sequence[str],
    flag_values: flags.FlagValues,
) -> dict[str, Any]:
    """Generates a text for each source of a split (for texts: after prompts taken from it) and
    judges them.

    Args:
      loaded: the run.
      data: how its files are read.
      split: its name.
      metrics: without likelihood.
      flag_values: what `define_flags` defined.

    Returns:
      What was judged, and each metric's figures and signature, flat.

    Raises:
      UserError: if the split or the decoding parameters cannot be used.
    """
    decoding = loading.decoding_of(loaded, flag_values)
    for name in ("num_samples", "num_best"):
        if getattr(decoding, name) != 1:
            raise UserError(
                f"--decoding.{name}={getattr(decoding, name)}: expected 1, one text a source is "
                f"judged; add --decoding.{name}=1"
            )
    generator = loading.generator_of(loaded, max_new_tokens=max(256, decoding.max_new_tokens))
    decoding = loading.within_bounds(decoding, generator, flag_values)
    examples = _examples(loaded, data, split, generator, flag_values)
    began = time.monotonic()
    generated = generate_all(
        generator,
        [example.source for example in examples],
        decoding,
        batch_size=int(flag_values["batch_size"].value or 1),
    )
    seconds = time.monotonic() - began
    if flag_values["output"].value:
        _write(flag_values["output"].value, examples, generated)
    results: dict[str, Any] = {
        "texts": len(examples),
        "references": sum(len(example.references) for example in examples),
        "generated_tokens": sum(text.token_count for text in generated),
        "ended_by_length": sum(text.finish_reason == "length" for text in generated),
        "sources_cut": sum(text.prompt_truncated for text in generated),
        "generation_time_s": round(seconds, 1),
        "decoding": " ".join(config.to_flags(decoding))
        or "sampling from the model's own distribution",
    }
    for name in metrics:
        scores = _score(name, [text.text for text in generated], examples, loaded, flag_values)
        results |= scores.values | {f"signature.{name}": scores.signature}
    return results


def generate_all(
    generator: TextGenerator,
    prompts: Sequence[str],
    decoding: DecodingConfig,
    *,
    batch_size: int,
    output: TextIO | None = None,
) -> list[Continuation]:
    """One text for each prompt, in the prompts' order.

    Prompts of like length are decoded together, the longest first: what does not fit in memory is
    known at once. A text does not depend on its batch. A source's text is that of `generate` with
    the same parameters; prompts to be continued have a seed each, lest diversity be judged on texts
    drawn by the same random numbers.

    Args:
      output: for progress; standard error if None.
    """
    order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place].encode()))
    results: list[Continuation | None] = [None] * len(prompts)
    progress = _Progress(len(prompts), output or sys.stderr)
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        seeds = (
            None if generator.is_pair else [sample_seed(decoding.seed, place) for place in places]
        )
        some = generator.generate(
            [prompts[place] for place in places], decoding, batch_size=batch_size, seeds=seeds
        )
        for place, continuation in zip(places, some, strict=True):
            results[place] = continuation
        progress.show(start + len(places))
    return [continuation for continuation in results if continuation is not None]


def _examples(
    loaded: LoadedRun,
    data: DataConfig,
    split: str,
    generator: TextGenerator,
    flag_values: flags.FlagValues,
) -> list[Example]:
    """The sources of a split with their references; for texts, prompts out of it without."""
    from tf_textgen.data.references import Example, read_examples
    from tf_textgen.judging.split_prompts import prompts_from

    limit = flag_values["limit"].value
    if not data.is_pairs:
        opened = loading.open_split(loaded, data, split)
        return [
            Example(prompt, ()) for prompt in prompts_from(opened, generator, limit or _SAMPLES)
        ]
    further = bool(flag_values["further_references"].value)
    if split == "test" or data.valid or not data.validation_fraction:
        return read_examples(data, split, further_columns=further)[:limit]
    # Cut from the training files. Over-long pairs are counted out there, so the same number from
    # the end (or the beginning) has none of the other part's.
    count = loading.open_split(loaded, data, split).num_documents
    part = slice(-count, None) if split == "valid" else slice(count)
    return read_examples(data, "train", part=part, further_columns=further)[:limit]


def _score(
    name: str,
    texts: Sequence[str],
    examples: Sequence[Example],
    loaded: LoadedRun,
    flag_values: flags.FlagValues,
) -> Scores:
    references = [example.references for example in examples]
    chosen = {metric: flag_values[f"{metric}_tokenizer"].value for metric in ("bleu", "rouge")}
    tokenizer = None if chosen.get(name) in (None, "auto") else chosen[name]
    if name == "bleu":
        from tf_textgen.evaluation.bleu import bleu

        return bleu(texts, references, tokenizer=tokenizer)
    if name == "chrf":
        from tf_textgen.evaluation.chrf import chrf

        return chrf(texts, references)
    if name == "rouge":
        from tf_textgen.evaluation.rouge import rouge

        return rouge(texts, references, tokenizer=tokenizer)
    if name == "distinct":
        from tf_textgen.evaluation.distinct import distinct

        return distinct(texts)
    from tf_textgen.evaluation.memorization import memorization

    return memorization(texts, _training_texts(loaded))


def _training_texts(loaded: LoadedRun) -> Iterator[str]:
    """What the model learned to write: the training documents (very long ones in parts), or the
    targets of pairs.
    """
    from tf_textgen.data import sources
    from tf_textgen.data.documents import Documents

    data = DataConfig.from_json(loaded.config["data"])
    train = loading.open_split(loaded, data, "train")
    count = train.num_documents
    paths = sources.split_files(data, "train")
    if data.is_pairs:
        pairs = iter(sources.Pairs(data, *paths))
        learned = _fitting(loaded, data, pairs) if train.dropped else pairs
        parts: Iterator[tuple[bytes, bool]] = ((target, True) for _, target in learned)
    else:
        parts = iter(Documents(data, paths[0]))
    for text, ends in parts:
        if count <= 0:
            return
        yield text.decode()
        count -= ends


def _fitting(
    loaded: LoadedRun, data: DataConfig, pairs: Iterator[tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes]]:
    """The pairs that are not over-long: `train` dropped the others, and counts without them."""
    tokenizers = (loaded.source_tokenizer or loaded.tokenizer, loaded.tokenizer)
    limits = (data.max_source_tokens, data.max_target_tokens)
    while some := list(islice(pairs, _TEXTS_AT_ONCE)):
        sides = [list(side) for side in zip(*some, strict=True)]
        lengths = [
            one.tokenize(side).row_lengths().numpy()
            for one, side in zip(tokenizers, sides, strict=True)
        ]
        for pair, *tokens in zip(some, *lengths, strict=True):
            if all(count <= limit for count, limit in zip(tokens, limits, strict=True)):
                yield pair


def _write(path: str, examples: Sequence[Example], generated: Sequence[Continuation]) -> None:
    from tf_textgen import atomic_files

    lines = []
    for example, continuation in zip(examples, generated, strict=True):
        values = dataclasses.asdict(continuation)
        del values["prompt"], values["sample"]
        row = {
            "source": example.source,
            "text": values.pop("text"),
            "references": example.references,
            **values,
        }
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    atomic_files.write_text(Path(path), "".join(lines))


class _Progress:
    """How many texts are there: one line that changes on a terminal, else a line every
    ten seconds.
    """

    def __init__(self, total: int, output: TextIO) -> None:
        self._total = total
        self._output = output
        self._began = self._said = time.monotonic()

    def show(self, done: int) -> None:
        now = time.monotonic()
        line = f"generated {done:,} of {self._total:,} texts, {done / max(now - self._began, 1e-9):.1f} a second"
        if self._output.isatty():
            self._output.write(f"\r{line}" + "\n" * (done == self._total))
        elif done == self._total or now - self._said >= _PROGRESS_SECONDS:
            self._said = now
            self._output.write(line + "\n")
        self._output.flush()
