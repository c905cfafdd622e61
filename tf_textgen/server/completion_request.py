"""A request for completions in OpenAI's form, read into the inputs of the signature `generate`.

What is not said is as the export has it; without a seed each request draws its own. Beside OpenAI's
fields those of `generate` are taken by their own names (`top_k`, `repetition_penalty`,
`forced_prefix`, ...). What cannot be done is
refused: an option that is ignored in silence gives answers that nobody asked for.

Reference: OpenAI API reference, Completions.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tf_textgen.config import did_you_mean
from tf_textgen.decoding.parameter_table import PARAMETERS, SEPARATOR, sample_seed
from tf_textgen.server.batching import check_rows
from tf_textgen.server.json_tensors import Arrays, to_array
from tf_textgen.server.loaded_version import LoadedVersion
from tf_textgen.server.request_error import RequestError, invalid

SIGNATURE = "generate"
CHUNK_SIGNATURE = "generate_chunk"
_JOINED = {parameter.name for parameter in PARAMETERS if parameter.several}
_ALIASES = {"max_tokens": "max_new_tokens"}
# Parameters that an export does not support, with the values that have no effect.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {"best_of": (1,), "suffix": ("",), "logit_bias": ({},)}
_OWN = ("model", "prompt", "n", "stream", "stream_options", "echo", "logprobs", "seed", "user")
_MAX_SAMPLES = 128  # OpenAI's


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompletionRequest:
    """A parsed request; `inputs` has the `n` samples of the first prompt, then those
    of the next.
    """

    prompts: list[str]
    n: int
    stream: bool
    include_usage: bool  # in a stream; an answer that comes at once has it
    echo: bool
    logprobs: bool
    inputs: Arrays
    aliases: Mapping[str, str]  # the names of `generate` -> what they were called

    @property
    def echoed(self) -> list[str]:
        """The text before that of each row."""
        return [prompt if self.echo else "" for prompt in self.prompts for _ in range(self.n)]


def parse_completion(
    document: Mapping[str, Any], name: str, loaded: LoadedVersion, max_batch_size: int
) -> CompletionRequest:
    """Reads a request.

    Args:
      document: the body's object.
      name: of the model that is served.
      loaded: its version.
      max_batch_size: prompts times samples, at most: a short body may ask for millions.

    Raises:
      RequestError: if a field has no meaning here, or not the type it should have.
    """
    given = {field: value for field, value in document.items() if value is not None}
    if given.get("model", name) != name:
        raise RequestError(
            404, f"model: {str(given['model'])[:80]!r} is not served; expected {name!r}", "model"
        )
    defaults = parameter_defaults(loaded)
    _check_fields(given, defaults)
    stream = _bool(given, "stream")
    echo = _bool(given, "echo")
    if stream and CHUNK_SIGNATURE not in loaded.signature_names:
        raise invalid(
            f"stream: this export has no signature {CHUNK_SIGNATURE}; export again, or leave it "
            "out",
            "stream",
        )
    text_name = text_input(loaded)
    if echo and text_name == "source":
        raise invalid(
            "echo: this model maps a source and does not continue it; leave it out", "echo"
        )
    prompts = _prompts(given)
    n = _whole(given, "n", 1, _MAX_SAMPLES)
    check_rows(len(prompts) * n, max_batch_size)
    return CompletionRequest(
        prompts=prompts,
        n=n,
        stream=stream,
        include_usage=_include_usage(given, stream),
        echo=echo,
        logprobs=_logprobs(given, loaded, stream=stream, echo=echo),
        inputs=_inputs(given, defaults, loaded, prompts, n),
        aliases={own: alias for alias, own in _ALIASES.items() if alias in given},
    )


def parameter_defaults(loaded: LoadedVersion) -> dict[str, Any]:
    """The parameters of `generate`, one value each, as the export has them; the seed is 0.

    Raises:
      RequestError: if it is no export that can complete texts.
    """
    decoding = dict(loaded.config.get("decoding", {}))
    names = (
        set(loaded.inputs(SIGNATURE)) - {"prompt", "source"}
        if SIGNATURE in loaded.signature_names
        else set()
    )
    if not names or names - set(decoding):
        raise invalid(
            "this export cannot complete texts (no signature generate with its parameters); export "
            "again"
        )
    if decoding["temperature"] is None:
        decoding["temperature"] = float(decoding["beam_width"] == 1)
    decoding["seed"] = 0
    return {name: decoding[name] for name in sorted(names)}


def text_input(loaded: LoadedVersion) -> str:
    """Returns the name of the texts of `generate`: "prompt", or "source" of a model
    that maps one.
    """
    return "source" if "source" in loaded.inputs(SIGNATURE) else "prompt"


def _check_fields(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    for field, neutral in _NEUTRAL.items():
        if field in given and not any(
            type(given[field]) is type(one) and given[field] == one for one in neutral
        ):
            raise invalid(f"{field}: not supported; leave it out", field)
    known = [*_OWN, *_ALIASES, *_NEUTRAL, *defaults]
    for field in given:
        if field not in known:
            raise invalid(
                f"{field[:80]}: no such parameter{did_you_mean(field[:80], known)}", field[:80]
            )
    for alias, own in _ALIASES.items():
        if alias in given and own in given:
            raise invalid(f"{alias} and {own} are both given: expected one of them", alias)


def _prompts(given: Mapping[str, Any]) -> list[str]:
    prompt = given.get("prompt", "")
    prompts = prompt if isinstance(prompt, list) else [prompt]
    if not prompts or not all(isinstance(one, str) for one in prompts):
        raise invalid(
            "prompt: expected a string, or a list of strings and no tokens, not empty", "prompt"
        )
    return prompts


def _inputs(
    given: Mapping[str, Any],
    defaults: Mapping[str, Any],
    loaded: LoadedVersion,
    prompts: list[str],
    n: int,
) -> Arrays:
    """A row for each sample of each prompt."""
    specs = loaded.inputs(SIGNATURE)
    rows = [prompt for prompt in prompts for _ in range(n)]
    inputs = {text_input(loaded): to_array(rows, specs[text_input(loaded)])}
    for name, default in defaults.items():
        called = next(
            (alias for alias, own in _ALIASES.items() if own == name and alias in given), name
        )
        inputs[name] = np.repeat(
            _value(called, given.get(called, default), name, specs[name].dtype), len(rows)
        )
    seed = int(inputs["seed"][0]) if "seed" in given else secrets.randbits(63)
    inputs["seed"] = np.array([sample_seed(seed, sample) for _ in prompts for sample in range(n)])
    return inputs


def _value(called: str, value: Any, name: str, dtype: tf.DType) -> np.ndarray:
    if name in _JOINED:
        value = _joined(called, value)
    try:
        return to_array(value, tf.TensorSpec([], dtype))
    except RequestError as error:
        raise invalid(f"{called}: {error.message}", called) from error


def _joined(called: str, value: Any) -> str:
    texts = value if isinstance(value, list) else [] if value == "" else [value]
    if not all(isinstance(text, str) and text and SEPARATOR not in text for text in texts):
        raise invalid(
            f"{called}: expected a string, or a list of strings, none empty and none with "
            f"{SEPARATOR!r}",
            called,
        )
    return SEPARATOR.join(texts)


def _bool(given: Mapping[str, Any], field: str) -> bool:
    value = given.get(field, False)
    if not isinstance(value, bool):
        raise invalid(f"{field}: expected true or false", field)
    return value


def _whole(given: Mapping[str, Any], field: str, default: int, most: int) -> int:
    value = given.get(field, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise invalid(f"{field}: expected an integer from 1 to {most}", field)
    return value


def _include_usage(given: Mapping[str, Any], stream: bool) -> bool:
    options = given.get("stream_options", {})
    if (
        not isinstance(options, dict)
        or set(options) - {"include_usage"}
        or (options and not stream)
    ):
        raise invalid(
            'stream_options: expected {"include_usage": true or false}, in a stream',
            "stream_options",
        )
    return _bool(options, "include_usage")


def _logprobs(given: Mapping[str, Any], loaded: LoadedVersion, *, stream: bool, echo: bool) -> bool:
    if "logprobs" not in given:
        return False
    value = given["logprobs"]
    if isinstance(value, bool) or value != 0:
        raise invalid(
            "logprobs: expected 0 or null: an export gives the log-probabilities of the tokens it "
            "chose, and no others",
            "logprobs",
        )
    if stream or echo:
        raise invalid(
            f"logprobs: not supported with {'stream' if stream else 'echo'}; the signature score "
            "gives those of texts",
            "logprobs",
        )
    if "token_texts" not in loaded.signature_defs[SIGNATURE]["outputs"]:
        raise invalid(
            "logprobs: this export gives no tokens; export again, or leave it out", "logprobs"
        )
    return True
