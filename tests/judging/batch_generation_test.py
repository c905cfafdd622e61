"""Texts of many prompts: their order, their batches, their seeds and the progress."""

import io
from types import SimpleNamespace

import pytest

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.judging import batch_generation
from tf_textgen.judging.batch_generation import generate_all

PROMPTS = ["bb", "a", "猫猫", "dddd", "a"]


class Generator:
    def __init__(self, *, is_pair):
        self.is_pair = is_pair
        self.batches = []
        self.seeds = []

    def generate(self, prompts, decoding, *, batch_size, seeds):
        self.batches.append(prompts)
        self.seeds.append(seeds)
        return [SimpleNamespace(prompt=prompt, text=prompt.upper()) for prompt in prompts]


def test_the_longest_are_first_and_the_order_is_that_of_the_prompts():
    generator = Generator(is_pair=True)
    found = generate_all(generator, PROMPTS, DecodingConfig(), batch_size=2, output=io.StringIO())
    assert [text.text for text in found] == ["BB", "A", "猫猫", "DDDD", "A"]
    # Lengths are those of the bytes.
    assert generator.batches == [["猫猫", "dddd"], ["bb", "a"], ["a"]]
    assert generator.seeds == [None, None, None]


def test_equal_prompts_of_text_have_their_own_seeds():
    generator = Generator(is_pair=False)
    decoding = DecodingConfig(seed=7)
    generate_all(generator, PROMPTS, decoding, batch_size=2, output=io.StringIO())
    seeds = [seed for batch in generator.seeds for seed in batch]
    assert len(set(seeds)) == len(PROMPTS) and 7 in seeds
    again = Generator(is_pair=False)
    generate_all(again, PROMPTS, decoding, batch_size=5, output=io.StringIO())
    assert again.seeds == [seeds], "a text does not depend on its batch"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("seconds", "lines"), [(10.0, [5]), (0.0, [2, 4, 5])])
def test_progress_in_a_file_is_a_line_now_and_then(monkeypatch, seconds, lines):
    monkeypatch.setattr(batch_generation, "_PROGRESS_SECONDS", seconds)
    output = io.StringIO()
    generate_all(Generator(is_pair=True), PROMPTS, DecodingConfig(), batch_size=2, output=output)
    shown = [line.split(", ")[0] for line in output.getvalue().splitlines()]
    assert shown == [f"generated {done} of 5 texts" for done in lines]


def test_progress_on_a_terminal_is_redrawn():
    output = Terminal()
    generate_all(Generator(is_pair=True), PROMPTS, DecodingConfig(), batch_size=2, output=output)
    text = output.getvalue()
    assert text.count("\r") == 3 and text.count("\n") == 1 and text.endswith("a second\n")
