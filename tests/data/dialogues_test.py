"""Dialogues as contexts and replies, against what a person would write."""

import subprocess
import sys

import pytest

from tf_textgen.data import dialogues

TURNS = ["a", "b", "c", "d"]


def test_imports_no_tensorflow():
    code = "import sys, tf_textgen.data.dialogues; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_turns_are_columns():
    assert dialogues.turns_of("id\t a \tb\t", 2) == ["a", "b", ""]
    assert dialogues.turns_of("id", 3) == []


def test_a_context_has_a_line_a_turn():
    assert dialogues.context(TURNS) == "<A> a\n<B> b\n<A> c\n<B> d"
    assert dialogues.context(TURNS[1:3], first=1) == "<B> b\n<A> c"
    assert dialogues.context([]) == ""


@pytest.mark.parametrize(
    ("reply_of", "context_turns", "expected"),
    [
        ("both", 9, [("<A> a", "b"), ("<A> a\n<B> b", "c"), ("<A> a\n<B> b\n<A> c", "d")]),
        ("both", 1, [("<A> a", "b"), ("<B> b", "c"), ("<A> c", "d")]),
        ("first", 2, [("<A> a\n<B> b", "c")]),
        ("second", 2, [("<A> a", "b"), ("<B> b\n<A> c", "d")]),
    ],
)
def test_each_reply_with_what_was_said_before(reply_of, context_turns, expected):
    assert list(dialogues.examples(TURNS, context_turns, reply_of)) == expected


def test_silence_is_no_context():
    assert list(dialogues.examples(["", "b", "c"], 1, "both")) == [("", "b"), ("<B> b", "c")]
    assert list(dialogues.examples(["alone"], 4, "both")) == []
