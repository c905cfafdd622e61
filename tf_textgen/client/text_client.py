"""The methods of a client, over any transport. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from time import sleep
from typing import Any, NamedTuple, TypeVar

from tf_textgen.client import results as client_results
from tf_textgen.client.errors import (
    Deadline,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    ServerError,
    ServerUnavailable,
    ServingError,
    StreamInterrupted,
)
from tf_textgen.client.inputs import DEFAULTS, as_input, check_texts, inputs_of
from tf_textgen.client.repeating import RepeatingTransport
from tf_textgen.client.results import (
    Completion,
    ModelMetadata,
    Signature,
    TextEmbedding,
    TextScore,
    Tokens,
    VersionStatus,
)
from tf_textgen.client.transport import Transport
from tf_textgen.decoding.parameter_table import sample_seed

AskedT = TypeVar("AskedT")
ResultT = TypeVar("ResultT")
_POLL_S = 0.1
_BOUND = re.compile(r"expected an integer from 1 to (\d+)")


class _Question(NamedTuple):
    """One request to a signature, with the outputs that its answer must have.

    Attributes:
      name: of the signature.
      columns: a value for each row, by the input's name.
      parameters: one value for all rows, by the input's name.
      outputs: names.
      deadline: of the request.
      version: None is the one that the client asks.
    """

    name: str
    columns: Mapping[str, list[Any]]
    parameters: Mapping[str, Any]
    outputs: Sequence[str]
    deadline: Deadline
    version: int | None = None


class TextStream(Iterator[str]):
    """The pieces of one text as they come.

    Attributes:
      completion: the whole text and how it ended; None until the last piece has come.
    """

    def __init__(self, pieces: Generator[str, None, Completion]) -> None:
        self._pieces = pieces
        self.completion: Completion | None = None

    def __next__(self) -> str:
        try:
            return next(self._pieces)
        except StopIteration as end:
            self.completion = self.completion or end.value
            raise


class TextClient:
    """The methods of `Client` and `GrpcClient`; all are safe to call from several threads.

    Every method takes `timeout_s`, which replaces the client's and holds for the call with all its
    attempts. A request is repeated, after a pause that doubles and has a random part, if there is
    no connection or the server is UNAVAILABLE: it does not depend on the server's state, so that
    repeating it does no harm. A request that the server refuses because of another one in its batch
    is repeated once. A call with more rows than the server takes at once is split.

    Args:
      transport: the way to the model.
      timeout_s: seconds for a call.
      retries: attempts after the first.
    """

    def __init__(self, transport: Transport, *, timeout_s: float, retries: int) -> None:
        if retries < 0:
            raise InvalidRequest(f"retries={retries}: expected 0 or more")
        self._once = transport
        self._transport = RepeatingTransport(transport, retries)
        self._timeout_s = timeout_s
        self._known: ModelMetadata | None = None
        self._max_new_tokens = int(DEFAULTS["max_new_tokens"])
        self._deadline(None)

    def __enter__(self: ResultT) -> ResultT:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all connections."""
        self._transport.close()

    def generate(
        self,
        texts: str | Sequence[str],
        *,
        num_samples: int = 1,
        timeout_s: float | None = None,
        **parameters: Any,
    ) -> list[Completion]:
        """Continues prompts, or maps sources, in one request.

        Args:
          texts: the prompts, or the sources of an encoder-decoder; a single one may be a str.
          num_samples: texts for each of them, each with a seed of its own.
          timeout_s: for the whole call; None takes the client's.
          **parameters: of `DecodingConfig`, for all texts: `temperature=0.8, stop=["\\n"]`. The
            others have no effect (temperature 1, no cut-off, no penalty); `max_new_tokens` is 128,
            or fewer if the export allows no more.

        Returns:
          The samples of the first text, those of the second, and so on.

        Raises:
          InvalidRequest: if a parameter is out of its bounds, with its name in `parameter`.
        """
        if not (isinstance(num_samples, int) and num_samples >= 1):
            raise InvalidRequest(
                f"num_samples={num_samples!r}: expected an integer >= 1", parameter="num_samples"
            )
        prompts = check_texts("text", texts)
        if not prompts:
            return []
        rows = [(prompt, sample) for prompt in prompts for sample in range(num_samples)]
        columns: dict[str, list[Any]] = {}
        if num_samples > 1:
            seed = as_input("seed", parameters.pop("seed", None) or 0, "DT_INT64")
            columns["seed"] = [sample_seed(seed, sample) for _, sample in rows]
        outputs = client_results.GENERATED
        question = _Question("generate", columns, parameters, outputs, self._deadline(timeout_s))
        answer = self._decode([prompt for prompt, _ in rows], question)
        return self._shaped(
            answer,
            rows,
            lambda row, place: client_results.completion(row, prompt=place[0], sample=place[1]),
        )

    def beam_search(
        self,
        texts: str | Sequence[str],
        *,
        num_best: int | None = None,
        timeout_s: float | None = None,
        **parameters: Any,
    ) -> list[list[Completion]]:
        """The n-best texts of each prompt or source, best first; the export fixes the beam's width
        and n.

        Args:
          texts: as `generate` takes them.
          num_best: at most the export's n; None is all of them.
          timeout_s: for the whole call; None takes the client's.
          **parameters: as `generate` takes them, without those that sample.
        """
        prompts = check_texts("text", texts)
        if not prompts:
            return []
        outputs = (*client_results.BEST, "prompt_truncated")
        answer = self._decode(
            prompts, _Question("beam_search", {}, parameters, outputs, self._deadline(timeout_s))
        )
        found = self._shaped(answer, prompts, client_results.best_completions)
        most = len(answer["text"][0])
        if num_best is not None and not (isinstance(num_best, int) and 1 <= num_best <= most):
            raise InvalidRequest(
                f"num_best={num_best!r}: expected an integer from 1 to {most}, which the export "
                "fixes",
                parameter="num_best",
            )
        return [best[:num_best] for best in found]

    def score(
        self,
        texts: str | Sequence[str],
        sources: str | Sequence[str] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> list[TextScore]:
        """Log-probabilities of texts, given their sources if the model maps sources."""
        columns = {"text": check_texts("text", texts)}
        if sources is not None:
            columns["source"] = check_texts("source", sources)
            if len(columns["source"]) != len(columns["text"]):
                came = f"{len(columns['source'])} sources and {len(columns['text'])} texts came"
                raise InvalidRequest(f"{came}; expected a source for each text")
        scored = columns["text"]
        if not scored:
            return []
        answer = self._ask(
            _Question("score", columns, {}, client_results.SCORED, self._deadline(timeout_s))
        )
        return self._shaped(answer, scored, client_results.text_score)

    def tokenize(
        self, texts: str | Sequence[str], *, timeout_s: float | None = None
    ) -> list[Tokens]:
        """The tokens of texts, as the model writes them."""
        names = client_results.TOKENIZED
        return self._mapped(
            "tokenize", check_texts("text", texts), timeout_s, names, client_results.tokens
        )

    def detokenize(
        self, ids: Sequence[Sequence[int]], *, timeout_s: float | None = None
    ) -> list[str]:
        """The texts of lists of token ids; raises `InvalidRequest` if there is no such token."""
        written = [" ".join(str(as_input("tokens", one, "DT_INT32")) for one in row) for row in ids]
        return self._mapped(
            "detokenize", written, timeout_s, ("text", "error"), lambda row, _: row["text"]
        )

    def embed(
        self, texts: str | Sequence[str], *, timeout_s: float | None = None
    ) -> list[TextEmbedding]:
        """A vector for each text, of a neural model: the mean of its last hidden states."""
        names = client_results.EMBEDDED
        return self._mapped(
            "embed", check_texts("text", texts), timeout_s, names, client_results.embedding
        )

    def stream(
        self, text: str, *, chunk_tokens: int = 8, timeout_s: float | None = None, **parameters: Any
    ) -> TextStream:
        """One text, piece by piece: together they are what `generate` gives for the same
        parameters.

        Each piece is a request to the version that gave the first one.

        Raises:
          StreamInterrupted: if that version is no longer served, with the text so far.

        Args:
          text: a prompt or source.
          chunk_tokens: new tokens a piece. 8 come in a fraction of a second and cost few requests.
          timeout_s: for each piece; None takes the client's.
          **parameters: as `generate` takes them.
        """
        (prompt,) = check_texts("text", [text])
        return TextStream(self._pieces(prompt, chunk_tokens, timeout_s, parameters))

    def status(self, *, timeout_s: float | None = None) -> list[VersionStatus]:
        """The state of each version that the server knows, the newest first."""
        deadline = self._deadline(timeout_s)
        return self._transport.status(deadline)

    def metadata(self, *, timeout_s: float | None = None) -> ModelMetadata:
        """The version that answers, with its signatures, asked again."""
        deadline = self._deadline(timeout_s)
        self._known = self._transport.metadata(deadline)
        return self._known

    def wait_until_ready(self, timeout_s: float = 60.0) -> None:
        """Returns when a version (or the client's, if it asks for one) is AVAILABLE.

        Raises:
          DeadlineExceeded: if that takes longer, with the last answer of the server.
        """
        deadline = self._deadline(timeout_s)
        last = "nothing answered"
        while True:
            try:
                statuses = self._once.status(deadline)
                if any(status.state == "AVAILABLE" for status in statuses):
                    return
                states = (
                    f"version {one.version} is {one.state} {one.error_message}".strip()
                    for one in statuses
                )
                last = ", ".join(states) or "no version"
            except (ServerUnavailable, ModelNotFound, Overloaded, DeadlineExceeded) as error:
                last = str(error) if deadline.left() else last
            if deadline.left() <= _POLL_S:
                raise DeadlineExceeded(
                    f"{self._transport.where}: not ready within {timeout_s:g} s ({last}); expected "
                    "an AVAILABLE version: look into the server's log, or wait longer"
                )
            sleep(_POLL_S)

    def _pieces(
        self, prompt: str, chunk_tokens: int, timeout_s: float | None, parameters: dict[str, Any]
    ) -> Generator[str, None, Completion]:
        # The token ids in a state have another meaning for another version.
        version = self.metadata(timeout_s=timeout_s).version
        seen = ""
        state = ""
        chunk_column = [as_input("chunk_tokens", chunk_tokens, "DT_INT32")]
        while True:
            question = _Question(
                "generate_chunk",
                {"chunk_tokens": chunk_column, "state": [state]},
                parameters,
                client_results.CHUNK,
                self._deadline(timeout_s),
                version,
            )
            try:
                answer = self._decode([prompt], question)
            except ModelNotFound as error:
                version = self._version_after(version, seen, timeout_s, error)
                state = ""
                continue
            ((chunk, after, finished),) = self._shaped(answer, [prompt], client_results.chunk)
            if not chunk.text.startswith(seen) or (after == state and not finished):
                raise ServerError(
                    f"{self._transport.where}: the stream cannot continue (after "
                    f"{seen[-40:]!r} came {chunk.text[-40:]!r}); expected more of the same text: "
                    "ask again"
                )
            if piece := chunk.text[len(seen) :]:
                yield piece
            seen = chunk.text
            state = after
            if finished:
                return chunk

    def _version_after(
        self, version: int, text: str, timeout_s: float | None, error: ModelNotFound
    ) -> int:
        """The version with which a stream restarts whose version is not served any more.

        Args:
          version: the version that began the stream.
          text: the part that the caller already has, which another version would not continue.
          timeout_s: for the request.
          error: the answer to the request for the next part.

        Raises:
          StreamInterrupted: if there is text already.
          ModelNotFound: if no other version is served.
        """
        try:
            current = self.metadata(timeout_s=timeout_s).version
        except ServingError:
            current = version
        if text:
            now = f"version {current} is" if current != version else "no other version was found"
            raise StreamInterrupted(
                f"{self._transport.where}: version {version}, which began the stream, is no longer "
                f"served ({now}); expected it until the end of the text: ask again for the whole "
                "text, or keep both versions loaded during a rollout",
                text=text,
            ) from error
        if current == version:
            raise error
        return current

    def _shaped(
        self,
        answer: Mapping[str, Any],
        asked: Sequence[AskedT],
        shape: Callable[[Mapping[str, Any], AskedT], ResultT],
    ) -> list[ResultT]:
        return client_results.shaped(answer, asked, shape, self._transport.where)

    def _mapped(
        self,
        name: str,
        texts: list[str],
        timeout_s: float | None,
        outputs: Sequence[str],
        shape: Callable[[Mapping[str, Any], str], ResultT],
    ) -> list[ResultT]:
        """Returns the outputs of a signature whose only input are texts."""
        if not texts:
            return []
        deadline = self._deadline(timeout_s)
        (text_input,) = self._signature(name, deadline).inputs
        answer = self._ask(_Question(name, {text_input: texts}, {}, outputs, deadline))
        return self._shaped(answer, texts, shape)

    def _decode(self, texts: list[str], question: _Question) -> Mapping[str, Any]:
        """Asks a signature that generates; if nobody chose `max_new_tokens`, within what the
        export allows.
        """
        text_input = self._signature(question.name, question.deadline).text_input
        chosen = {name: value for name, value in question.parameters.items() if value is not None}
        asked = question._replace(columns={text_input: texts, **question.columns})
        try:
            return self._ask(
                asked._replace(parameters={"max_new_tokens": self._max_new_tokens, **chosen})
            )
        except InvalidRequest as error:
            bound = _BOUND.search(str(error))
            if "max_new_tokens" in chosen or error.parameter != "max_new_tokens" or not bound:
                raise
            self._max_new_tokens = int(bound[1])
        return self._ask(
            asked._replace(parameters={"max_new_tokens": self._max_new_tokens, **chosen})
        )

    def _ask(self, question: _Question) -> Mapping[str, Any]:
        """The answer of a signature, checked to have the outputs with a value a row."""
        name, columns, parameters, outputs, deadline, version = question
        signature = self._signature(name, deadline)
        inputs = inputs_of(signature, columns, parameters)
        try:
            answer = self._transport.predict(signature, inputs, version, deadline)
        except InvalidRequest:
            # A version that was rolled out meanwhile may take other inputs.
            self._known = None
            renewed = self._signature(name, deadline)
            if renewed.inputs.keys() == signature.inputs.keys():
                raise
            inputs = inputs_of(renewed, columns, parameters)
            answer = self._transport.predict(renewed, inputs, version, deadline)
        rows = len(next(iter(columns.values())))
        client_results.check_answer(answer, outputs, rows, self._transport.where)
        client_results.check_refusals(answer, inputs)
        return answer

    def _signature(self, name: str, deadline: Deadline) -> Signature:
        known = self._known or self._transport.metadata(deadline)
        self._known = known
        if name not in known.signatures:
            names = ", ".join(sorted(known.signatures))
            raise InvalidRequest(
                f"{self._transport.where}: version {known.version} has no signature {name!r}, but "
                f"{names}; expected an export that has it: export the run again as it needs to be"
            )
        return known.signatures[name]

    def _deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline(self._timeout_s if timeout_s is None else timeout_s, self._transport.where)
