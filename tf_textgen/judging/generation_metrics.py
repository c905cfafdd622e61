"""Metrics of the texts that a run generates for a split."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tf_textgen import atomic_files, config
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.references import Example
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.evaluation.distinct import distinct
from tf_textgen.evaluation.memorization import memorization
from tf_textgen.evaluation.scores import Scores
from tf_textgen.generator import Continuation, TextGenerator
from tf_textgen.judging import batch_generation
from tf_textgen.judging.evaluation_config import EvaluationConfig
from tf_textgen.judging.examples import examples_of
from tf_textgen.judging.training_texts import training_texts
from tf_textgen.runs.run_folder import LoadedRun


def evaluate_generation(
    run: LoadedRun,
    generator: TextGenerator,
    decoding: DecodingConfig,
    data: DataConfig,
    evaluation: EvaluationConfig,
) -> dict[str, Any]:
    """Generates a text for each source or prompt of a split, and computes metrics of them.

    Args:
      run: the run.
      generator: the run's generator.
      decoding: the decoding parameters.
      data: the files of the split and how they are read.
      evaluation: the split, the metrics and their options.

    Returns:
      The numbers of texts and tokens, and the values and signature of each metric, flat.

    Raises:
      UserError: if the split cannot be used.
    """
    examples = examples_of(
        run,
        data,
        evaluation.evaluated_split,
        generator,
        limit=evaluation.limit,
        further_references=evaluation.further_references,
    )
    start = time.monotonic()
    continuations = batch_generation.generate_all(
        generator,
        [example.source for example in examples],
        decoding,
        batch_size=evaluation.batch_size,
    )
    seconds = time.monotonic() - start
    if evaluation.output:
        _write_texts(Path(evaluation.output), examples, continuations)
    results = _describe(examples, continuations)
    results["generation_time_s"] = round(seconds, 1)
    flags = " ".join(config.to_flags(decoding))
    results["decoding"] = flags or "sampling from the model's own distribution"
    texts = [continuation.text for continuation in continuations]
    for name in evaluation.generation_metrics:
        scores = _score(name, texts, examples, run, evaluation)
        results.update(scores.values)
        results[f"signature.{name}"] = scores.signature
    return results


def check_one_text(decoding: DecodingConfig) -> None:
    """Raises `UserError` if the decoding parameters ask for several texts a source."""
    for name in ("num_samples", "num_best"):
        value = getattr(decoding, name)
        if value != 1:
            raise UserError(
                f"--decoding.{name}={value}: expected 1, because one text a source is evaluated; "
                f"add --decoding.{name}=1"
            )


def _describe(examples: Sequence[Example], continuations: Sequence[Continuation]) -> dict[str, Any]:
    reasons = [continuation.finish_reason for continuation in continuations]
    return {
        "texts": len(examples),
        "references": sum(len(example.references) for example in examples),
        "generated_tokens": sum(continuation.token_count for continuation in continuations),
        "ended_by_length": reasons.count("length"),
        "sources_cut": sum(continuation.prompt_truncated for continuation in continuations),
    }


def _score(
    name: str,
    texts: Sequence[str],
    examples: Sequence[Example],
    run: LoadedRun,
    evaluation: EvaluationConfig,
) -> Scores:
    references = [example.references for example in examples]
    # Their packages are an extra.
    if name == "bleu":
        from tf_textgen.evaluation.bleu import bleu

        return bleu(texts, references, tokenizer=_chosen(evaluation.bleu_tokenizer))
    if name == "chrf":
        from tf_textgen.evaluation.chrf import chrf

        return chrf(texts, references)
    if name == "rouge":
        from tf_textgen.evaluation.rouge import rouge

        return rouge(texts, references, tokenizer=_chosen(evaluation.rouge_tokenizer))
    if name == "distinct":
        return distinct(texts)
    return memorization(texts, training_texts(run))


def _chosen(tokenizer: str) -> str | None:
    return None if tokenizer == "auto" else tokenizer


def _write_texts(
    path: Path, examples: Sequence[Example], continuations: Sequence[Continuation]
) -> None:
    lines = []
    for example, continuation in zip(examples, continuations, strict=True):
        values = dataclasses.asdict(continuation)
        del values["prompt"]
        del values["sample"]
        row = {
            "source": example.source,
            "text": values.pop("text"),
            "references": example.references,
            **values,
        }
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    atomic_files.write_text(path, "".join(lines))
