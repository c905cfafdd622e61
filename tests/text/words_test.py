import random

import pytest
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.text.words import WordTokenizer, split_words

ENTRIES = ["\n", "the", "<unk>", "N", "天地", "the,"]


def words_by_hand(text: str) -> list[str]:
    """Character by character."""
    words, word = [], ""
    for character in text + " ":
        if character in " \t\r\f\v\n":
            words += [word] * bool(word) + ["\n"] * (character == "\n")
            word = ""
        else:
            word += character
    return words


def random_texts() -> list[str]:
    generator = random.Random(5)
    parts = [*ENTRIES, "other", " ", "  ", "\t", "\r\n", "\n\n", "\u3000", "\xa0", "\x1c", "\u2028"]
    return ["".join(generator.choices(parts, k=generator.randrange(12))) for _ in range(200)]


def test_words_stand_between_spaces_and_newlines_are_words():
    texts = [*random_texts(), " the  N \n\n<unk>", "", "\n"]
    expected = [
        [5 + ENTRIES.index(w) if w in ENTRIES else 1 for w in words_by_hand(text)] for text in texts
    ]
    assert WordTokenizer(ENTRIES).tokenize(tf.constant(texts)).to_list() == expected


def test_counting_in_python_splits_as_the_graph_does():
    for text in random_texts():
        assert split_words(text) == words_by_hand(text)


def test_single_spaces_come_back():
    tokenizer = WordTokenizer(ENTRIES)
    texts = ["the N <unk>\n天地 the\n\nN", "the,", "", "\n\n\n", "the\n"]
    assert tokenizer.detokenize(tokenizer.tokenize(tf.constant(texts))).numpy().tolist() == [
        t.encode() for t in texts
    ]


def test_unknown_words_are_dropped_from_the_text():
    tokenizer = WordTokenizer(ENTRIES)
    assert tokenizer.detokenize(
        tokenizer.tokenize(tf.constant(["the dog N"]))
    ).numpy().tolist() == [b"the N"]


@pytest.mark.parametrize(
    "text", ["the", "the N", "dog", "the.", "\n the", "天地", "天地\u3000", "\xa0"]
)
def test_a_word_is_parted_from_the_word_before_it(text):
    tokenizer = WordTokenizer(ENTRIES)
    tokens = [[0, 6, 8], [6, 5, 6], [5, 6, 0], [3, 0, 0], [0, 5, 5]]
    found = tokenizer.continue_texts(tf.constant([text] * 5), tf.constant(tokens))
    expected = [" the N", " the\nthe", "\nthe", "", "\n\n"]
    assert found.numpy().tolist() == [text.encode() for text in expected]


@pytest.mark.parametrize("text", ["", " ", "the ", "the\n", "dog\t", "the\r\n", "a\f", "a\v"])
def test_a_word_follows_white_space_without_another_space(text):
    found = WordTokenizer(ENTRIES).continue_texts(tf.constant([text] * 2), [[6, 8], [5, 6]])
    assert found.numpy().tolist() == [b"the N", b"\nthe"]


def test_bytes_that_are_no_text_end_with_a_word():
    found = WordTokenizer(ENTRIES).continue_texts(tf.constant([b"cut \xe4\xb8"]), [[6]])
    assert found.numpy().tolist() == [b" the"]


@pytest.mark.parametrize("entry", ["", "a b", "a\n", "\t", " a"])
def test_wrong_vocabularies_are_refused(entry):
    with pytest.raises(UserError, match=r"expected a list of different words"):
        WordTokenizer(["\n", entry])
