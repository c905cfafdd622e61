import random

import pytest

from tf_textgen.server.text_offsets import text_offsets

PART = "\ufffd"


@pytest.mark.parametrize(
    ("text", "tokens", "offsets"),
    [
        # A tokenizer of words, after a word, after white space, and with line breaks.
        (" on the mat", ["on", "the", "mat"], [1, 4, 8]),
        ("on the mat", ["on", "the", "mat"], [0, 3, 7]),
        (" a\nthe\n\na b", ["a", "\n", "the", "\n", "\n", "a", "b"], [1, 2, 3, 6, 7, 8, 10]),
        ("\na", ["\n", "a"], [0, 1]),
        # Pieces that contain their spaces.
        (" on  the", [" on", " ", " the"], [0, 3, 4]),
        # Characters in bytes.
        ("é🙂 sat", [PART] * 6 + list(" sat"), [0, 0, 1, 1, 1, 1, 2, 3, 4, 5]),
        ("aéb", ["a", PART, PART, "b"], [0, 1, 1, 2]),
        ("ééa", [PART, PART, "é", "a"], [0, 0, 1, 2]),
        # U+FFFD as a character, and bytes that are no character.
        ("a\ufffdb", ["a", PART, "b"], [0, 1, 2]),
        ("\ufffd\ufffda", [PART, PART, "a"], [0, 1, 2]),
        ("\ufffda", [PART, PART, PART, "a"], [0, 0, 0, 1]),
        ("\ufffdéa", [PART] * 4 + ["a"], [0, 0, 1, 1, 2]),
        ("x\ufffdy z", ["x\ufffdy", " z"], [0, 3]),
        ("ab\ufffd", ["a", "b", PART, PART], [0, 1, 2, 2]),
        ("", [], []),
    ],
)
@pytest.mark.parametrize("has_end", [False, True])
def test_a_token_is_at_its_first_character(text, tokens, offsets, has_end):
    if has_end:
        assert text_offsets(text, [*tokens, "</s>"], "eos") == [*offsets, len(text)]
    else:
        assert text_offsets(text, tokens, "length") == offsets


@pytest.mark.parametrize(
    ("text", "tokens", "offsets"),
    [
        ("ab", ["a", "b", "c", "d"], [0, 1, 2, 2]),
        (" the c", ["the", "cat", "sat"], [1, 5, 6]),
        (" the ", ["the", "cat", "sat"], [1, 5, 5]),
        ("", ["the", "cat"], [0, 0]),
        ("é", [PART] * 4 + ["!"], [0, 0, 1, 1, 1]),
        ("\ufffd", [PART] * 3, [0, 1, 1]),
    ],
)
def test_tokens_of_a_stop_string_are_at_the_end(text, tokens, offsets):
    assert text_offsets(text, tokens, "stop") == offsets


def test_an_end_token_that_is_a_word_is_in_the_text():
    assert text_offsets(" a </s>", ["a", "</s>"], "length") == [1, 3]


def test_random_bytes_are_at_the_characters_that_contain_them():
    """Oracle: the index of each character by its own encoding."""
    rng = random.Random(3)
    for _ in range(300):
        text = "".join(rng.choices("ab \n\x7fßé字🙂\u0301", k=rng.randrange(12)))
        expected = [i for i, character in enumerate(text) for _ in character.encode()]
        tokens = [bytes([byte]).decode(errors="replace") for byte in text.encode()]
        assert text_offsets(text, tokens, "length") == expected


def test_ascii_is_found_among_bytes_that_are_no_characters():
    rng = random.Random(4)
    for _ in range(300):
        written = bytes(rng.choices(b"ab \x80\xbf\xc3\xa9\xe5\xad\x97\xf0\x9f\xff", k=20))
        text = written.decode(errors="replace")
        tokens = [bytes([byte]).decode(errors="replace") for byte in written]
        offsets = text_offsets(text, tokens, "length")
        assert offsets == sorted(offsets)
        for token, offset in zip(tokens, offsets, strict=True):
            assert text[offset] == token if token.isascii() else not text[offset].isascii()


def test_offsets_are_within_any_text():
    for tokens in (["ab", "c"], [PART] * 5, ["", "a"]):
        for offset in text_offsets("x", tokens, "length"):
            assert 0 <= offset <= 1
