import json

import pytest
import tensorflow as tf

from tf_textgen.errors import UserError
from tf_textgen.text.characters import CharacterTokenizer

ENTRIES = ["\n", "a", "中", "😀", "\u0301", "\0", "\ufeff"]


def test_code_points_have_ids_in_order_and_others_are_unknown():
    tokenizer = CharacterTokenizer(ENTRIES)
    texts = ["".join(ENTRIES), "xa\u00e1", "\ufeffa"]
    expected = [[5 + ENTRIES.index(c) if c in ENTRIES else 1 for c in text] for text in texts]
    assert tokenizer.tokenize(tf.constant(texts)).to_list() == expected
    assert tokenizer.detokenize(tf.ragged.constant(expected)).numpy().tolist() == [
        "".join(c for c in text if c in ENTRIES).encode() for text in texts
    ]


def test_the_file_is_a_json_list_to_read():
    assert json.loads(CharacterTokenizer(ENTRIES).files()["vocabulary.json"]) == ENTRIES


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["a", "bc"], r"contains 'bc'; expected a list of different characters"),
        (["a", ""], r"contains ''"),
        (["\ud800"], r"contains '\\ud800'"),
        ([7], r"contains 7"),
        (["b", "a", "b"], r"contains 'b' twice"),
        ({"a": 1}, r"is a dict; expected a list"),
    ],
)
def test_wrong_vocabularies_are_refused(entries, message):
    with pytest.raises(UserError, match=message):
        CharacterTokenizer(entries)


def test_a_damaged_file_is_refused():
    with pytest.raises(UserError, match=r"vocabulary.json is not JSON"):
        CharacterTokenizer.from_files({"vocabulary.json": b"["})
