import json
import tracemalloc

import numpy as np
import pytest

from tf_textgen.errors import UserError
from tf_textgen.text import TokenizerConfig, build_tokenizer, load_tokenizer
from tf_textgen.text.tokenizer import _fingerprint
from tf_textgen.text.vocabulary import sample_text


def ordinary(tokenizer):
    return [piece.decode() for piece in tokenizer.pieces.numpy()[5:]]


def test_characters_by_frequency_then_alphabet():
    config = TokenizerConfig(kind="characters", vocabulary_size=9)
    assert ordinary(build_tokenizer(config, ["bbbb aaaa", "中中中中中", "z"])) == [
        "\n",
        "中",
        "a",
        "b",
    ]


def test_minimum_frequency():
    documents = ["one two two", b"three three three", "two\n"]
    assert ordinary(build_tokenizer(TokenizerConfig(kind="words"), documents)) == [
        "\n",
        "three",
        "two",
        "one",
    ]
    config = TokenizerConfig(kind="words", minimum_frequency=3)
    assert ordinary(build_tokenizer(config, documents)) == ["\n", "three", "two"]
    with pytest.raises(
        UserError,
        match=r"minimum_frequency=9: none of the text's words is as frequent; set at most 3",
    ):
        build_tokenizer(TokenizerConfig(kind="words", minimum_frequency=9), documents)


def test_a_text_of_symbols_alone_is_an_error():
    config = TokenizerConfig(kind="words", symbols=("<A>", "yes"))
    with pytest.raises(
        UserError,
        match=r"only newlines and the symbols <A>, yes: expected words to make a voc",
    ):
        build_tokenizer(config, ["yes <A>\n", "yes"])


def test_invalid_text_counts_as_the_replacement_character():
    config = TokenizerConfig(kind="characters")
    assert ordinary(build_tokenizer(config, [b"\xff", "\ud800"])) == ["\n", "?", "\ufffd"]


@pytest.mark.parametrize("kind", ["words", "characters", "sentencepiece"])
@pytest.mark.parametrize("documents", [[], [""], [b"", "\n \n"]])
def test_no_text_is_named(kind, documents):
    with pytest.raises(UserError, match=r"there is no text to build a vocabulary from"):
        build_tokenizer(TokenizerConfig(kind=kind), documents)


def test_bytes_read_no_text():
    def documents():
        raise AssertionError
        yield ""

    assert build_tokenizer(TokenizerConfig(kind="bytes"), documents()).vocabulary_size == 261


def test_one_document_instead_of_many_is_named():
    with pytest.raises(UserError, match=r"expected many documents, got one str; put it in a list"):
        build_tokenizer(TokenizerConfig(kind="words"), "some text")
    with pytest.raises(UserError, match=r"a document is of type int; expected bytes or str"):
        build_tokenizer(TokenizerConfig(kind="words"), [1])


def test_a_sample_of_little_text_is_all_of_it():
    documents = ["one line\nanother", "天地" * 3_000, "", "x " * 5_000 + "end\n"]
    assert "".join(sample_text(documents, 100_000, 0)).replace("\n", "") == "".join(
        documents
    ).replace("\n", "")


def test_words_are_cut_only_where_they_are_longer_than_a_block():
    text = " ".join(f"word{number}" for number in range(3_000))
    assert " ".join(sample_text([text], 1_000_000, 0)).split() == text.split()


@pytest.mark.parametrize(
    "documents", [[f"{number}\n" for number in range(20_000)], ["天" * 100_000]]
)
def test_a_sample_keeps_within_its_bytes_and_depends_on_the_seed_alone(documents):
    sample = sample_text(iter(documents), 5_000, seed=1)
    assert 2_500 < sum(len(block.encode()) for block in sample) <= 5_000
    assert sample == sample_text(documents, 5_000, seed=1)
    if len(documents) > 1:
        assert sample != sample_text(documents, 5_000, seed=2)


def test_a_sample_is_even():
    """Every tenth of the text gives about a tenth of the samples: 200 draws, 4 standard
    deviations.
    """
    documents = [f"{number:06d}\n" for number in range(10_000)]
    tenths = np.zeros(10)
    for seed in range(200):
        numbers = [
            int(line) for block in sample_text(documents, 2_000, seed) for line in block.split()
        ]
        tenths += np.bincount(np.array(numbers) // 1_000, minlength=10) / len(numbers)
    shares = tenths / tenths.sum()
    blocks = 200 * 2_000 / 64
    np.testing.assert_allclose(shares, 0.1, atol=4 * np.sqrt(0.09 / blocks))


def test_a_sample_takes_bounded_memory():
    line = "some line of text, number {}\n"
    tracemalloc.start()
    sample_text((line.format(number) for number in range(60_000)), 50_000, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000  # of 1.9 MB


def test_load_refuses_unknown_kinds_and_missing_files(tmp_path):
    def describe(kind):
        description = {
            "format_version": 1,
            "kind": kind,
            "files": [],
            "fingerprint": _fingerprint(kind, {}),
        }
        (tmp_path / "tokenizer.json").write_text(json.dumps(description))

    describe("word")
    with pytest.raises(UserError, match=r"unknown kind 'word'; did you mean 'words'"):
        load_tokenizer(tmp_path)
    describe("words")
    with pytest.raises(UserError, match=r"names no file 'vocabulary.json'"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("kind", ["sentencepiece", "words"])
def test_symbols_are_one_token_each(kind):
    config = TokenizerConfig(kind=kind, vocabulary_size=277, symbols=("<A>", "姓名:"))
    tokenizer = build_tokenizer(config, ["one two <three> four"] * 3)
    texts = ["<A> one\n姓名: two", "<A>"]
    tokens = tokenizer.tokenize(texts)
    assert [text.decode() for text in tokenizer.detokenize(tokens).numpy()] == texts
    pieces = [piece.decode() for piece in tokenizer.pieces.numpy()[tokens.flat_values.numpy()]]
    assert pieces.count("<A>") == 2 and pieces.count("姓名:") == 1
    assert tokens.row_lengths().numpy()[1] == 1
