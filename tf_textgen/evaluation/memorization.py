"""The share of generated text that the training text contains word for word."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from tf_textgen.evaluation.scores import Scores, check_any
from tf_textgen.evaluation.word_tokens import tokens


def memorization(
    texts: Sequence[str], training_texts: Iterable[str], *, sizes: Sequence[int] = (4, 8, 16)
) -> Scores:
    """Measures the share of generated n-grams that the training text contains, and the longest
    copy.

    Tokens are words and punctuation marks (single characters in Chinese and Japanese). They are
    compared as they are written; the spaces between them do not count. No n-gram crosses the end of
    a text. Without any n-gram the share is 0.

    Args:
      texts: the generated texts, without their prompts.
      training_texts: the training documents; read once, memory does not grow with them.
      sizes: of n-grams, in tokens.

    Returns:
      `copied_N` for each size, 0 to 1; `longest_copy_tokens`; and the signature of the metric.

    Raises:
      UserError: if there is no text.

    Reference:
      McCoy et al., "How Much Do Language Models Copy From Their Training Data?", 2023, section 4
      (`copied_N` is 1 less their novelty of n-grams).
    """
    check_any(texts)
    rows = [tokens(text) for text in texts]
    copied = longest_copies(rows, map(tokens, training_texts))
    values: dict[str, float] = {}
    for size in sizes:
        # The n-gram that ends at a token is a copy if the longest copy that ends there is as long.
        ends = [length >= size for row in copied for length in row[size - 1 :]]
        values[f"copied_{size}"] = sum(ends) / max(len(ends), 1)
    values["longest_copy_tokens"] = max((length for row in copied for length in row), default=0)
    count = sum(map(len, rows))
    return Scores(
        values, f"memorization|texts:{len(texts)}|tokens:{count}|case:mixed|tok:unicode+marks"
    )


def longest_copies(
    rows: Sequence[Sequence[Hashable]], documents: Iterable[Sequence[Hashable]]
) -> list[list[int]]:
    """Returns, for each token of each row, the length of the longest copy that ends there.

    A copy is a sequence of tokens that some document contains. A suffix automaton of the rows reads
    the documents once: its time is proportional to both, its memory only to the rows.

    Reference:
      Blumer et al., "The smallest automaton recognizing the subwords of a text", 1985.
    """
    automaton = _SuffixAutomaton()
    ends: list[list[int]] = []
    for number, row in enumerate(rows):
        ends.append([automaton.append(token) for token in row])
        automaton.append(("end of row", number))  # equal to no token: nothing reaches across it
    copied = automaton.longest_matches(documents)
    return [[copied[state] for state in row] for row in ends]


class _SuffixAutomaton:
    """All substrings of a sequence. A state represents the substrings that end at the same places.

    Attributes:
      next: token -> state, for each state.
      link: the state of the longest suffix that ends at more places, for each state.
      length: the length of the longest substring of each state.
    """

    def __init__(self) -> None:
        self.next: list[dict[Hashable, int]] = [{}]
        self.link = [-1]
        self.length = [0]
        self._last = 0

    def append(self, token: Hashable) -> int:
        """Appends a token to the sequence and returns the state of the whole sequence."""
        state = self._last
        new = self._add({}, 0, self.length[self._last] + 1)
        while state >= 0 and token not in self.next[state]:
            self.next[state][token] = new
            state = self.link[state]
        if state >= 0:
            self.link[new] = self._split(state, token)
        self._last = new
        return new

    def longest_matches(self, documents: Iterable[Sequence[Hashable]]) -> list[int]:
        """Returns, for each state, the length of its longest suffix that some document contains."""
        found = [0] * len(self.next)
        for document in documents:
            state = length = 0
            for token in document:
                while state and token not in self.next[state]:
                    state = self.link[state]
                    length = self.length[state]
                if token in self.next[state]:
                    state = self.next[state][token]
                    length = length + 1
                    found[state] = max(found[state], length)
        order = sorted(range(1, len(found)), key=self.length.__getitem__)
        for state in reversed(order):  # what ends a copied stretch is copied
            if found[state]:
                found[self.link[state]] = self.length[self.link[state]]
        for state in order:
            found[state] = found[state] or found[self.link[state]]
        return found

    def _split(self, state: int, token: Hashable) -> int:
        """Returns the state of the substrings of `state` followed by `token`.

        It is created if longer substrings share the state.
        """
        shared = self.next[state][token]
        if self.length[state] + 1 == self.length[shared]:
            return shared
        own = self._add(dict(self.next[shared]), self.link[shared], self.length[state] + 1)
        while state >= 0 and self.next[state].get(token) == shared:
            self.next[state][token] = own
            state = self.link[state]
        self.link[shared] = own
        return own

    def _add(self, following: dict[Hashable, int], link: int, length: int) -> int:
        self.next.append(following)
        self.link.append(link)
        self.length.append(length)
        return len(self.next) - 1
