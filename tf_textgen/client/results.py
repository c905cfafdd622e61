"""The answers of a served model as frozen dataclasses. Standard library only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from tf_textgen.client.errors import InvalidRequest, ServerError
from tf_textgen.decoding.continuation import Continuation

AskedT = TypeVar("AskedT")
ResultT = TypeVar("ResultT")


# The name of a generated text in the client's interface.
Completion = Continuation


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextScore:
    """The log-probability of a given text, in nats."""

    text: str
    log_probability: float
    token_count: int
    perplexity: float
    token_log_probabilities: tuple[float, ...]
    token_texts: tuple[str, ...]
    truncated: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokens:
    """The tokens of a text."""

    ids: tuple[int, ...]
    texts: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextEmbedding:
    """The vector of a text, the mean over `token_count` tokens; `truncated` if the text was cut."""

    vector: tuple[float, ...]
    token_count: int
    truncated: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """An input or output of a signature: `dtype` as "DT_FLOAT"; None in `shape` (or all of it None)
    is any size.
    """

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signature:
    """The inputs and outputs of a signature."""

    name: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]

    @property
    def text_input(self) -> str:
        """The name of the text: the source of an encoder-decoder, the prompt of a language
        model.
        """
        return "source" if "source" in self.inputs else "prompt"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """The version that answers, and its signatures by name."""

    name: str
    version: int
    signatures: Mapping[str, Signature]


@dataclasses.dataclass(frozen=True, kw_only=True)
class VersionStatus:
    """`state` is "START", "LOADING", "AVAILABLE", "UNLOADING" or "END"; the error is "OK" and ""
    unless it failed.
    """

    version: int
    state: str
    error_code: str
    error_message: str


def metadata_of(spec: Mapping[str, Any], signatures: Mapping[str, Any]) -> ModelMetadata:
    """Reads the JSON forms of `ModelSpec` and of the map in `SignatureDefMap`."""
    return ModelMetadata(
        name=spec["name"],
        version=int(spec["version"]),
        signatures={
            name: Signature(
                name=name, inputs=_tensors(one.get("inputs")), outputs=_tensors(one.get("outputs"))
            )
            for name, one in signatures.items()
            # TensorFlow runs the others when it loads a version.
            if not name.startswith("__")
        },
    )


def _tensors(infos: Mapping[str, Any] | None) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(dtype=one["dtype"], shape=_shape(one.get("tensor_shape", {})))
        for name, one in (infos or {}).items()
    }


def _shape(shape: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    if shape.get("unknown_rank"):
        return None
    sizes = [int(dim.get("size", 0)) for dim in shape.get("dim", ())]
    return tuple(None if size < 0 else size for size in sizes)


def statuses_of(response: Mapping[str, Any]) -> list[VersionStatus]:
    """Reads the JSON form of `GetModelStatusResponse`; the newest version comes first."""
    found = [
        VersionStatus(
            version=int(one["version"]),
            state=one.get("state", "UNKNOWN"),
            error_code=one.get("status", {}).get("error_code", "OK"),
            error_message=one.get("status", {}).get("error_message", ""),
        )
        for one in response.get("model_version_status", ())
    ]
    return sorted(found, key=lambda status: -status.version)


def check_answer(answer: Mapping[str, Any], names: Sequence[str], rows: int, where: str) -> None:
    """Raises `ServerError` if `answer` is not a list of `rows` values for each of `names`."""
    for name in names:
        if name not in answer:
            raise ServerError(
                f"{where}: the answer has no output {name!r}, but {', '.join(answer) or 'none'}; "
                "expected those of an export by tf_textgen: check which model is served"
            )
        if not isinstance(answer[name], list) or len(answer[name]) != rows:
            raise ServerError(
                f"{where}: the answer's {name!r} is not a list of {rows}; expected a value for "
                "each text"
            )


def joined(answers: Sequence[Mapping[str, list[Any]]]) -> dict[str, list[Any]]:
    """The answers to parts of a request as one, with the rows of the first part first."""
    return {name: [row for answer in answers for row in answer[name]] for name in answers[0]}


def check_refusals(answer: Mapping[str, Any], inputs: Mapping[str, Sequence[Any]]) -> None:
    """Raises `InvalidRequest` if a row was refused: its finish reason, or error, is `invalid
    NAME: expected ...`.

    Args:
      answer: of a signature.
      inputs: that it had.
    """
    for name in ("finish_reason", "error"):
        for i, reasons in enumerate(answer.get(name, ())):
            for reason in reasons if isinstance(reasons, list) else [reasons]:
                if isinstance(reason, str) and reason.startswith("invalid "):
                    wrong, _, expected = reason.removeprefix("invalid ").partition(": ")
                    came = inputs[wrong][i] if wrong in inputs else None
                    raise InvalidRequest(f"{wrong}={came!r:.80}: {expected}", parameter=wrong)


GENERATED = ("text", "score", "token_count", "finish_reason", "prompt_truncated")
CHUNK = (*GENERATED, "state", "finished")
BEST = ("text", "score", "normalized_score", "token_count", "finish_reason")
TOKENIZED = ("tokens", "token_count", "token_texts")
EMBEDDED = ("embedding", "token_count", "truncated")
SCORED = (
    "log_probability",
    "token_count",
    "perplexity",
    "token_log_probabilities",
    "token_texts",
    "truncated",
)
_TOKENS = ("token_log_probabilities", "token_texts")


def completion(row: Mapping[str, Any], **place: Any) -> Completion:
    """A row of `generate`, or of an export that was made before it gave tokens."""
    return Completion(**{name: row[name] for name in GENERATED}, **tokens_of(row), **place)


def chunk(row: Mapping[str, Any], prompt: str) -> tuple[Completion, str, bool]:
    """A row of `generate_chunk`: the text so far, the state for the next chunk, and whether the
    text is finished.
    """
    return completion(row, prompt=prompt), row["state"], row["finished"]


def tokens_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The lists of a row's tokens, without their padding."""
    return {name: tuple(row[name][: row["token_count"]]) for name in _TOKENS if name in row}


def shaped(
    answer: Mapping[str, Sequence[Any]],
    asked: Sequence[AskedT],
    shape: Callable[[Mapping[str, Any], AskedT], ResultT],
    where: str,
) -> list[ResultT]:
    """The results of `shape`, given a row of the answer and its request.

    Raises:
      ServerError: if a value of the answer is of another type than the signature gives.
    """
    try:
        rows = [{name: values[i] for name, values in answer.items()} for i in range(len(asked))]
        return [shape(row, one) for row, one in zip(rows, asked, strict=True)]
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise ServerError(
            f"{where}: the answer cannot be read ({error}); expected the outputs of an export by "
            "tf_textgen: check which model is served"
        ) from error


def best_completions(row: Mapping[str, Any], prompt: str) -> list[Completion]:
    """The texts of a row of `beam_search`, which may be fewer than others have."""
    names = [name for name in (*BEST, *_TOKENS) if name in row]
    best = []
    for rank in range(len(row["text"])):
        one = {name: row[name][rank] for name in names} | {
            "prompt_truncated": row["prompt_truncated"]
        }
        if one["finish_reason"]:
            best.append(
                completion(one, prompt=prompt, rank=rank, normalized_score=one["normalized_score"])
            )
    return best


def text_score(row: Mapping[str, Any], text: str) -> TextScore:
    """A row of `score`."""
    return TextScore(
        text=text, **{name: row[name] for name in SCORED if name not in _TOKENS}, **tokens_of(row)
    )


def tokens(row: Mapping[str, Any], text: str) -> Tokens:
    """A row of `tokenize`, which writes ids in decimal."""
    texts = tuple(row["token_texts"][: row["token_count"]])
    return Tokens(ids=tuple(int(one) for one in row["tokens"].split()), texts=texts)


def embedding(row: Mapping[str, Any], text: str) -> TextEmbedding:
    """A row of `embed`."""
    return TextEmbedding(
        vector=tuple(row["embedding"]), token_count=row["token_count"], truncated=row["truncated"]
    )
