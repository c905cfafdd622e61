"""Prompts that are taken from a split."""

from types import SimpleNamespace

from tests.support.data_files import pairs_split, text_split
from tf_textgen.judging.examples import prompts_from
from tf_textgen.text.bytes import ByteTokenizer

GENERATOR = SimpleNamespace(tokenizer=ByteTokenizer(), source_tokenizer=ByteTokenizer())


def test_prompts_are_beginnings_of_text_from_all_over_it(tmp_path):
    split, _ = text_split(tmp_path, ["一二三四五六".encode(), b"quick brown fox jumps"])
    # `<s>`, 18 bytes and `</s>` are 20 of the stream's 43 tokens; a cut character and a space at
    # the end go.
    assert prompts_from(split, GENERATOR, 2) == ["一二三", "quick brown"]
    assert prompts_from(split, GENERATOR, 0) == []


def test_prompts_are_sources_of_pairs(tmp_path):
    split, _ = pairs_split(
        tmp_path, [(b"one", b"1"), (b"two", b"2"), (b"three", b"3"), (b"four", b"4")]
    )
    assert prompts_from(split, GENERATOR, 2) == ["one", "three"]
    assert len(prompts_from(split, GENERATOR, 9)) == 4
