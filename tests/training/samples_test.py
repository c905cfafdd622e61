"""Prompts from the data, and the texts made of them; the generator is a stand-in."""

from types import SimpleNamespace

import pytest

from tests.support import tiny_models
from tests.support.data_files import text_split
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.runs.run_config import RunConfig
from tf_textgen.text.bytes import ByteTokenizer
from tf_textgen.training.samples import make_sampler


class Generator:
    tokenizer = source_tokenizer = ByteTokenizer()

    def leave_room(self, new_tokens):
        return min(new_tokens, 20)

    def check(self, decoding):
        if decoding.forced:
            raise UserError("--decoding.forced=('zebra',): expected words that the vocabulary has")
        self.checked = decoding

    def generate(self, prompts, decoding):
        self.asked = decoding
        return [SimpleNamespace(prompt=prompt, text=prompt.upper()) for prompt in prompts]


def test_given_prompts_and_one_short_text_each(tmp_path):
    split, _ = text_split(tmp_path, [b"unused"])
    generator = Generator()
    run = RunConfig(sample_prompt=("ab", "c"), sample_tokens=50)
    sampler = make_sampler(
        generator, run, DecodingConfig(num_samples=3, min_new_tokens=40, seed=7), split
    )
    assert sampler(5) == "--- ab\nAB\n--- c\nC"
    asked = generator.asked
    assert generator.checked == asked
    assert (asked.max_new_tokens, asked.min_new_tokens, asked.num_samples, asked.seed) == (
        20,
        20,
        1,
        7,
    )
    make_sampler(generator, run, DecodingConfig(beam_width=4, num_best=3), split)(5)
    assert (generator.asked.beam_width, generator.asked.num_best) == (4, 1)
    assert make_sampler(generator, RunConfig(samples=0), DecodingConfig(), split) is None
    lines = make_sampler(generator, RunConfig(sample_prompt=("a\nb",)), DecodingConfig(), split)
    assert lines(5) == "--- a\nb\n--> A\nB"


@pytest.mark.parametrize(("asked", "possible"), [(200, 200), (400, 256)])
def test_samples_are_as_long_as_asked_for(tmp_path, asked, possible):
    """Longer than what is generated if nobody said, but a prompt keeps half of the context."""
    split, _ = text_split(tmp_path, [b"unused"])
    # `train` makes its generator with this bound.
    generator = tiny_models.generator("transformer_lm", max_new_tokens=asked, max_positions=512)
    run = RunConfig(sample_tokens=asked)
    generator.generate = lambda prompts, decoding: lengths.append(decoding.max_new_tokens) or []
    lengths = []
    make_sampler(generator, run, DecodingConfig(), split)(1)
    assert lengths == [possible]


@pytest.mark.parametrize(
    ("asked", "came"),
    [(8, "sample_tokens=8: expected"), (40, "sample_tokens=40, for 16 of which .* room: expected")],
)
def test_a_forced_word_longer_than_a_sample_is_told_by_its_flag(tmp_path, asked, came):
    split, _ = text_split(tmp_path, [b"unused"])
    generator = tiny_models.generator("transformer_lm", max_positions=32)
    decoding = DecodingConfig(forced=("a word of 18 bytes",))
    with pytest.raises(
        UserError, match=f"^--run.{came} enough for the tokens of forced and forced_prefix"
    ):
        make_sampler(generator, RunConfig(sample_tokens=asked), decoding, split)


def test_what_the_generator_refuses_is_told_before_the_training(tmp_path):
    split, _ = text_split(tmp_path, [b"unused"])
    with pytest.raises(
        UserError, match=r"^--decoding.forced=\('zebra',\): expected words that the vocabulary has$"
    ):
        make_sampler(Generator(), RunConfig(), DecodingConfig(forced=("zebra",)), split)
