import subprocess
import sys

import pytest

from tf_textgen.errors import UserError
from tf_textgen.text.tokenizer_config import TokenizerConfig


def test_imports_no_tensorflow():
    code = "import sys, tf_textgen.text.tokenizer_config; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_json_round_trip():
    config = TokenizerConfig(kind="words", minimum_frequency=3)
    assert TokenizerConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "word"}, r"--tokenizer.kind=word: expected one of .*did you mean 'words'"),
        (
            {"algorithm": "wordpiece"},
            r"--tokenizer.algorithm=wordpiece: expected one of unigram, bpe",
        ),
        ({"vocabulary_size": 6}, r"--tokenizer.vocabulary_size=6: expected a value at least 7"),
        ({"minimum_frequency": 0}, r"--tokenizer.minimum_frequency=0"),
        (
            {"character_coverage": 1.5},
            r"character_coverage=1.5: expected a value at least 0.98 and at most 1",
        ),
        (
            {"character_coverage": 0.9},
            r"--tokenizer.character_coverage=0.9: expected a value at least 0.98",
        ),
        (
            {"symbols": ("<A>",), "kind": "characters"},
            r"symbols=<A> with --tokenizer.kind=characters: .*or words",
        ),
        (
            {"symbols": ("<A>",), "kind": "bytes"},
            r"symbols=<A> with --tokenizer.kind=bytes: expected sentencepiece or",
        ),
        (
            {"symbols": ("<A>", "<A>")},
            r"--tokenizer.symbols=<A>: expected different strings without white space",
        ),
        (
            {"symbols": ("a b",)},
            r"--tokenizer.symbols=a b: expected different strings without white space",
        ),
        ({"symbols": ("",)}, r"--tokenizer.symbols=: expected different strings"),
        (
            {"symbols": ("</s>",)},
            r"--tokenizer.symbols=</s>: .*none of <pad>, <unk>, <s>, </s>, <sep>; choose another",
        ),
        (
            {"symbols": ("<A>",), "vocabulary_size": 7},
            r"size=7 with 1 symbols: expected at least 8; raise it",
        ),
        ({"sample_bytes": 10}, r"--tokenizer.sample_bytes=10: expected a value at least 1000"),
    ],
)
def test_bad_values_are_named(fields, message):
    with pytest.raises(UserError, match=message):
        TokenizerConfig(**fields)
