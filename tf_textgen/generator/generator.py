"""Text in, text out: tokenizer, model and decoding in one graph.

The prompt on the terminal, the samples in TensorBoard, the evaluation of translations and the
SavedModel all call the same `tf.function`: what is measured is what is served.
"""

from __future__ import annotations

from collections.abc import Sequence

from tf_textgen.decoding.continuation import Continuation
from tf_textgen.decoding.decoding_config import DecodingConfig, refusal
from tf_textgen.decoding.parameters import from_config
from tf_textgen.errors import UserError
from tf_textgen.generator.beam_decoder import BeamDecoder, BeamGraph
from tf_textgen.generator.decoder import Decoder
from tf_textgen.generator.embedder import Embedder
from tf_textgen.generator.prefill import Prefill
from tf_textgen.generator.prompt_encoder import PromptEncoder, PromptFormat, TruncationSide
from tf_textgen.generator.scorer import Scorer, TextScore
from tf_textgen.generator.serving_default import ServingDefault
from tf_textgen.generator.signature import Capability, Signature
from tf_textgen.generator.streaming import Streamer
from tf_textgen.generator.token_codec import TokenCodec
from tf_textgen.models.base import TextModel
from tf_textgen.text.tokenizer import Tokenizer


class TextGenerator:
    """A tokenizer, a model and a decoding loop as graphs from text to text.

    Args:
      model: a built model of any family.
      tokenizer: gives the ids that the model was trained on.
      prompt_format: the layout of a prompt, which is how the training rows began. "continuation":
        only the prompt's tokens, for a model trained on windows cut anywhere (an empty prompt is
        `<s>`); "document": `<s>` before the prompt, for packed documents; "pair": `<s> source
        <sep>`, for a language model trained on pairs; "source": the source of an encoder-decoder.
      max_new_tokens: upper bound of the new tokens a request may ask for. A row that asks for more
        is refused.
      max_prompt_tokens: longer prompts are cut. Lowered to the room that the model's positions
        leave.
      truncation_side: the end that a long prompt loses, which is what training rows lost.
        "beginning", since the end of a text is what is continued, or answered in a dialogue; "end":
        a source says first what it is about.
      source_tokenizer: tokenizer of the source, if it is not that of the target.
      jit_compile: compile the model's step by XLA, once for each power of two of rows and of slots
        in its cache.

    Attributes:
      context: longest row that the model reads; None is unlimited.
      capabilities: the parts that a server offers, in the order of their signatures.
      generate_graph: `(prompts [B] string, Parameters) -> Generation`.
      chunk_graph: as `Streamer.graph`.
      score_graph: as `Scorer.graph`.
      tokenize_graph: as `TokenCodec.tokenize_graph`.
      detokenize_graph: as `TokenCodec.detokenize_graph`.
      embed_graph: as `Embedder.graph`, if `has_vectors`.

    Raises:
      UserError: if XLA cannot compile the model.
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
        if jit_compile and not model.config.supports_xla:
            raise UserError(
                f"jit_compile: XLA does not compile {model.name}; expected a neural model, or "
                "leave it out"
            )
        self.model = model
        self.tokenizer = tokenizer
        self.source_tokenizer = source_tokenizer or tokenizer
        self.prompt_format = prompt_format
        self.truncation_side = truncation_side
        self.jit_compile = jit_compile
        limit = model.config.context_limit
        self.context = None if limit is None else limit.tokens
        self.max_new_tokens = max_new_tokens
        self.max_prompt_tokens = max_prompt_tokens
        if self.context:
            # A source has its own row of that length; a prompt leaves room for one new token.
            longest_prompt = self.context if prompt_format == "source" else self.context - 1
            self.max_new_tokens = min(max_new_tokens, self.context - 1)
            self.max_prompt_tokens = min(max_prompt_tokens, longest_prompt)
        self._compose()

    def _compose(self) -> None:
        """Makes the parts, each with its own graph."""
        encoder = PromptEncoder(
            self.tokenizer,
            self.source_tokenizer,
            prompt_format=self.prompt_format,
            truncation_side=self.truncation_side,
            context=self.context,
            max_prompt_tokens=self.max_prompt_tokens,
        )
        self.prefill = Prefill(
            self.model,
            encoder,
            max_new_tokens=self.max_new_tokens,
            jit_compile=self.jit_compile,
        )
        self.encoder = encoder
        self.decoder = Decoder(self.prefill)
        self.beam_decoder = BeamDecoder(self.prefill)
        self.streamer = Streamer(self.decoder)
        self.scorer = Scorer(
            self.model, encoder, longest=self.max_new_tokens + self.max_prompt_tokens
        )
        self.token_codec = TokenCodec(self.tokenizer)
        self.embedder = Embedder(self.model, encoder) if self.has_vectors else None
        self.capabilities: Sequence[Capability] = self._capabilities()
        self.generate_graph = self.decoder.graph
        self.chunk_graph = self.streamer.graph
        self.score_graph = self.scorer.graph
        self.tokenize_graph = self.token_codec.tokenize_graph
        self.detokenize_graph = self.token_codec.detokenize_graph
        if self.embedder:
            self.embed_graph = self.embedder.graph

    def _capabilities(self) -> tuple[Capability, ...]:
        """The parts that a server offers; their order is that of the signatures."""
        neural = (self.embedder,) if self.embedder else ()
        return (
            ServingDefault(self.decoder, self.beam_decoder),
            self.decoder,
            self.streamer,
            self.scorer,
            self.token_codec,
            *neural,
            self.beam_decoder,
        )

    @property
    def is_pair(self) -> bool:
        """Whether the model maps a source to a target."""
        return self.encoder.is_pair

    @property
    def has_vectors(self) -> bool:
        """Whether the model gives vectors of texts."""
        return self.model.has_hidden

    @property
    def default_new_tokens(self) -> int:
        """Number of new tokens of a request that sets none."""
        return self.leave_room(DecodingConfig().max_new_tokens)

    def leave_room(self, new_tokens: int) -> int:
        """`new_tokens`, or fewer: a prompt keeps half of a context that it shares with them."""
        bounded = min(new_tokens, self.max_new_tokens)
        if self.context and self.prompt_format != "source":
            return min(bounded, max(1, self.context // 2))
        return bounded

    def check(self, decoding: DecodingConfig) -> None:
        """Raises `UserError` if `decoding` does not fit this generator. No prompts are needed."""
        problem = self.prefill.check(from_config(decoding, 1)).problem.numpy()[0].decode()
        if problem:
            raise UserError(refusal(problem, decoding))

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
            samples have their own seeds (`sample_seed`), so a text depends only on its prompt and
            seed, not on its place among the prompts.
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
        if isinstance(prompts, str):
            prompts = [prompts]
        if decoding is None:
            decoding = DecodingConfig(max_new_tokens=self.default_new_tokens)
        if seeds is None:
            seeds = [decoding.seed] * len(prompts)
        if len(seeds) != len(prompts):
            raise UserError(
                f"generate: {len(prompts)} prompts and {len(seeds)} seeds, expected as many of each"
            )
        if decoding.beam_width > 1:
            return self.beam_decoder.generate(prompts, decoding, batch_size=batch_size)
        return self.decoder.generate(prompts, decoding, batch_size=batch_size, seeds=seeds)

    def score(self, texts: Sequence[str], sources: Sequence[str] | None = None) -> TextScore:
        """Log-probability of each text, given its source if the model maps a source to a target.

        Args:
          texts: to score, or one.
          sources: of each text, or one.

        Raises:
          UserError: if sources are missing, not expected, or of another number.
        """
        if isinstance(texts, str):
            texts = [texts]
        if isinstance(sources, str):
            sources = [sources]
        return self.scorer.score(texts, sources)

    def beam_graph(self, width: int, num_best: int) -> BeamGraph:
        """The graph of a beam, as `BeamDecoder.graph`."""
        return self.beam_decoder.graph(width, num_best)

    def signatures(self, decoding: DecodingConfig) -> dict[str, Signature]:
        """The serving signatures by name, each declared by its capability.

        Args:
          decoding: the parameters of `serving_default`, and the beam of `beam_search`.
        """
        found = [one for part in self.capabilities for one in part.signatures(decoding)]
        return {signature.name: signature for signature in found}
