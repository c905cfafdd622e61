import dataclasses
import math
import pathlib
from typing import ClassVar

import pytest
from absl import flags

from tf_textgen.config import Config, define_flags, field, from_flags, override, required, to_flags
from tf_textgen.errors import UserError
from tf_textgen.optimizers.optimizer_config import OptimizerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample(Config):
    prefix: ClassVar[str] = "sample"
    count: int = field(3, "How many.", at_least=1, at_most=9)
    rate: float | None = field(None, "How fast.", above=0.0)
    kind: str = field("slow", "Which.", choices=("slow", "fast"))
    names: tuple[str, ...] = field((), "Which ones.")
    loud: bool = field(True, "Whether to shout.")
    ends: tuple[str, ...] = field((), "Where to end.", escapes=True)
    folder: str | None = field(None, "Where to write.", path=True)
    files: tuple[str, ...] = field((), "What to read.", path=True)
    size: int = field(required, "Follows from the data.", flag=False)


def parse(*arguments):
    values = flags.FlagValues()
    define_flags(Sample, values)
    values(["program", *arguments])
    return values


def test_a_string_is_no_tuple_of_strings():
    with pytest.raises(
        UserError,
        match=r"sample.names='one': this is a string; expected a tuple of them, \('one',\)",
    ):
        Sample(size=1, names="one")
    assert Sample(size=1, names=("one",)).names == ("one",)


def test_flags_make_the_configuration():
    values = parse(
        "--sample.count=4",
        "--sample.names=a",
        "--sample.names=b",
        "--nosample.loud",
        "--sample.rate=0.5",
    )
    assert from_flags(Sample, values, size=7) == Sample(
        count=4, names=("a", "b"), loud=False, rate=0.5, size=7
    )


def test_flags_of_paths_expand_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/someone")
    flagfile = tmp_path / "recipe.flags"
    flagfile.write_text("--sample.folder=~/runs/a b\n")
    arguments = ["--sample.files=~/*.txt", "--sample.files=./~", "--sample.files=gs://b/~"]
    read = from_flags(Sample, parse(f"--flagfile={flagfile}", *arguments), size=7)
    assert read.folder == "/home/someone/runs/a b"
    assert read.files == ("/home/someone/*.txt", "./~", "gs://b/~")
    assert from_flags(Sample, parse("--sample.names=~"), size=7).names == ("~",)
    assert from_flags(Sample, parse(), size=7) == Sample(size=7)


def test_flagfile_lines_give_the_configuration_again():
    config = Sample(count=4, names=("a", "b c"), loud=False, kind="fast", rate=1e-7, size=7)
    assert from_flags(Sample, parse(*to_flags(config)), size=7) == config
    assert to_flags(Sample(size=7)) == []


def test_any_text_survives_the_flagfile(tmp_path: pathlib.Path):
    ends = (
        "\n",
        "a\r\n\tb ",
        "\\n",
        "\\",
        " x\u3000",
        "\u2028\x00",
        "从前\U0001f600\U000e0001",
        "C:\\x",
        "# no comment",
    )
    config = Sample(ends=ends, size=7)
    path = tmp_path / "recipe.flags"
    path.write_text("\n".join(to_flags(config)) + "\n", encoding="utf-8")
    assert from_flags(Sample, parse(f"--flagfile={path}"), size=7) == config
    assert override(Sample(size=7), parse(r"--sample.ends=a\nb")).ends == ("a\nb",)


@pytest.mark.parametrize("text", [r"a\q", "a\\", r"\x4", r"\ud800"])
def test_an_escape_without_meaning_is_told(text: str):
    with pytest.raises(
        UserError, match=r"--sample\.ends=.*a backslash before .*; expected n, t, r"
    ):
        from_flags(Sample, parse(f"--sample.ends={text}"), size=7)


@pytest.mark.parametrize("name", ["a\nb", "a ", "a\r"])
def test_what_a_flagfile_would_lose_is_refused(name: str):
    with pytest.raises(
        UserError, match=r"--sample\.names=.*expected no line end and no space at its end"
    ):
        to_flags(Sample(names=(name,), size=7))


def test_json_round_trip_and_unknown_field():
    config = Sample(names=("a",), size=1)
    assert Sample.from_json(config.to_json()) == config
    with pytest.raises(UserError, match=r"unknown field 'sample\.cuont'.*did you mean 'count'"):
        Sample.from_json({"cuont": 3, "size": 1})


def test_override_takes_only_what_was_given():
    assert override(Sample(count=5, kind="fast", size=2), parse("--sample.count=3")) == Sample(
        count=3, kind="fast", size=2
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, r"--sample.count=0: expected a value at least 1 and at most 9"),
        ({"rate": 0.0}, r"--sample.rate=0: expected a value above 0"),
        ({"rate": math.nan}, r"--sample.rate=nan: expected a finite value above 0"),
        (
            {"kind": "fats"},
            r"--sample.kind=fats: expected one of slow, fast; did you mean 'fast'\?",
        ),
    ],
)
def test_bad_values_are_told_in_one_line(values, message):
    with pytest.raises(UserError, match=message):
        Sample(size=1, **values)


@pytest.mark.parametrize("values", [{"count": "three"}, {}, {"rate": [1.0]}])
def test_json_of_other_types_is_told(values: dict):
    with pytest.raises(UserError, match=r"a configuration of 'sample' is damaged"):
        Sample.from_json({"size": 1, **values} if values else values)


def test_a_configuration_that_is_no_object_is_told():
    with pytest.raises(
        UserError,
        match="a configuration of 'optimizer' is damaged: expected an object, not a list",
    ):
        OptimizerConfig.from_json([1])
