"""Sources with their references."""

import gzip

import pytest

from tests.support.data_files import write
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.references import read_examples
from tf_textgen.errors import UserError


def test_rows_with_one_source_are_one_example(tmp_path):
    path = write(tmp_path / "x.tsv", "go\tva\ngo\tallez\n\nhi\tsalut\ngo\tpars\n")
    config = DataConfig(test=(path,), format="tsv")
    assert read_examples(config, "test") == [
        ("go", ("va", "allez")),
        ("hi", ("salut",)),
        ("go", ("pars",)),
    ]
    assert read_examples(config, "test", part=slice(-2, None)) == [
        ("hi", ("salut",)),
        ("go", ("pars",)),
    ]


def test_further_columns(tmp_path):
    path = str(tmp_path / "x.tsv.gz")
    with gzip.open(path, "wb") as file:
        file.write("1\tété\tone\ttwo\t\n2\tb\tc\n".encode())
    config = DataConfig(test=(path,), format="tsv", source_column=2, target_column=3)
    assert read_examples(config, "test", further_columns=True) == [
        ("été", ("one", "two")),
        ("b", ("c",)),
    ]
    assert read_examples(config, "test") == [("été", ("one",)), ("b", ("c",))]


def test_a_source_right_of_its_target_is_no_reference(tmp_path):
    path = write(tmp_path / "x.tsv", "one\tété\ttwo\nc\tb\n")
    config = DataConfig(test=(path,), format="tsv", source_column=2, target_column=1)
    assert read_examples(config, "test", further_columns=True) == [
        ("été", ("one", "two")),
        ("b", ("c",)),
    ]
    same = DataConfig(test=(path,), format="tsv", source_column=2, target_column=2)
    assert read_examples(same, "test", further_columns=True) == [
        ("été", ("été", "two")),
        ("b", ("b",)),
    ]


def test_a_part_is_of_pairs_with_text_on_both_sides(tmp_path):
    path = write(tmp_path / "x.tsv", "a\tA\nb\tB\n\tC\nd\tD\n")
    config = DataConfig(test=(path,), format="tsv")
    for further in (False, True):
        assert read_examples(config, "test", part=slice(-2, None), further_columns=further) == [
            ("b", ("B",)),
            ("d", ("D",)),
        ]


def test_parallel_files_and_blank_sides(tmp_path):
    sides = (write(tmp_path / "x", "a\n\nb\nc\n"), write(tmp_path / "y", "A\nB\n \nC\n"))
    config = DataConfig(valid=(sides[0],), valid_target=(sides[1],), format="parallel")
    assert read_examples(config, "valid") == [("a", ("A",)), ("c", ("C",))]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (
            "a\tb\nc\n",
            {"further_columns": True},
            r"x.tsv:2: 1 tab-separated column, expected at least 2 .*_column=2",
        ),
        ("a\tb\nc\n", {}, r"x.tsv:2: 1 tab-separated column, expected at least 2"),
        (
            "a\t\n\tb\n",
            {"further_columns": True},
            "no pair has text on both sides; check the columns",
        ),
        (
            "a\t\n\tb\n",
            {},
            "all 2 pairs have an empty source or target: expected texts on both sides",
        ),
    ],
)
def test_bad_rows(tmp_path, content, options, message):
    config = DataConfig(test=(write(tmp_path / "x.tsv", content),), format="tsv")
    with pytest.raises(UserError, match=message):
        read_examples(config, "test", **options)


def test_further_columns_are_of_tsv_files(tmp_path):
    path = write(tmp_path / "x", "a\n")
    config = DataConfig(test=(path,), test_target=(path,), format="parallel")
    with pytest.raises(
        UserError,
        match=r"--further_references with --data.format=parallel: expected --data.format=tsv",
    ):
        read_examples(config, "test", further_columns=True)
