"""The help topics as a corpus: whole, and no text of one split in another."""

import itertools
import pathlib
import re

import pytest

from tf_textgen.data import embedded
from tf_textgen.data.python_docs import python_topics

WINDOW = 200
STEP = 50
MOST_SHARED = 0.01


def shared_windows(text, training):
    """The share of the windows of a text, white space aside, that the training text contains."""
    text, training = (re.sub(r"\s+", " ", one).strip() for one in (text, training))
    starts = range(0, len(text) - WINDOW, STEP)
    known = {hash(training[start : start + WINDOW]) for start in range(len(training) - WINDOW + 1)}
    return sum(hash(text[start : start + WINDOW]) in known for start in starts) / len(starts)


def test_shared_windows_finds_copied_text():
    training = "".join(chr(0x4E00 + i) for i in range(1000))
    assert shared_windows(training[100:700], training) == 1.0
    assert shared_windows(training[::-1], training) == 0.0


def test_every_text_is_in_one_split_once():
    from pydoc_data.topics import topics

    splits = python_topics()
    found = list(itertools.chain.from_iterable(texts.values() for texts in splits.values()))
    assert len(found) == len(set(found))
    assert {text.strip() for text in found} == {text.strip() for text in topics.values()}
    for texts in splits.values():
        assert all(text.strip() == topics[topic].strip() for topic, text in texts.items())


def test_sizes_of_the_splits():
    sizes = {split: sum(map(len, texts.values())) for split, texts in python_topics().items()}
    total = sum(sizes.values())
    for split in ("valid", "test"):
        assert 0.04 < sizes[split] / total <= 0.05
        assert len(python_topics()[split]) >= 5


@pytest.mark.parametrize("name", ["python_docs", "grammar", "grammar_small", "copy"])
def test_training_text_does_not_contain_the_held_out_text(name, tmp_path):
    texts = {}
    for split, paths in embedded.write(name, str(tmp_path)).items():
        texts[split] = "\n".join(pathlib.Path(path).read_text("utf-8") for path in sorted(paths))
    assert shared_windows(texts["valid"], texts["train"]) < MOST_SHARED
    assert shared_windows(texts["test"], texts["train"]) < MOST_SHARED
