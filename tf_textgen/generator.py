"""Text in, text out: tokenizer, model and decoding in one graph.

The prompt on the terminal, the samples in TensorBoard, the evaluation of translations and the SavedModel all call the
same `tf.function` of `TextGenerator`: what is measured is what is served.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf

from tf_textgen.decoding.beam_search import Hypotheses, beam_search
from tf_textgen.decoding.constraints import Constraints, needed_tokens, parse
from tf_textgen.decoding.decoding_config import DecodingConfig, refusal, sample_seed
from tf_textgen.decoding.length_penalty import (
    LENGTH_PENALTY_DTYPES,
    LengthPenalty,
    length_penalty_of,
    sanitize_length_penalty,
)
from tf_textgen.decoding.loop import Decoded, decode
from tf_textgen.decoding.parameters import DTYPES, Parameters, from_config, harmless_where, sanitize, with_ratios
from tf_textgen.decoding.stopping import FINISH_REASONS
from tf_textgen.errors import UserError
from tf_textgen.models.base import TextModel
from tf_textgen.objectives.cross_entropy import token_log_probabilities
from tf_textgen.text.rows import keep_first, keep_last, pad_left, repeat_id
from tf_textgen.text.tokenizer import Tokenizer, repair_utf8

PromptFormat = Literal["continuation", "document", "pair", "source"]
TruncationSide = Literal["beginning", "end"]


class Generation(NamedTuple):
    """What one call of the graph returns, a row a prompt."""

    text: tf.Tensor  # [B] string, valid UTF-8, without the prompt
    score: tf.Tensor  # [B] float32, sum of the tokens' log-probabilities, nats
    token_count: tf.Tensor  # [B] int32
    finish_reason: tf.Tensor  # [B] string: "eos", "length", "stop", "loop", or what is wrong with the row's parameters
    prompt_truncated: tf.Tensor  # [B] bool, True where the prompt was cut, at `truncation_side`
    token_log_probabilities: tf.Tensor  # [B, N] float32, of the model's own distribution, 0 behind the end
    token_texts: tf.Tensor  # [B, N] string, "" behind the end; with the end token and those of a stop string


class BestGeneration(NamedTuple):
    """What one call of a beam's graph returns: n texts for each prompt, best first."""

    text: tf.Tensor  # [B, n] string, valid UTF-8, without the prompt
    score: tf.Tensor  # [B, n] float32, sum of the tokens' log-probabilities, nats
    normalized_score: tf.Tensor  # [B, n] float32, divided by the length penalty: what the order follows
    token_count: tf.Tensor  # [B, n] int32
    finish_reason: tf.Tensor  # [B, n] string: as in `Generation`; "" where a row has fewer than n texts
    prompt_truncated: tf.Tensor  # [B] bool
    token_log_probabilities: tf.Tensor  # [B, n, N] float32, as in `Generation`
    token_texts: tf.Tensor  # [B, n, N] string


class TextScore(NamedTuple):
    """Log-probabilities of given texts."""

    log_probability: tf.Tensor  # [B] float32, nats
    token_count: tf.Tensor  # [B] int32
    perplexity: tf.Tensor  # [B] float32, exp(-log_probability / token_count)
    token_log_probabilities: tf.Tensor  # [B, T] float32, 0 behind the end
    token_texts: tf.Tensor  # [B, T] string, "" behind the end
    truncated: tf.Tensor  # [B] bool, True where the source was cut, at `truncation_side`, or the text lost its end


@dataclasses.dataclass(frozen=True, kw_only=True)
class Continuation:
    """One generated text, as Python values; the fields are those of `Generation` and `BestGeneration`."""

    prompt: str
    text: str
    score: float
    token_count: int
    finish_reason: str
    prompt_truncated: bool
    token_log_probabilities: tuple[float, ...] = ()
    token_texts: tuple[str, ...] = ()
    sample: int = 0
    rank: int = 0  # among the n-best of a beam; 0 is the best
    normalized_score: float | None = None  # of a beam


class _Untracked:
    """Hides from `tf.Module` what an export must not hold.

    Tracking the Keras model would export its optimizer and a wrong default signature.
    """

    def __init__(self, model: TextModel) -> None:
        self.model = model
        self.beam_graphs: dict[tuple[int, int], Callable[..., BestGeneration]] = {}


class TextGenerator(tf.Module):
    """A tokenizer, a model and a decoding loop as one `tf.Module`.

    Args:
      model: a built model of any family.
      tokenizer: gives the ids that the model was trained on.
      prompt_format: how a prompt is laid out, which is how the training rows began. "continuation": the prompt's
        tokens alone, for a model trained on windows cut anywhere (an empty prompt is `<s>`); "document": `<s>` before
        the prompt, for packed documents; "pair": `<s> source <sep>`, for a language model trained on pairs; "source":
        the source of an encoder-decoder.
      max_new_tokens: upper bound of the new tokens a request may ask for; a greater wish is refused row by row.
      max_prompt_tokens: longer prompts are cut. Lowered to what the model's positions leave room for.
      truncation_side: what such a prompt loses, which is what training rows lost. "beginning", since what is continued,
        or answered in a dialogue, is what stands last; "end": a source says first what it is about.
      source_tokenizer: tokenizer of the source, if it is not that of the target.
    """

    def __init__(
        self,
        model: TextModel,
        tokenizer: Tokenizer,
        *,
        prompt_format: PromptFormat = "continuation",
        max_new_tokens: int = 256,
        max_prompt_tokens: int = 1024,
        truncation_side: TruncationSide = "beginning",
        source_tokenizer: Tokenizer | None = None,
    ) -> None:
        super().__init__(name="text_generator")
        self.tokenizer = tokenizer
        self.source_tokenizer = source_tokenizer or tokenizer
        self.weights = [variable.value for variable in model.weights]
        self.prompt_format = prompt_format
        self.truncation_side = truncation_side
        self._holder = _Untracked(model)
        self.context = getattr(model.config, "max_positions", None)  # of each row that the model reads; None: no end
        self.max_new_tokens = min(max_new_tokens, self.context - 1) if self.context else max_new_tokens
        # A source has a row of its own, of the same length; a prompt leaves room for one new token.
        longest = self.context and self.context - (prompt_format != "source")
        self.max_prompt_tokens = min(max_prompt_tokens, longest) if longest else max_prompt_tokens
        text, rows = tf.TensorSpec([None], tf.string), _specs(DTYPES)
        self.generate_graph = tf.function(self._generate, autograph=False, input_signature=[text, rows])
        self.score_graph = tf.function(self._score, autograph=False, input_signature=[text, text])

    @property
    def default_new_tokens(self) -> int:
        """How many new tokens to ask for where nobody said."""
        return self.leave_room(DecodingConfig().max_new_tokens)

    def leave_room(self, new_tokens: int) -> int:
        """`new_tokens`, or what is possible of it where a prompt keeps half of the context they share."""
        shared = self.context if self.prompt_format != "source" else None
        most = min(new_tokens, self.max_new_tokens)
        return min(most, max(1, shared // 2)) if shared else most

    @property
    def is_pair(self) -> bool:
        """Whether the model maps a source to a target."""
        return self.prompt_format in ("pair", "source")

    def check(self, decoding: DecodingConfig) -> None:
        """Raises `UserError` where this generator cannot do what `decoding` asks for, before it has prompts."""
        _, _, problem = self._checked(from_config(decoding, 1))
        if problem.numpy()[0]:
            raise UserError(refusal(problem.numpy()[0].decode(), decoding))

    def generate(
        self,
        prompts: Sequence[str],
        decoding: DecodingConfig | None = None,
        *,
        batch_size: int = 16,
        seeds: Sequence[int] | None = None,
    ) -> list[Continuation]:
        """Continues each prompt (or maps each source).

        Args:
          prompts: texts; an empty one starts from the beginning-of-text token.
          decoding: parameters for all of them; None samples `default_new_tokens`. A prompt's samples have seeds of
            their own (`sample_seed`), so a text depends on its prompt and seed alone, not on its place among the
            prompts.
          batch_size: rows decoded at once.
          seeds: of each prompt in place of `decoding.seed`, where the texts are to be judged together: with one seed,
            the texts of different prompts are drawn by the same random numbers, and resemble each other.

        Returns:
          `num_samples` continuations a prompt, or the `num_best` of a beam (fewer where it found fewer), in the
          prompts' order.

        Raises:
          UserError: where a parameter is out of its bounds, or there are not as many seeds as prompts.
        """
        decoding = decoding or DecodingConfig(max_new_tokens=self.default_new_tokens)
        if seeds is not None and len(seeds) != len(prompts):
            raise UserError(f"generate: {len(prompts)} prompts and {len(seeds)} seeds, expected as many of each")
        if decoding.beam_width > 1:
            return self._generate_best(prompts, decoding, batch_size)
        rows = [(prompt, sample) for prompt in prompts for sample in range(decoding.num_samples)]
        of_prompts = [decoding.seed] * len(prompts) if seeds is None else seeds
        row_seeds = [sample_seed(seed, sample) for seed in of_prompts for sample in range(decoding.num_samples)]
        results: list[Continuation] = []
        for start in range(0, len(rows), batch_size):
            some = rows[start : start + batch_size]
            seed = tf.constant(row_seeds[start : start + batch_size], tf.int64)
            parameters = from_config(decoding, len(some))._replace(seed=seed)
            output = self.generate_graph(tf.constant([prompt for prompt, _ in some], tf.string), parameters)
            results += to_continuations(some, _plain(output), decoding)
        return results

    def beam_graph(self, width: int, num_best: int) -> Callable[..., BestGeneration]:
        """`(prompts [B] string, Parameters, LengthPenalty) -> BestGeneration`, traced once for each width and number.

        Args:
          width: `W`, hypotheses that the beam keeps.
          num_best: n, at most `width`.
        """
        graphs, key = self._holder.beam_graphs, (width, num_best)
        if key not in graphs:

            def search(prompts: tf.Tensor, parameters: Parameters, penalty: LengthPenalty) -> BestGeneration:
                return self._search(prompts, parameters, penalty, width, num_best)

            signature = [tf.TensorSpec([None], tf.string), _specs(DTYPES), _specs(LENGTH_PENALTY_DTYPES)]
            graphs[key] = tf.function(search, autograph=False, input_signature=signature)
        return graphs[key]

    def _generate_best(self, prompts: Sequence[str], decoding: DecodingConfig, batch_size: int) -> list[Continuation]:
        graph = self.beam_graph(decoding.beam_width, decoding.num_best)
        results: list[Continuation] = []
        for start in range(0, len(prompts), batch_size):
            some = prompts[start : start + batch_size]
            rows = len(some)
            output = graph(tf.constant(some, tf.string), from_config(decoding, rows), length_penalty_of(decoding, rows))
            results += to_best_continuations(some, _plain(output), decoding)
        return results

    def score(self, texts: Sequence[str], sources: Sequence[str] | None = None) -> TextScore:
        """Log-probability of each text, given its source where the model maps a source to a target.

        Raises:
          UserError: where sources are missing, not wanted, or of another number.
        """
        if self.is_pair != (sources is not None):
            wanted = "a source for each text" if self.is_pair else "texts alone"
            raise UserError(f"score: got {'no sources' if self.is_pair else 'sources'}, expected {wanted}")
        if sources is not None and len(sources) != len(texts):
            raise UserError(f"score: {len(sources)} sources and {len(texts)} texts, expected as many of each")
        given = list(sources) if sources is not None else [""] * len(texts)
        return self.score_graph(tf.constant(given, tf.string), tf.constant(list(texts), tf.string))

    def _generate(self, prompts: tf.Tensor, parameters: Parameters) -> Generation:
        safe, constraints, problem = self._checked(parameters)
        logits, state, safe, known, truncated = self._start(prompts, safe, constraints)
        found = decode(logits, state, self._holder.model.step, safe, **known)
        return Generation(**self._answer(found, problem), prompt_truncated=truncated)

    def _search(
        self, prompts: tf.Tensor, parameters: Parameters, penalty: LengthPenalty, width: int, num_best: int
    ) -> BestGeneration:
        safe, constraints, problem = self._checked(parameters)
        penalty, other = sanitize_length_penalty(penalty)
        problem = tf.where(tf.equal(problem, ""), other, problem)[:, tf.newaxis]
        logits, state, safe, known, truncated = self._start(prompts, safe, constraints)
        step = self._holder.model.step
        found = beam_search(logits, state, step, safe, penalty, width=width, num_best=num_best, **known)
        normalized = tf.where(tf.equal(problem, ""), found.normalized_score, 0.0)
        return BestGeneration(**self._answer(found, problem), normalized_score=normalized, prompt_truncated=truncated)

    def _start(
        self, prompts: tf.Tensor, parameters: Parameters, constraints: Constraints
    ) -> tuple[tf.Tensor, Any, Parameters, dict[str, Any], tf.Tensor]:
        """Reads the prompts.

        Returns:
          Logits, state, parameters with the lengths of the sources, what else a search wants, which prompts were cut.
        """
        model, tokenizer = self._holder.model, self.tokenizer
        features, truncated = self._prompt_features(prompts, parameters.max_new_tokens)
        parameters = self._with_ratios(parameters, features, needed_tokens(constraints))
        longest = tf.reduce_max(tf.concat([[1], parameters.max_new_tokens], axis=0))
        capacity = tf.shape(features["target_tokens"])[1] + longest
        logits, state = model.start(features, capacity)
        known = {
            "prompt_tokens": features["target_tokens"],
            "prompt_lengths": features["target_lengths"],
            "eos_id": tokenizer.eos_id,
            "banned_ids": [tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.sep_id],
            "constraints": constraints,
            "detokenize": tokenizer.detokenize,
            "max_new_tokens": self.max_new_tokens,
        }
        return logits, state, parameters, known, truncated

    def _answer(self, found: Decoded | Hypotheses, problem: tf.Tensor) -> dict[str, tf.Tensor]:
        """The fields that `Generation` and `BestGeneration` share; nothing but the `problem` in bad rows."""
        good = tf.equal(problem, "")
        counts = tf.where(good, found.token_count, 0)
        present = tf.range(tf.shape(found.tokens)[-1]) < counts[..., tf.newaxis]
        return {
            "text": tf.where(good, repair_utf8(found.texts), ""),
            "score": tf.where(good, found.score, 0.0),
            "token_count": counts,
            "finish_reason": tf.where(good, found.finish_reason, problem),
            "token_log_probabilities": tf.where(present, found.log_probabilities, 0.0),
            "token_texts": tf.where(present, repair_utf8(tf.gather(self.tokenizer.pieces, found.tokens)), ""),
        }

    def _checked(self, parameters: Parameters) -> tuple[Parameters, Constraints, tf.Tensor]:
        """The parameters and their words with bad rows made harmless, and what is wrong with those `[B]`, else ""."""
        tokenizer = self.tokenizer
        safe, problem = sanitize(parameters, tokenizer.vocabulary_size, self.max_new_tokens, self.is_pair)
        constraints, misfit = parse(
            safe, tokenizer.tokenize, vocabulary_size=tokenizer.vocabulary_size, unk_id=tokenizer.unk_id
        )
        safe = harmless_where(tf.not_equal(misfit, ""), safe)
        return safe, constraints, tf.where(tf.equal(problem, ""), misfit, problem)

    def _with_ratios(self, parameters: Parameters, features: Mapping[str, tf.Tensor], needed: tf.Tensor) -> Parameters:
        """Lengths relative to the source made numbers of tokens, within `max_new_tokens`."""
        if not self.is_pair:
            return parameters
        is_source = self.prompt_format == "source"
        lengths = features["source_lengths"] - 1 if is_source else features["target_lengths"] - 2  # without the frame
        return with_ratios(parameters, lengths, needed)

    def _prompt_features(self, prompts: tf.Tensor, max_new_tokens: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Features of `TextModel.start`, and which prompts were cut `[B]` bool."""
        tokenizer = self.tokenizer
        if self.prompt_format == "source":
            source, lengths, truncated = self._source(prompts)
            count = tf.shape(prompts)[0]
            begin = {
                "target_tokens": tf.fill([count, 1], tokenizer.bos_id),
                "target_lengths": tf.ones([count], tf.int32),
            }
            return {"source_tokens": source, "source_lengths": lengths, **begin}, truncated
        tokens = self.source_tokenizer.tokenize(prompts)
        before, behind = self._frame(tokens)
        # Every new token needs its own position: what a row wants to add is taken from its prompt's room.
        room = tf.fill(tf.shape(prompts), self.max_prompt_tokens)
        if self.context:
            room = tf.minimum(room, self.context - max_new_tokens)
        room = tf.maximum(room - before - behind, 0)
        lengths = tf.cast(tokens.row_lengths(), tf.int32)
        kept = self._truncate(tokens, room)
        framed = tf.concat([repeat_id(tokenizer.bos_id, before), kept, repeat_id(tokenizer.sep_id, behind)], axis=1)
        features = {
            "target_tokens": pad_left(framed, tokenizer.pad_id),
            "target_lengths": tf.cast(framed.row_lengths(), tf.int32),
        }
        return features, lengths > room

    def _truncate(self, tokens: tf.RaggedTensor, room: tf.Tensor) -> tf.RaggedTensor:
        """At most `room` (`[B]`) tokens of each prompt."""
        return keep_first(tokens, room) if self.truncation_side == "end" else keep_last(tokens, room)

    def _frame(self, tokens: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor]:
        """How many `<s>` stand before and how many `<sep>` behind each prompt, both `[B]` int32."""
        lengths = tf.cast(tokens.row_lengths(), tf.int32)
        before = tf.cast(lengths == 0, tf.int32) if self.prompt_format == "continuation" else tf.ones_like(lengths)
        behind = tf.ones_like(lengths) if self.prompt_format == "pair" else tf.zeros_like(lengths)
        return before, behind

    def _source(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Source tokens `[B, S]` right-padded with `</s>` at the end, lengths `[B]`, and which were cut `[B]`."""
        tokens = self.source_tokenizer.tokenize(texts)
        room = tf.fill(tf.shape(texts), self.max_prompt_tokens - 1)
        truncated = tf.cast(tokens.row_lengths(), tf.int32) > room
        ended = tf.concat(
            [self._truncate(tokens, room), repeat_id(self.source_tokenizer.eos_id, tf.ones_like(room))], axis=1
        )
        return ended.to_tensor(self.source_tokenizer.pad_id), tf.cast(ended.row_lengths(), tf.int32), truncated

    def _score(self, sources: tf.Tensor, texts: tf.Tensor) -> TextScore:
        tokenizer = self.tokenizer
        tokens = tokenizer.tokenize(texts)
        # The end of a text belongs to a target; a text to be continued has none.
        ends = tf.fill(tf.shape(texts), int(self.is_pair))
        labels = tf.concat([tokens, repeat_id(tokenizer.eos_id, ends)], axis=1)
        # The last label is not read, hence the one more.
        places = 1 + (self.context or self.max_new_tokens + self.max_prompt_tokens)
        wanted = tf.cast(labels.row_lengths(), tf.int32)
        features, before, source_cut = self._score_context(sources, places - wanted)
        skipped = tf.cast(before.row_lengths(), tf.int32)
        room = tf.maximum(places - skipped, 0)
        truncated = source_cut | (wanted > room)
        labels = keep_first(labels, room)
        inputs = tf.concat([before, labels], axis=1)
        counts = tf.cast(labels.row_lengths(), tf.int32)
        padded = inputs.to_tensor(tokenizer.pad_id)
        features["target_tokens"] = padded[:, :-1]
        logits = self._holder.model(features, training=False)
        all_log_probabilities = token_log_probabilities(logits, padded[:, 1:])
        # The first label stands behind the last token of the context: shift each row to begin there.
        width = tf.reduce_max(tf.concat([[0], counts], axis=0))
        columns = tf.range(width)[None, :]
        at = tf.minimum(skipped[:, None] - 1 + columns, tf.maximum(tf.shape(padded)[1] - 2, 0))
        present = columns < counts[:, None]
        values = tf.where(present, tf.gather(all_log_probabilities, at, batch_dims=1), 0.0)
        total = tf.reduce_sum(values, axis=1)
        mean = total / tf.cast(tf.maximum(counts, 1), tf.float32)
        pieces = tf.gather(tokenizer.pieces, labels.to_tensor(tokenizer.pad_id))
        return TextScore(total, counts, tf.exp(-mean), values, tf.where(present, repair_utf8(pieces), ""), truncated)

    def _score_context(
        self, sources: tf.Tensor, room: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.RaggedTensor, tf.Tensor]:
        """Features of the source, what stands before the first label (`[B]` `room` for it), which sources were cut."""
        tokenizer, one = self.tokenizer, tf.ones(tf.shape(sources), tf.int32)
        if self.prompt_format == "source":
            source, lengths, cut = self._source(sources)
            return {"source_tokens": source, "source_lengths": lengths}, repeat_id(tokenizer.bos_id, one), cut
        if self.prompt_format == "pair":
            tokens = self.source_tokenizer.tokenize(sources)
            room = tf.maximum(tf.minimum(room, self.max_prompt_tokens) - 2, 0)
            kept = self._truncate(tokens, room)
            framed = [repeat_id(tokenizer.bos_id, one), kept, repeat_id(tokenizer.sep_id, one)]
            return {}, tf.concat(framed, axis=1), tf.cast(tokens.row_lengths(), tf.int32) > room
        return {}, repeat_id(tokenizer.bos_id, one), tf.zeros_like(one, tf.bool)


def to_continuations(
    rows: Sequence[tuple[str, int]], answer: Mapping[str, Sequence[Any]], decoding: DecodingConfig
) -> list[Continuation]:
    """What `Generation`, a list of plain values a field, says of the prompts and samples `rows`.

    Raises:
      UserError: where the graph refused a row, with what it said.
    """
    return [
        _continuation({name: answer[name][i] for name in Generation._fields}, decoding, prompt=prompt, sample=sample)
        for i, (prompt, sample) in enumerate(rows)
    ]


def to_best_continuations(
    prompts: Sequence[str], answer: Mapping[str, Sequence[Any]], decoding: DecodingConfig
) -> list[Continuation]:
    """Like `to_continuations`, of `BestGeneration`: up to `num_best` for each prompt."""
    names = [name for name in BestGeneration._fields if name != "prompt_truncated"]
    results = []
    for i, prompt in enumerate(prompts):
        for rank in range(decoding.num_best):
            values = {name: answer[name][i][rank] for name in names}
            if values["finish_reason"]:
                values["prompt_truncated"] = answer["prompt_truncated"][i]
                results.append(_continuation(values, decoding, prompt=prompt, rank=rank))
    return results


def _continuation(values: dict[str, Any], decoding: DecodingConfig, **place: Any) -> Continuation:
    if values["finish_reason"] not in FINISH_REASONS:
        raise UserError(refusal(values["finish_reason"], decoding))
    for name in ("token_log_probabilities", "token_texts"):
        values[name] = tuple(values[name][: values["token_count"]])
    return Continuation(**values, **place)


def _plain(output: NamedTuple) -> dict[str, list[Any]]:
    """The fields as nested lists of Python values."""
    arrays = {name: np.asarray(value) for name, value in output._asdict().items()}
    return {
        name: (np.frompyfunc(bytes.decode, 1, 1)(array) if array.dtype == object else array).tolist()
        for name, array in arrays.items()
    }


def _specs(dtypes: Any) -> Any:
    """Specifications of `[B]` vectors, from a NamedTuple of their dtypes."""
    return type(dtypes)(*(tf.TensorSpec([None], dtype, name) for name, dtype in dtypes._asdict().items()))
