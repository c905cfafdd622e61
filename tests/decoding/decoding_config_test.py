import dataclasses
import math
import subprocess
import sys

import pytest
from absl import flags

from tf_textgen.config import define_flags, from_flags, to_flags
from tf_textgen.decoding.decoding_config import (
    DecodingConfig,
    check_against_source,
    check_against_vocabulary,
)
from tf_textgen.decoding.length_penalty import LengthPenalty
from tf_textgen.decoding.parameter_table import sample_seed
from tf_textgen.errors import UserError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": -1.0}, "--decoding.temperature=-1: expected a value at least 0"),
        (
            {"temperature": math.nan},
            "--decoding.temperature=nan: expected a finite value at least 0",
        ),
        ({"temperature": math.inf}, "--decoding.temperature=inf: expected a finite value"),
        ({"top_k": -1}, "--decoding.top_k=-1: expected a value at least 0"),
        ({"top_p": 0.0}, "--decoding.top_p=0: expected a value at most 1 and above 0"),
        ({"top_p": 1.5}, "--decoding.top_p=1.5: expected a value at most 1 and above 0"),
        ({"min_p": 1.5}, "--decoding.min_p=1.5: expected a value at least 0 and at most 1"),
        ({"repetition_penalty": 0.0}, "--decoding.repetition_penalty=0: expected a value above 0"),
        (
            {"repetition_penalty": math.inf},
            "--decoding.repetition_penalty=inf: expected a finite value",
        ),
        ({"max_new_tokens": 0}, "--decoding.max_new_tokens=0: expected a value at least 1"),
        ({"min_new_tokens": -1}, "--decoding.min_new_tokens=-1: expected a value at least 0"),
        (
            {"min_new_tokens": 9, "max_new_tokens": 8},
            "--decoding.min_new_tokens=9: expected at most --decoding.max_new_tokens=8",
        ),
        ({"num_samples": 0}, "--decoding.num_samples=0: expected a value at least 1"),
        ({"seed": 2**63}, "--decoding.seed=9223372036854775808: expected a value"),
        ({"typical_p": 0.0}, "--decoding.typical_p=0: expected a value at most 1 and above 0"),
        (
            {"epsilon_cutoff": 1.0},
            "--decoding.epsilon_cutoff=1: expected a value at least 0 and below 1",
        ),
        (
            {"eta_cutoff": math.nan},
            "--decoding.eta_cutoff=nan: expected a finite value at least 0 and below 1",
        ),
        (
            {"frequency_penalty": 2.5},
            "--decoding.frequency_penalty=2.5: expected a value at least -2 and at most 2",
        ),
        (
            {"presence_penalty": -2.5},
            "--decoding.presence_penalty=-2.5: expected a value at least -2 and at most 2",
        ),
        (
            {"presence_penalty": -1e-300},
            "--decoding.presence_penalty=-1e-300: expected a value of 1.2e-38 to",
        ),
        ({"no_repeat_ngram": -1}, "--decoding.no_repeat_ngram=-1: expected a value at least 0"),
        (
            {"loop_repeats": 1},
            "--decoding.loop_repeats=1 would end every text; expected at least 2, or 0",
        ),
        ({"min_length_ratio": -1.0}, "--decoding.min_length_ratio=-1: expected a value at least 0"),
        (
            {"max_length_ratio": math.inf},
            "--decoding.max_length_ratio=inf: expected a finite value",
        ),
        (
            {"min_length_ratio": 2.0, "max_length_ratio": 1.5},
            "--decoding.min_length_ratio=2.0: expected at most --decoding.max_length_ratio=1.5",
        ),
        ({"banned": ("",)}, "--decoding.banned='': expected a text that is not empty"),
        ({"banned": ("a",) * 257}, "--decoding.banned: 257 strings, expected at most 256"),
        ({"forced": ("字" * 22,)}, "66 bytes, expected at most 64"),
        ({"forced": ("a",) * 17}, "--decoding.forced: 17 strings, expected at most 16"),
        ({"allowed": ("a", "")}, "--decoding.allowed='': expected a text that is not empty"),
        (
            {"forced": ("a cat",), "banned": ("dog", "cat")},
            "--decoding.forced='a cat' contains 'cat' of --decoding.banned; leave one",
        ),
        (
            {"forced_prefix": "a cat", "banned": ("cat",)},
            "--decoding.forced_prefix='a cat' contains 'cat' of --decoding.banned; leave one",
        ),
        (
            {"forced": (" cat ",), "banned": ("cat",)},
            "--decoding.forced=' cat ' contains 'cat' of --decoding.banned",
        ),
        (
            {"forced": (" a cat",), "banned": (" a cat",)},
            "--decoding.forced=' a cat' contains ' a cat' of --decoding.bann",
        ),
        (
            {"forced_prefix": "其他", "banned": ("其他",)},
            "--decoding.forced_prefix='其他' contains '其他' of --decoding.",
        ),
        (
            {"forced": ("a\nb",), "stop": ("\n",)},
            r"--decoding.forced='a\nb' contains '\n' of --decoding.stop; leave one",
        ),
        ({"stop": ("",)}, "--decoding.stop='': expected a text that is not empty"),
        (
            {"stop": ("a\x1fb",)},
            r"--decoding.stop='a\x1fb': expected a text that is not empty and has no '\x1f'",
        ),
        ({"stop": ("字" * 90,)}, "270 bytes, expected at most 256"),
        ({"stop": ("a",) * 17}, "--decoding.stop: 17 strings, expected at most 16"),
        ({"beam_width": 0}, "--decoding.beam_width=0: expected a value at least 1"),
        ({"num_best": 2}, "--decoding.num_best=2: expected at most --decoding.beam_width=1"),
        (
            {"length_penalty": "gnm"},
            "--decoding.length_penalty=gnm: expected one of none, gnmt, average; did you mean",
        ),
        (
            {"length_penalty_alpha": -0.1},
            "--decoding.length_penalty_alpha=-0.1: expected a value at least 0 and at",
        ),
        (
            {"length_penalty_alpha": 11.0},
            "--decoding.length_penalty_alpha=11: expected a value at least 0 and at most 10",
        ),
        (
            {"beam_width": 4, "temperature": 0.7},
            "--decoding.beam_width=4 and --decoding.temperature=0.7 contradict each other: a beam "
            "search does not sample; expected --decoding.temperature=0 or no beam",
        ),
        ({"beam_width": 4, "temperature": 1.0}, "expected --decoding.temperature=0 or no beam"),
        ({"beam_width": 4, "top_k": 5}, "expected --decoding.top_k=0 or no beam"),
        ({"beam_width": 4, "top_p": 0.5}, "expected --decoding.top_p=1 or no beam"),
        ({"beam_width": 4, "min_p": 0.5}, "expected --decoding.min_p=0 or no beam"),
        ({"beam_width": 4, "num_samples": 3}, "expected --decoding.num_samples=1 or no beam"),
    ],
)
def test_bad_values(values, message):
    with pytest.raises(UserError) as error:
        DecodingConfig(**values)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "values",
    [
        {"banned": ("he",), "forced": ("the",)},
        {"banned": ("cat ", "  cat"), "forced": ("a cat",)},
        {"banned": ("他",), "forced_prefix": "其他"},
        {"banned": (" ",), "forced": ("a b",)},
    ],
)
def test_what_may_be_written_by_other_tokens_is_not_refused(values):
    DecodingConfig(**values)


def test_help_says_what_a_beam_reads():
    helps = {field.name: field.metadata["help"] for field in dataclasses.fields(DecodingConfig)}
    assert helps["seed"].startswith("Without a beam: ")
    for name in LengthPenalty._fields:
        assert helps[name].startswith("With a beam: ")


def test_top_k_against_the_vocabulary():
    check_against_vocabulary(DecodingConfig(top_k=50), 50)
    with pytest.raises(
        UserError,
        match=r"--decoding.top_k=51: expected at most 50, the size of the vocabulary; 0 keeps",
    ):
        check_against_vocabulary(DecodingConfig(top_k=51), 50)


def test_ratios_want_a_source():
    check_against_source(DecodingConfig(max_length_ratio=2.0), True)
    check_against_source(DecodingConfig(), False)
    message = (
        r"--decoding.max_length_ratio=2.0: this model continues texts and has no source; leave it "
        r"out, or set "
        "max_new_tokens"
    )
    with pytest.raises(UserError, match=message):
        check_against_source(DecodingConfig(max_length_ratio=2.0), False)


@pytest.mark.parametrize(
    "name", ["no_repeat_ngram", "loop_repeats", "max_new_tokens", "num_samples"]
)
@pytest.mark.parametrize("value", [2**20 + 1, 3_000_000_000, 10**30])
def test_numbers_of_tokens_have_an_end(name, value):
    with pytest.raises(
        UserError,
        match=rf"--decoding.{name}={value}: expected a value at least [01] and at most 1048576",
    ):
        DecodingConfig(**{name: value})


def test_beam_against_the_vocabulary():
    check_against_vocabulary(DecodingConfig(beam_width=50), 50)
    with pytest.raises(
        UserError,
        match=r"--decoding.beam_width=51: expected at most 50, the size of the vocabulary",
    ):
        check_against_vocabulary(DecodingConfig(beam_width=51), 50)


def test_a_temperature_that_nobody_chose_is_that_of_the_search():
    assert DecodingConfig().resolved_temperature == 1.0
    assert DecodingConfig(beam_width=4).resolved_temperature == 0.0
    assert DecodingConfig(beam_width=4, temperature=0.0).resolved_temperature == 0.0
    assert DecodingConfig(temperature=0.3).resolved_temperature == 0.3
    before_beams = {"temperature": 1.0, "top_k": 40, "stop": ["a"]}
    assert DecodingConfig.from_json(before_beams) == DecodingConfig(
        temperature=1.0, top_k=40, stop=("a",)
    )


def test_samples_have_seeds_of_their_own():
    seeds = [
        sample_seed(seed, sample) for seed in (1, 2, 2**63 - 1, -(2**63)) for sample in range(4)
    ]
    assert seeds[::4] == [1, 2, 2**63 - 1, -(2**63)]
    assert len({*seeds}) == len(seeds)
    assert all(-(2**63) <= seed < 2**63 for seed in seeds)
    assert all(abs(seed) > 1e9 for seed in seeds[1:4])


def test_json_and_flags_round_trip():
    config = DecodingConfig(
        temperature=0.5, stop=("\n", "字"), seed=-1, forced=(" cat ",), forced_prefix=" \ta "
    )
    check_round_trip(config)
    config = DecodingConfig(
        beam_width=4, num_best=2, length_penalty="average", length_penalty_alpha=1.0, seed=-1
    )
    check_round_trip(config)


def check_round_trip(config):
    assert DecodingConfig.from_json(config.to_json()) == config
    flag_values = flags.FlagValues()
    define_flags(DecodingConfig, flag_values)
    flag_values(["program", *to_flags(config)])
    assert from_flags(DecodingConfig, flag_values) == config


def test_imports_no_tensorflow():
    code = "import sys, tf_textgen.decoding.decoding_config; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
