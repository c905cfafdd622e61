"""The texts that a run learned to write, against the files and the split of the training."""

from types import SimpleNamespace

import pytest

from tf_textgen.data.data_config import DataConfig
from tf_textgen.judging.training_texts import training_texts
from tf_textgen.text import build_tokenizer
from tf_textgen.text.tokenizer_config import TokenizerConfig


@pytest.mark.parametrize(
    ("options", "first", "last"),
    [
        ({}, 3, 8),  # but for the pair that validates; nobody learned the over-long ones
        ({"validation_fraction": 0.0}, 3, 9),
        ({"valid": True}, 3, 9),
        ({"validation_fraction": 0.0, "over_long": "cut"}, 0, 9),
    ],
)
def test_what_was_learned_of_pairs(tmp_path, options, first, last):
    targets = ["a b c d"] * 3 + [f"{letter} b c" for letter in "uvwxyz"]
    path = tmp_path / "train.tsv"
    path.write_text("".join(f"a\t{target}\n" for target in targets))
    options = {**options, "valid": (str(path),)} if "valid" in options else options
    data = DataConfig(
        train=(str(path),), format="tsv", max_target_tokens=3, cache_dir=str(tmp_path), **options
    )
    tokenizer = build_tokenizer(TokenizerConfig(kind="words"), ["a b"])
    run = SimpleNamespace(data=data, tokenizer=tokenizer, source_tokenizer=None)
    assert list(training_texts(run)) == targets[first:last]
