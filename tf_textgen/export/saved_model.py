"""Writes a `TextGenerator` as a SavedModel version that TF Serving takes as it is.

Signatures (`B` rows; every input has the batch first, since TF Serving merges requests along it):
  serving_default  text `[B]` string -> text `[B]` string, with all decoding parameters as the export fixed them; of a
                   beam the best text, of several samples (num_samples) the first
  generate         prompt (or source) `[B]` string and every parameter of `Parameters` as `[B]`, none taken from the
                   export ->
                   text, score, token_count, finish_reason, prompt_truncated,
                   token_log_probabilities `[B, N]`, token_texts `[B, N]`.
                   One text a row and no beam: num_samples, beam_width, num_best and the length penalty are not read;
                   who wants several samples sends the prompt in several rows, each with a seed of its own
  beam_search      only of an export with a beam, which fixes beam_width and num_best, n here: prompt (or source), the
                   parameters that do not sample and the length penalty, as `[B]` (no seed, no temperature, no cut-offs)
                   ->
                   text, score, normalized_score, token_count, finish_reason `[B, n]`, prompt_truncated `[B]`,
                   token_log_probabilities, token_texts `[B, n, N]`
  score            text (and source) `[B]` string -> log_probability, token_count, perplexity,
                   token_log_probabilities `[B, T]`, token_texts `[B, T]`, truncated
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.length_penalty import LENGTH_PENALTY_DTYPES, LengthPenalty, length_penalty_of
from tf_textgen.decoding.parameters import DTYPES, SEARCH_FIELDS, Parameters, from_config
from tf_textgen.errors import UserError
from tf_textgen.export.exported import CONFIG_FILE, beam_inputs, generate_inputs, version_numbers
from tf_textgen.generator import TextGenerator
from tf_textgen.training.durable import reason

# Empty, one word, and longer than most contexts: each prompt shape must work in the one trace.
CHECK_PROMPTS = ("", "The", "Once upon a time", "从前有一个", "word " * 400)


def export_saved_model(
    generator: TextGenerator,
    directory: str | os.PathLike[str],
    *,
    decoding: DecodingConfig | None = None,
    version: int | None = None,
    config: Mapping[str, Any] | None = None,
    prompts: Sequence[str] = CHECK_PROMPTS,
) -> pathlib.Path:
    """Writes `directory/VERSION`, after a fresh process has given the generator's own answers from it.

    Args:
      generator: what is served.
      directory: the served model's folder.
      decoding: the parameters of `serving_default`; None samples `generator.default_new_tokens`.
      version: version number; None takes the next free one.
      config: what the model is, written to assets.extra/config.json with the decoding parameters and
        `truncation_side`.
      prompts: texts on which the export must equal the generator.

    Returns:
      The version's folder. It is written beside and renamed, so a server never sees half of it.

    Raises:
      UserError: where the version exists, the generator cannot do what `decoding` asks for, or the export answers
        otherwise than it.
    """
    decoding = decoding or DecodingConfig(max_new_tokens=generator.default_new_tokens)
    generator.check(decoding)
    root = pathlib.Path(directory)
    with _locked(root):
        version = version or max(version_numbers(root), default=0) + 1
        target, beside = root / str(version), root / f".{version}.writing"
        if target.exists():
            raise UserError(
                f"--export.version={version}: {target} exists already; choose another version or leave it out"
            )
        shutil.rmtree(beside, ignore_errors=True)  # of an export that was killed
        try:
            tf.saved_model.save(generator, str(beside), signatures=_signatures(generator, decoding))
            (beside / CONFIG_FILE).parent.mkdir()
            resolved = {**(config or {}), "truncation_side": generator.truncation_side, "decoding": decoding.to_json()}
            (beside / CONFIG_FILE).write_text(json.dumps(resolved, indent=2, ensure_ascii=False) + "\n", "utf-8")
            _check(generator, beside, decoding, prompts)
            os.rename(beside, target)
        except (OSError, tf.errors.OpError) as error:
            raise _cannot_write(root, error) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return target


def answer_in_fresh_process(path: str | os.PathLike[str], requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answers `requests` from the SavedModel at `path` where only tensorflow and tensorflow_text are imported.

    Args:
      path: a version's folder.
      requests: `{"signature": name, "inputs": {name: list}}` each.

    Returns:
      One dict of lists a request, and `{"python_ops": [...]}` as the last element.
    """
    script = pathlib.Path(__file__).with_name("self_check.py")
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, str(script), str(path)],
        input=json.dumps(list(requests)),
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"the export in {path} does not run in a fresh process: {last}")
    return json.loads(done.stdout)


@contextlib.contextmanager
def _locked(root: pathlib.Path) -> Iterator[None]:
    """Makes the folder of a served model and lets one export after the other write there."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root, os.O_RDONLY)
    except OSError as error:
        raise _cannot_write(root, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _cannot_write(root: pathlib.Path, error: Exception) -> UserError:
    return UserError(
        f"--export.dir={root}: cannot be written ({reason(error)}); expected a folder with room for the export; "
        "make room or name another"
    )


def _signatures(generator: TextGenerator, decoding: DecodingConfig) -> dict[str, Callable[..., Any]]:
    """The signatures' functions, traced once for any number and length of texts."""
    text_name = _text_name(generator)

    def serving_default(text: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.shape(text)[0]
        if decoding.beam_width > 1:
            graph = generator.beam_graph(decoding.beam_width, decoding.num_best)  # that of `beam_search`, once
            return {"text": graph(text, from_config(decoding, rows), length_penalty_of(decoding, rows)).text[:, 0]}
        return {"text": generator.generate_graph(text, from_config(decoding, rows)).text}

    def generate(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        text = inputs.pop(text_name)
        return generator.generate_graph(text, Parameters(**inputs))._asdict()

    def beam_search(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        text = inputs.pop(text_name)
        penalty = LengthPenalty(*(inputs.pop(name) for name in LengthPenalty._fields))
        parameters = from_config(decoding, tf.shape(text)[0])._replace(**inputs)
        return generator.beam_graph(decoding.beam_width, decoding.num_best)(text, parameters, penalty)._asdict()

    def score(text: tf.Tensor, source: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        sources = tf.fill(tf.shape(text), "") if source is None else source
        return generator.score_graph(sources, text)._asdict()

    def specs(**dtypes: tf.DType) -> dict[str, tf.TensorSpec]:
        return {name: tf.TensorSpec([None], dtype, name) for name, dtype in dtypes.items()}

    parameters, text, source = specs(**DTYPES._asdict()), specs(text=tf.string), specs(source=tf.string)
    prompt = specs(**{text_name: tf.string})
    searching = {name: parameters[name] for name in SEARCH_FIELDS} | specs(**LENGTH_PENALTY_DTYPES._asdict())
    wanted: dict[str, tuple[Callable[..., Any], dict[str, tf.TensorSpec]]] = {
        "serving_default": (serving_default, text),
        "generate": (generate, prompt | parameters),
        "score": (score, text | source if generator.is_pair else text),
    }
    if decoding.beam_width > 1:
        wanted["beam_search"] = (beam_search, prompt | searching)
    return {
        name: tf.function(one, autograph=False).get_concrete_function(**inputs)
        for name, (one, inputs) in wanted.items()
    }


def _text_name(generator: TextGenerator) -> str:
    return "source" if generator.is_pair else "prompt"


def _check(generator: TextGenerator, path: pathlib.Path, decoding: DecodingConfig, prompts: Sequence[str]) -> None:
    """Compares a fresh process' answers with the generator's; raises `UserError` at the first difference."""
    one = dataclasses.replace(decoding, num_samples=1, beam_width=1, num_best=1)
    text_name, rows = _text_name(generator), len(prompts)
    texts: list[Any] = [continuation.text for continuation in generator.generate(prompts, one, batch_size=rows)]
    asked = {"generate": (generate_inputs(text_name, prompts, one), texts)}
    if decoding.beam_width > 1:
        graph = generator.beam_graph(decoding.beam_width, decoding.num_best)
        found = graph(tf.constant(prompts), from_config(decoding, rows), length_penalty_of(decoding, rows))
        best = [[text.decode() for text in row] for row in found.text.numpy()]
        asked["beam_search"] = (beam_inputs(text_name, prompts, decoding), best)
        texts = [row[0] for row in best]
    asked["serving_default"] = ({"text": list(prompts)}, texts)
    requests = [{"signature": name, "inputs": inputs} for name, (inputs, _) in asked.items()]
    *answers, graphs = answer_in_fresh_process(path, requests)
    if graphs["python_ops"]:
        raise UserError(f"the export calls Python ({', '.join(graphs['python_ops'])}), which TF Serving cannot run")
    for answer, (_, expected) in zip(answers, asked.values(), strict=True):
        for prompt, got, wanted in zip(prompts, answer["text"], expected, strict=True):
            if got != wanted:
                raise UserError(
                    f"the export continues {prompt[:40]!r} with {str(got)[:80]!r}, "
                    f"the run with {str(wanted)[:80]!r}: nothing was published"
                )
