"""Text in, text out: tokenizer, model and decoding in one graph.

The prompt on the terminal, the samples in TensorBoard, the evaluation of translations and the SavedModel all call the
same `tf.function` of `TextGenerator`: what is measured is what is served.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf

from tf_textgen.decoding.decoding_config import DecodingConfig, refusal, sample_seed
from tf_textgen.decoding.loop import decode
from tf_textgen.decoding.parameters import DTYPES, Parameters, from_config, harmless_where, sanitize, with_ratios
from tf_textgen.decoding.stopping import FINISH_REASONS
from tf_textgen.decoding.words import Constraints, needed_tokens, parse
from tf_textgen.errors import UserError
from tf_textgen.models.base import TextModel
from tf_textgen.objectives.cross_entropy import token_log_probabilities
from tf_textgen.text.rows import keep_first, keep_last, pad_left, repeat_id
from tf_textgen.text.tokenizer import Tokenizer, repair_utf8

PromptFormat = Literal["continuation", "document", "pair", "source"]


class Generation(NamedTuple):
    """What one call of the graph returns, a row a prompt."""

    text: tf.Tensor  # [B] string, valid UTF-8, without the prompt
    score: tf.Tensor  # [B] float32, sum of the tokens' log-probabilities, nats
    token_count: tf.Tensor  # [B] int32
    finish_reason: tf.Tensor  # [B] string: "eos", "length", "stop", "loop", or what is wrong with the row's parameters
    prompt_truncated: tf.Tensor  # [B] bool, True where the prompt lost its beginning
    token_log_probabilities: tf.Tensor  # [B, N] float32, of the model's own distribution, 0 behind the end
    token_texts: tf.Tensor  # [B, N] string, "" behind the end; with the end token and those of a stop string


class TextScore(NamedTuple):
    """Log-probabilities of given texts."""

    log_probability: tf.Tensor  # [B] float32, nats
    token_count: tf.Tensor  # [B] int32
    perplexity: tf.Tensor  # [B] float32, exp(-log_probability / token_count)
    token_log_probabilities: tf.Tensor  # [B, T] float32, 0 behind the end
    token_texts: tf.Tensor  # [B, T] string, "" behind the end
    truncated: tf.Tensor  # [B] bool, True where the source lost its beginning or the text its end to the context


@dataclasses.dataclass(frozen=True, kw_only=True)
class Continuation:
    """One generated text, as Python values; the fields are those of `Generation`."""

    prompt: str
    text: str
    score: float
    token_count: int
    finish_reason: str
    prompt_truncated: bool
    token_log_probabilities: tuple[float, ...] = ()
    token_texts: tuple[str, ...] = ()
    sample: int = 0


class _Untracked:
    """Hides the Keras model from `tf.Module`: tracking it would export its optimizer and a wrong default signature."""

    def __init__(self, model: TextModel) -> None:
        self.model = model


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
      max_prompt_tokens: longer prompts lose their beginning. Lowered to what the model's positions leave room for.
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
        source_tokenizer: Tokenizer | None = None,
    ) -> None:
        super().__init__(name="text_generator")
        self.tokenizer = tokenizer
        self.source_tokenizer = source_tokenizer or tokenizer
        self.weights = [variable.value for variable in model.weights]
        self.prompt_format = prompt_format
        self._holder = _Untracked(model)
        self.context = getattr(model.config, "max_positions", None)  # of each row that the model reads; None: no end
        self.max_new_tokens = min(max_new_tokens, self.context - 1) if self.context else max_new_tokens
        # A source has a row of its own, of the same length; a prompt leaves room for one new token.
        longest = self.context and self.context - (prompt_format != "source")
        self.max_prompt_tokens = min(max_prompt_tokens, longest) if longest else max_prompt_tokens
        rows = Parameters(*(tf.TensorSpec([None], dtype, name) for name, dtype in DTYPES._asdict().items()))
        text = tf.TensorSpec([None], tf.string)
        self.generate_graph = tf.function(self._generate, input_signature=[text, rows])
        self.score_graph = tf.function(self._score, input_signature=[text, text])

    @property
    def default_new_tokens(self) -> int:
        """How many new tokens to ask for where nobody said: a prompt keeps half of the context they share."""
        shared = self.context if self.prompt_format != "source" else None
        most = min(DecodingConfig().max_new_tokens, self.max_new_tokens)
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
          `num_samples` continuations a prompt, in the prompts' order.

        Raises:
          UserError: where a parameter is out of its bounds, or there are not as many seeds as prompts.
        """
        decoding = decoding or DecodingConfig(max_new_tokens=self.default_new_tokens)
        if seeds is not None and len(seeds) != len(prompts):
            raise UserError(f"generate: {len(prompts)} prompts and {len(seeds)} seeds, expected as many of each")
        rows = [(prompt, sample) for prompt in prompts for sample in range(decoding.num_samples)]
        of_prompts = [decoding.seed] * len(prompts) if seeds is None else seeds
        row_seeds = [sample_seed(seed, sample) for seed in of_prompts for sample in range(decoding.num_samples)]
        results: list[Continuation] = []
        for start in range(0, len(rows), batch_size):
            some = rows[start : start + batch_size]
            seed = tf.constant(row_seeds[start : start + batch_size], tf.int64)
            parameters = from_config(decoding, len(some))._replace(seed=seed)
            output = self.generate_graph(tf.constant([prompt for prompt, _ in some], tf.string), parameters)
            results += _decoded_answer(some, output, decoding)
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
        model, tokenizer = self._holder.model, self.tokenizer
        safe, constraints, problem = self._checked(parameters)
        features, truncated = self._prompt_features(prompts, safe.max_new_tokens)
        safe = self._with_ratios(safe, features, needed_tokens(constraints))
        longest = tf.reduce_max(tf.concat([[1], safe.max_new_tokens], axis=0))
        capacity = tf.shape(features["target_tokens"])[1] + longest
        logits, state = model.start(features, capacity)
        decoded = decode(
            logits,
            state,
            model.step,
            safe,
            prompt_tokens=features["target_tokens"],
            prompt_lengths=features["target_lengths"],
            eos_id=tokenizer.eos_id,
            banned_ids=[tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.sep_id],
            constraints=constraints,
            detokenize=tokenizer.detokenize,
            max_new_tokens=self.max_new_tokens,
        )
        good = tf.equal(problem, "")
        counts = tf.where(good, decoded.token_count, 0)
        present = tf.range(tf.shape(decoded.tokens)[1]) < counts[:, tf.newaxis]
        return Generation(
            text=tf.where(good, repair_utf8(decoded.texts), ""),
            score=tf.where(good, decoded.score, 0.0),
            token_count=counts,
            finish_reason=tf.where(good, decoded.finish_reason, problem),
            prompt_truncated=truncated,
            token_log_probabilities=tf.where(present, decoded.log_probabilities, 0.0),
            token_texts=tf.where(present, repair_utf8(tf.gather(tokenizer.pieces, decoded.tokens)), ""),
        )

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
        """Features of `TextModel.start`, and which prompts were cut from the left `[B]` bool."""
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
        kept = keep_last(tokens, room)
        framed = tf.concat([repeat_id(tokenizer.bos_id, before), kept, repeat_id(tokenizer.sep_id, behind)], axis=1)
        features = {
            "target_tokens": pad_left(framed, tokenizer.pad_id),
            "target_lengths": tf.cast(framed.row_lengths(), tf.int32),
        }
        return features, lengths > room

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
            [keep_last(tokens, room), repeat_id(self.source_tokenizer.eos_id, tf.ones_like(room))], axis=1
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
            framed = [repeat_id(tokenizer.bos_id, one), keep_last(tokens, room), repeat_id(tokenizer.sep_id, one)]
            return {}, tf.concat(framed, axis=1), tf.cast(tokens.row_lengths(), tf.int32) > room
        return {}, repeat_id(tokenizer.bos_id, one), tf.zeros_like(one, tf.bool)


def _decoded_answer(
    rows: Sequence[tuple[str, int]], output: Generation, decoding: DecodingConfig
) -> list[Continuation]:
    """Python values of one batch; a row that the graph refused raises what it said."""
    answer = {name: np.asarray(value).tolist() for name, value in output._asdict().items()}
    answer["token_texts"] = [[piece.decode() for piece in pieces] for pieces in answer["token_texts"]]
    for name in ("text", "finish_reason"):
        answer[name] = [value.decode() for value in answer[name]]
    return to_continuations(rows, answer, decoding)


def to_continuations(
    rows: Sequence[tuple[str, int]], answer: Mapping[str, Sequence[Any]], decoding: DecodingConfig
) -> list[Continuation]:
    """What `Generation`, a list of plain values a field, says of the prompts and samples `rows`.

    Raises:
      UserError: where the graph refused a row, with what it said.
    """
    results = []
    for i, (prompt, sample) in enumerate(rows):
        values = {name: answer[name][i] for name in Generation._fields}
        if values["finish_reason"] not in FINISH_REASONS:
            raise UserError(refusal(values["finish_reason"], decoding))
        for name in ("token_log_probabilities", "token_texts"):
            values[name] = tuple(values[name][: values["token_count"]])
        results.append(Continuation(prompt=prompt, sample=sample, **values))
    return results
