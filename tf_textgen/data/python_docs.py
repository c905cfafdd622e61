"""The corpus `python_docs`: the help topics of the running Python interpreter.

Topics quote each other: the topic `compound` contains `for`, `if` and `while` word for word. Topics
that share text therefore belong to one group, and a group belongs to one split. Otherwise
validation would measure memorization.

Does not import TensorFlow.
"""

from __future__ import annotations

import hashlib

_SHARED_WORDS = 12  # consecutive words; two topics have shorter runs in common by chance
_HELD_OUT_SHARE = 0.05  # of the characters, for validation and for test
_LARGEST_HELD_OUT_GROUP = 0.025  # a larger group would be most of its split


def python_topics() -> dict[str, dict[str, str]]:
    """Returns split -> topic -> text, with about 90, 5 and 5 % of the text.

    Of several topics with the same text, such as `else` and `if`, the first one is kept.
    """
    topics = _distinct_topics()
    size = sum(len(text) for text in topics.values())
    splits: dict[str, dict[str, str]] = {"train": {}, "valid": {}, "test": {}}
    for group in sorted(_groups(topics), key=_shuffled):
        split = _split_with_room(splits, sum(len(topics[topic]) for topic in group), size)
        for topic in group:
            splits[split][topic] = topics[topic].rstrip("\n") + "\n"
    return {split: dict(sorted(texts.items())) for split, texts in splits.items()}


def _distinct_topics() -> dict[str, str]:
    from pydoc_data.topics import topics

    topic_of_text: dict[str, str] = {}
    for topic, text in sorted(topics.items()):
        topic_of_text.setdefault(text.strip(), topic)
    return {topic: topics[topic] for topic in topic_of_text.values()}


def _groups(topics: dict[str, str]) -> list[list[str]]:
    """Returns the topics in groups, so that topics of different groups share no run of words."""
    group_of = {topic: [topic] for topic in topics}
    first_topic: dict[tuple[str, ...], str] = {}
    for topic in sorted(topics):
        words = topics[topic].split()
        for start in range(len(words) - _SHARED_WORDS + 1):
            other = first_topic.setdefault(tuple(words[start : start + _SHARED_WORDS]), topic)
            if group_of[other] is not group_of[topic]:
                merged = group_of[other] + group_of[topic]
                group_of.update(dict.fromkeys(merged, merged))
    distinct = {id(group): sorted(group) for group in group_of.values()}
    return list(distinct.values())


def _shuffled(group: list[str]) -> str:
    """Returns the sort key of a group: an order that does not depend on the alphabet."""
    return hashlib.sha256(group[0].encode()).hexdigest()


def _split_with_room(splits: dict[str, dict[str, str]], group_size: int, size: int) -> str:
    """Returns the held-out split that the group still fits into, else `train`."""
    if group_size > _LARGEST_HELD_OUT_GROUP * size:
        return "train"
    for split in ("valid", "test"):
        filled = sum(len(text) for text in splits[split].values())
        if filled + group_size <= _HELD_OUT_SHARE * size:
            return split
    return "train"
