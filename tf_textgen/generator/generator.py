"""Text in, text out: tokenizer, model and decoding in one graph.

The prompt on the terminal, the samples in TensorBoard, the evaluation of translations and the
SavedModel all call the
same `tf.function` of `TextGenerator`: what is measured is what is served.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_textgen.decoding.beam_search import Hypotheses, beam_search
from tf_textgen.decoding.decoding_config import DecodingConfig, refusal, sample_seed
from tf_textgen.decoding.length_penalty import (
    LENGTH_PENALTY_DTYPES,
    LengthPenalty,
    length_penalty_of,
    sanitize_length_penalty,
)
from tf_textgen.decoding.parameters import DTYPES, Parameters, from_config
from tf_textgen.decoding.single_search import BEGUN_SPECS, Decoded, nothing_begun
from tf_textgen.errors import UserError
from tf_textgen.generator.compiled import compiled_step, in_few_shapes
from tf_textgen.generator.embedding import Embedding
from tf_textgen.generator.prompts import PromptFormat, TruncationSide
from tf_textgen.generator.results import (
    BestGeneration,
    Continuation,
    Generation,
    plain,
    to_best_continuations,
    to_continuations,
)
from tf_textgen.generator.scoring import Scoring
from tf_textgen.generator.streaming import Streaming
from tf_textgen.generator.tokens import Tokenizing
from tf_textgen.models.base import TextModel
from tf_textgen.text.tokenizer import Tokenizer, repair_utf8


class TextGenerator(Streaming, Scoring, Tokenizing, Embedding):
    """A tokenizer, a model and a decoding loop as graphs from text to text.

    Args:
      model: a built model of any family.
      tokenizer: gives the ids that the model was trained on.
      prompt_format: how a prompt is laid out, which is how the training rows began. "continuation":
        the prompt's tokens alone, for a model trained on windows cut anywhere (an empty prompt is
        `<s>`); "document": `<s>` before the prompt, for packed documents; "pair": `<s> source
        <sep>`, for a language model trained on pairs; "source": the source of an encoder-decoder.
      max_new_tokens: upper bound of the new tokens a request may ask for; a greater wish is refused
        row by row.
      max_prompt_tokens: longer prompts are cut. Lowered to what the model's positions leave room
        for.
      truncation_side: what such a prompt loses, which is what training rows lost. "beginning",
        since what is continued, or answered in a dialogue, is what stands last; "end": a source
        says first what it is about.
      source_tokenizer: tokenizer of the source, if it is not that of the target.
      jit_compile: compile the model's step by XLA, once for each power of two of rows and of slots
        in its cache.

    Raises:
      UserError: where XLA cannot compile the model.
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
        jit_compile: bool = False,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.source_tokenizer = source_tokenizer or tokenizer
        self.prompt_format = prompt_format
        self.truncation_side = truncation_side
        self._beam_graphs: dict[tuple[int, int], Callable[..., BestGeneration]] = {}
        self.context = getattr(
            model.config, "max_positions", None
        )  # of each row that the model reads; None: no end
        self.max_new_tokens = (
            min(max_new_tokens, self.context - 1) if self.context else max_new_tokens
        )
        # A source has a row of its own, of the same length; a prompt leaves room for one new token.
        longest = self.context and self.context - (prompt_format != "source")
        self.max_prompt_tokens = min(max_prompt_tokens, longest) if longest else max_prompt_tokens
        if jit_compile and not model.has_hidden:
            raise UserError(
                f"jit_compile: XLA does not compile {model.name}; expected a neural model, or "
                "leave it out"
            )
        self.jit_compile = jit_compile
        self.step = compiled_step(model.step) if jit_compile else model.step
        text = tf.TensorSpec([None], tf.string)
        rows = _specs(DTYPES)
        self.continue_graph = self._decoding_graph(self._continue, text, rows, BEGUN_SPECS)
        self.generate_graph = tf.function(
            self._generate, autograph=False, input_signature=[text, rows]
        )
        self.score_graph = tf.function(self._score, autograph=False, input_signature=[text, text])
        count = tf.TensorSpec([None], tf.int32)
        signature = [text, text, count, rows]
        self.chunk_graph = tf.function(
            self._generate_chunk, autograph=False, input_signature=signature
        )
        self.tokenize_graph = tf.function(self._tokenize, autograph=False, input_signature=[text])
        self.detokenize_graph = tf.function(
            self._detokenize, autograph=False, input_signature=[text]
        )
        if self.has_vectors:
            self.embed_graph = tf.function(self._embed, autograph=False, input_signature=[text])

    @property
    def default_new_tokens(self) -> int:
        """How many new tokens to ask for if nobody said."""
        return self.leave_room(DecodingConfig().max_new_tokens)

    def leave_room(self, new_tokens: int) -> int:
        """`new_tokens`, or what is possible of it if a prompt keeps half of the context they
        share.
        """
        shared = self.context if self.prompt_format != "source" else None
        most = min(new_tokens, self.max_new_tokens)
        return min(most, max(1, shared // 2)) if shared else most

    def check(self, decoding: DecodingConfig) -> None:
        """Raises `UserError` if this generator cannot do what `decoding` asks for, before it has
        prompts.
        """
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
          prompts: texts, or one; an empty one starts from the beginning-of-text token.
          decoding: parameters for all of them; None samples `default_new_tokens`. A prompt's
            samples have seeds of their own (`sample_seed`), so a text depends on its prompt and
            seed alone, not on its place among the prompts.
          batch_size: rows decoded at once.
          seeds: of each prompt instead of `decoding.seed`, if the texts are to be judged
            together: with one seed, the texts of different prompts are drawn by the same random
            numbers, and resemble each other.

        Returns:
          `num_samples` continuations a prompt, or the `num_best` of a beam (fewer if it found
          fewer), in the prompts' order.

        Raises:
          UserError: if a parameter is out of its bounds, or there are not as many seeds as
            prompts.
        """
        prompts = [prompts] if isinstance(prompts, str) else prompts
        decoding = decoding or DecodingConfig(max_new_tokens=self.default_new_tokens)
        if seeds is not None and len(seeds) != len(prompts):
            raise UserError(
                f"generate: {len(prompts)} prompts and {len(seeds)} seeds, expected as many of each"
            )
        if decoding.beam_width > 1:
            return self._generate_best(prompts, decoding, batch_size)
        rows = [(prompt, sample) for prompt in prompts for sample in range(decoding.num_samples)]
        of_prompts = [decoding.seed] * len(prompts) if seeds is None else seeds
        row_seeds = [
            sample_seed(seed, sample)
            for seed in of_prompts
            for sample in range(decoding.num_samples)
        ]
        results: list[Continuation] = []
        for start in range(0, len(rows), batch_size):
            some = rows[start : start + batch_size]
            seed = tf.constant(row_seeds[start : start + batch_size], tf.int64)
            parameters = from_config(decoding, len(some))._replace(seed=seed)
            output = self.generate_graph(
                tf.constant([prompt for prompt, _ in some], tf.string), parameters
            )
            results += to_continuations(some, plain(output), decoding)
        return results

    def beam_graph(self, width: int, num_best: int) -> Callable[..., BestGeneration]:
        """`(prompts [B] string, Parameters, LengthPenalty) -> BestGeneration`, traced once for each
        width and number.

        Args:
          width: `W`, hypotheses that the beam keeps.
          num_best: n, at most `width`.
        """
        graphs = self._beam_graphs
        key = (width, num_best)
        if key not in graphs:

            def search(
                prompts: tf.Tensor, parameters: Parameters, penalty: LengthPenalty
            ) -> BestGeneration:
                return self._search(prompts, parameters, penalty, width, num_best)

            signature = (
                tf.TensorSpec([None], tf.string),
                _specs(DTYPES),
                _specs(LENGTH_PENALTY_DTYPES),
            )
            graphs[key] = self._decoding_graph(search, *signature)
        return graphs[key]

    def _decoding_graph(self, answer: Callable[..., Any], *signature: Any) -> Callable[..., Any]:
        """`answer` traced once for any number of rows."""
        few = (lambda *inputs: in_few_shapes(answer, *inputs)) if self.jit_compile else answer
        return tf.function(few, autograph=False, input_signature=signature)

    def _generate_best(
        self, prompts: Sequence[str], decoding: DecodingConfig, batch_size: int
    ) -> list[Continuation]:
        graph = self.beam_graph(decoding.beam_width, decoding.num_best)
        results: list[Continuation] = []
        for start in range(0, len(prompts), batch_size):
            some = prompts[start : start + batch_size]
            rows = len(some)
            output = graph(
                tf.constant(some, tf.string),
                from_config(decoding, rows),
                length_penalty_of(decoding, rows),
            )
            results += to_best_continuations(some, plain(output), decoding)
        return results

    def _generate(self, prompts: tf.Tensor, parameters: Parameters) -> Generation:
        nothing = nothing_begun(tf.shape(prompts)[0], self.max_new_tokens)
        found, problem, truncated = self.continue_graph(prompts, parameters, nothing)
        return Generation(**self._answer(found, problem), prompt_truncated=truncated)

    def _search(
        self,
        prompts: tf.Tensor,
        parameters: Parameters,
        penalty: LengthPenalty,
        width: int,
        num_best: int,
    ) -> BestGeneration:
        safe, constraints, problem = self._checked(parameters)
        penalty, other = sanitize_length_penalty(penalty)
        problem = tf.where(tf.equal(problem, ""), other, problem)[:, tf.newaxis]
        logits, state, safe, known, truncated = self._start(prompts, safe, constraints)
        step = self.step
        found = beam_search(
            logits, state, step, safe, penalty, width=width, num_best=num_best, **known
        )
        normalized = tf.where(tf.equal(problem, ""), found.normalized_score, 0.0)
        return BestGeneration(
            **self._answer(found, problem), normalized_score=normalized, prompt_truncated=truncated
        )

    def _answer(self, found: Decoded | Hypotheses, problem: tf.Tensor) -> dict[str, tf.Tensor]:
        """The fields that `Generation` and `BestGeneration` share; nothing but the `problem` in bad
        rows.
        """
        good = tf.equal(problem, "")
        counts = tf.where(good, found.token_count, 0)
        present = tf.range(tf.shape(found.tokens)[-1]) < counts[..., tf.newaxis]
        return {
            "text": tf.where(good, repair_utf8(found.texts), ""),
            "score": tf.where(good, found.score, 0.0),
            "token_count": counts,
            "finish_reason": tf.where(good, found.finish_reason, problem),
            "token_log_probabilities": tf.where(present, found.log_probabilities, 0.0),
            "token_texts": tf.where(
                present, repair_utf8(tf.gather(self.tokenizer.pieces, found.tokens)), ""
            ),
        }


def _specs(dtypes: Any) -> Any:
    """Specifications of `[B]` vectors, from a NamedTuple of their dtypes."""
    return type(dtypes)(
        *(tf.TensorSpec([None], dtype, name) for name, dtype in dtypes._asdict().items())
    )
