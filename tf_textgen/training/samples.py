"""Texts that show a person how far a training is."""

from __future__ import annotations

from tf_textgen.data.split import TokenizedSplit
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.generator import TextGenerator
from tf_textgen.judging.examples import prompts_from
from tf_textgen.runs.run_config import RunConfig
from tf_textgen.training.validation import Sampler


def make_sampler(
    generator: TextGenerator, run: RunConfig, decoding: DecodingConfig, split: TokenizedSplit
) -> Sampler | None:
    """step -> what `generator` makes of some prompts, always the same ones with the same seed.

    Args:
      generator: of the model in training.
      run: says the prompts or their number, and the length of the texts; None comes back if it
        wants no samples.
      decoding: how; one text each.
      split: prompts are taken from it if `run` has none.

    Raises:
      UserError: if the generator cannot do what `decoding` asks for, or not within
        `run.sample_tokens`.
    """
    prompts = list(run.sample_prompt) or prompts_from(split, generator, run.samples)
    if not prompts:
        return None
    limit = generator.leave_room(run.sample_tokens)
    shortest = min(decoding.min_new_tokens, limit)
    decoding = decoding.replace(
        max_new_tokens=limit, min_new_tokens=shortest, num_samples=1, num_best=1
    )
    _check(generator, decoding, run)

    def sample(step: int) -> str:
        texts = generator.generate(prompts, decoding)
        # Behind a prompt of several lines a reader could not find the start of the text.
        shown = [(text.prompt, "--> " if "\n" in text.prompt else "", text.text) for text in texts]
        return "\n".join(f"--- {prompt}\n{sign}{text}" for prompt, sign, text in shown)

    return sample


def _check(generator: TextGenerator, decoding: DecodingConfig, run: RunConfig) -> None:
    """Tells what a sample could not do before the training; its length is that of another flag."""
    try:
        generator.check(decoding)
    except UserError as error:
        name = f"--decoding.max_new_tokens={decoding.max_new_tokens}"
        value = f"--run.sample_tokens={run.sample_tokens}"
        if decoding.max_new_tokens < run.sample_tokens:
            value += f", for {decoding.max_new_tokens} of which the context has room"
        raise UserError(str(error).replace(name, value)) from error
