"""A weighted synchronous context-free grammar: writes sentence pairs and knows their exact
probabilities.

A rule rewrites a nonterminal on both sides at once: one source side and several weighted target
renderings of it. The
grammar has no recursion, so its language is finite and its entropies are exact sums:

    rules = {"S": [("{x:WHO} sleeps", 1.0, {"{x}睡觉": 3.0, "{x}在睡觉": 1.0})],
             "WHO": [("Tom", 1.0, "汤姆"), ("Mary", 2.0, "玛丽")]}
    grammar = SynchronousGrammar(rules)
    grammar.sample(2, seed=0)

What a model can reach: no translator beats `entropies().target_given_source` nats a sentence on
average, and on given pairs the best one has the loss `conditional_nats`, so `nats_per_token` is
what its validation loss must approach. That
holds for an encoder-decoder and for a language model on `<s> source <sep> target` alike: both are
judged on the target and its `</s>`. A language model on the pair as one text approaches
`entropies().pair`.

Reference: Chiang, "Hierarchical phrase-based translation" (2007), section 2; Booth and Thompson,
"Applying probability measures to abstract languages" (1973), for expected counts and entropy.
Does not import TensorFlow.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import math
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tf_textgen.errors import UserError


class Pair(NamedTuple):
    """A sentence and its translation, as text."""

    source: str
    target: str


class Entropies(NamedTuple):
    """Exact entropies in nats a sentence; `pair` = `source` + `target_given_source`."""

    source: float
    target_given_source: float
    pair: float


class Child(NamedTuple):
    """A nonterminal on one side of a rule; the same `label` on the other side is the same
    constituent.
    """

    label: str
    symbol: str


Side = tuple[str | Child, ...]
RuleSpec = tuple[str, float, str | Mapping[str, float]]


class Rendering(NamedTuple):
    """One target side of a rule, with its probability given the rule."""

    probability: float
    side: Side


class Rule(NamedTuple):
    """One source side of a nonterminal, with its probability and its renderings."""

    probability: float
    source: Side
    renderings: tuple[Rendering, ...]


class Node(NamedTuple):
    """A constituent of a parsed source: its rule and its children by label."""

    rule: Rule
    children: tuple[tuple[str, Node], ...]

    @property
    def probability(self) -> float:
        """Of the source derivation below this node."""
        return self.rule.probability * math.prod(child.probability for _, child in self.children)


class SynchronousGrammar:
    """Rules of a finite language of sentence pairs.

    Args:
      rules: nonterminal -> [(source side, weight, target side or {target side: weight})]. On a
        source side, words are separated by spaces; `{label:NONTERMINAL}` is a constituent. A target
        side is written without spaces and names every label of its source side exactly once, as
        `{label}`. Weights are relative within their nonterminal.
      start: the nonterminal of a sentence.

    Raises:
      UserError: a label or nonterminal is missing, a weight is not positive, or a nonterminal
        reaches itself.
    """

    def __init__(self, rules: Mapping[str, Sequence[RuleSpec]], start: str = "S"):
        self.start = start
        self.rules: dict[str, tuple[Rule, ...]] = {
            name: _read_rules(name, specs) for name, specs in rules.items()
        }
        self._order = self._topological_order()
        self._cumulative = {
            name: list(itertools.accumulate(rule.probability for rule in found))
            for name, found in self.rules.items()
        }
        self._first = self._first_words()

    # Writing.

    def sample(self, count: int, seed: int) -> list[Pair]:
        """Draws `count` independent pairs; the same seed gives the same pairs on every machine."""
        draw = random.Random(seed).random
        return [self._text(*self._sample_sides(self.start, draw)) for _ in range(count)]

    def enumerate(self, start: str | None = None) -> Iterator[tuple[Pair, float]]:
        """Every derivation from `start` as its pair and probability; the same pair comes twice if
        it has two.
        """
        for source, target, probability in self._enumerate_sides(start or self.start):
            yield self._text(source, target), probability

    def derivation_count(self, start: str | None = None) -> int:
        """The number of pairs that `enumerate` would give."""
        counts: dict[str, int] = {}
        for name in reversed(self._order):
            counts[name] = sum(
                len(rule.renderings)
                * math.prod(counts[child.symbol] for child in _children(rule.source))
                for rule in self.rules[name]
            )
        return counts[start or self.start]

    # Probabilities of given pairs.

    def log_probability(self, pair: Pair, start: str | None = None) -> float:
        """log p(source, target) in nats, summed over all derivations; minus infinity for a pair
        never written.
        """
        nodes = self.parse(pair.source, start)
        return _log(
            math.fsum(node.probability * _target_probability(node, pair.target) for node in nodes)
        )

    def source_log_probability(self, source: str, start: str | None = None) -> float:
        """log p(source) in nats."""
        return _log(math.fsum(node.probability for node in self.parse(source, start)))

    def conditional_nats(self, pair: Pair, start: str | None = None) -> float:
        """-log p(target | source) in nats, the `</s>` included: the loss of a perfect translator on
        this pair.

        Raises:
          UserError: the grammar never writes the source.
        """
        nodes = self.parse(pair.source, start)
        if not nodes:
            raise UserError(f"source {pair.source!r}: expected a sentence that the grammar writes")
        source = math.fsum(node.probability for node in nodes)
        joint = math.fsum(
            node.probability * _target_probability(node, pair.target) for node in nodes
        )
        return -_log(joint / source)

    def nats_per_token(self, pairs: Iterable[Pair], count_tokens: Callable[[str], int]) -> float:
        """The loss of a perfect translator on `pairs`: nats by target token, one `</s>` a sentence
        included.

        Args:
          pairs: the pairs that the model is measured on.
          count_tokens: target text -> its number of tokens without special ones (`len` for
            characters).
        """
        nats = 0.0
        tokens = 0
        for pair in pairs:
            nats += self.conditional_nats(pair)
            tokens += count_tokens(pair.target) + 1
        return nats / tokens

    def parse(self, source: str, start: str | None = None) -> list[Node]:
        """All source derivations of a sentence, none if the grammar does not write it."""
        words = self._words(source)
        found: dict[tuple[str, int], list[tuple[int, Node]]] = {}
        return [
            node
            for end, node in self._parse_at(start or self.start, 0, words, found)
            if end == len(words)
        ]

    # Exact sums over the whole language.

    def entropies(self, start: str | None = None) -> Entropies:
        """Entropies of the language in nats a sentence.

        Each choice adds its own entropy, weighted by how often it is made on average. That is exact
        where every source has one derivation and every rendering of it is another text, as
        `tests/text/english_chinese_test.py` shows of our rules.
        """
        source = []
        target = []
        for name, count in self.expected_counts(start).items():
            rules = self.rules[name]
            source.append(count * _entropy([rule.probability for rule in rules]))
            for rule in rules:
                target.append(
                    count * rule.probability * _entropy([r.probability for r in rule.renderings])
                )
        return Entropies(math.fsum(source), math.fsum(target), math.fsum(source + target))

    def expected_target_length(
        self, length: Callable[[str], int] = len, start: str | None = None
    ) -> float:
        """The mean length of a target, for a `length` that adds up over parts (characters; UTF-8
        bytes).
        """
        total = 0.0
        for name, count in self.expected_counts(start).items():
            for rule in self.rules[name]:
                for rendering in rule.renderings:
                    own = sum(length(part) for part in rendering.side if isinstance(part, str))
                    total += count * rule.probability * rendering.probability * own
        return total

    def expected_counts(self, start: str | None = None) -> dict[str, float]:
        """Returns the mean number of each nonterminal in a derivation."""
        counts = dict.fromkeys(self._order, 0.0)
        counts[start or self.start] = 1.0
        for name in self._order:
            for rule in self.rules[name]:
                for child in _children(rule.source):
                    counts[child.symbol] += counts[name] * rule.probability
        return counts

    @functools.cached_property
    def source_words(self) -> frozenset[str]:
        """All words and marks of the source language."""
        rules = itertools.chain.from_iterable(self.rules.values())
        return frozenset(part for rule in rules for part in rule.source if isinstance(part, str))

    # Parts of the above.

    def _sample_sides(self, name: str, draw: Callable[[], float]) -> tuple[list[str], str]:
        cumulative = self._cumulative[name]
        rule = self.rules[name][bisect.bisect_right(cumulative, draw(), hi=len(cumulative) - 1)]
        words: list[str] = []
        targets: dict[str, str] = {}
        for part in rule.source:
            if isinstance(part, Child):
                source, targets[part.label] = self._sample_sides(part.symbol, draw)
                words += source
            else:
                words.append(part)
        side = rule.renderings[0].side
        if len(rule.renderings) > 1:
            cumulative = list(
                itertools.accumulate(rendering.probability for rendering in rule.renderings)
            )
            side = rule.renderings[
                bisect.bisect_right(cumulative, draw(), hi=len(cumulative) - 1)
            ].side
        return words, _join(side, targets)

    def _enumerate_sides(self, name: str) -> Iterator[tuple[list[str], str, float]]:
        for rule in self.rules[name]:
            children = _children(rule.source)
            for filled in itertools.product(
                *(list(self._enumerate_sides(child.symbol)) for child in children)
            ):
                by_label = {child.label: one for child, one in zip(children, filled, strict=True)}
                words = [
                    w
                    for part in rule.source
                    for w in ([part] if isinstance(part, str) else by_label[part.label][0])
                ]
                below = rule.probability * math.prod(one[2] for one in filled)
                targets = {label: one[1] for label, one in by_label.items()}
                for rendering in rule.renderings:
                    yield words, _join(rendering.side, targets), below * rendering.probability

    def _parse_at(
        self,
        name: str,
        begin: int,
        words: Sequence[str],
        found: dict[tuple[str, int], list[tuple[int, Node]]],
    ) -> list[tuple[int, Node]]:
        """The derivations of `name` that begin at word `begin`, each with its end."""
        key = (name, begin)
        if key not in found:
            found[key] = []
            if begin < len(words):
                for index in self._first[name].get(words[begin], ()):
                    found[key] += self._match(self.rules[name][index], begin, words, found)
        return found[key]

    def _match(
        self,
        rule: Rule,
        begin: int,
        words: Sequence[str],
        found: dict[tuple[str, int], list[tuple[int, Node]]],
    ) -> list[tuple[int, Node]]:
        partial: list[tuple[int, tuple[tuple[str, Node], ...]]] = [(begin, ())]
        for part in rule.source:
            if isinstance(part, str):
                partial = [
                    (at + 1, done) for at, done in partial if at < len(words) and words[at] == part
                ]
            else:
                partial = [
                    (end, (*done, (part.label, node)))
                    for at, done in partial
                    for end, node in self._parse_at(part.symbol, at, words, found)
                ]
        return [(end, Node(rule, children)) for end, children in partial]

    def _text(self, words: Sequence[str], target: str) -> Pair:
        source = re.sub(r" (?=[,.?])", "", " ".join(words))
        return Pair(source[:1].upper() + source[1:], target)

    def _words(self, source: str) -> list[str]:
        """Undoes `_text`: a first word has a small letter unless the grammar knows it with
        a capital only.
        """
        words = re.findall(r"[^\s,.?]+|[,.?]", source)
        if words and words[0] not in self.source_words:
            words[0] = words[0][:1].lower() + words[0][1:]
        return words if self._text(words, "").source == source else []

    def _first_words(self) -> dict[str, dict[str, list[int]]]:
        """Nonterminal -> first word -> the rules that can begin with it, so that parsing tries no
        others.
        """
        first: dict[str, dict[str, list[int]]] = {}
        for name in reversed(self._order):
            first[name] = {}
            for index, rule in enumerate(self.rules[name]):
                part = rule.source[0]
                for word in [part] if isinstance(part, str) else first[part.symbol]:
                    first[name].setdefault(word, []).append(index)
        return first

    def _topological_order(self) -> list[str]:
        """Nonterminals with parents before children."""
        done: dict[str, None] = {}
        open_names: set[str] = set()

        def visit(name: str, parent: str) -> None:
            if name not in self.rules:
                raise UserError(
                    f"nonterminal {name!r} in {parent!r}: expected one of the grammar's own; add "
                    "rules for it"
                )
            if name in open_names:
                raise UserError(
                    f"nonterminal {name!r} reaches itself: expected a finite language; bound the "
                    "depth"
                )
            if name not in done:
                open_names.add(name)
                for rule in self.rules[name]:
                    for child in _children(rule.source):
                        visit(child.symbol, name)
                open_names.remove(name)
                done[name] = None

        for name in (self.start, *self.rules):
            visit(name, "the start")
        return list(reversed(done))


def _target_probability(node: Node, target: str) -> float:
    """p(target | source derivation), summed over all renderings that give the same text."""
    return _ends(node, target, 0).get(len(target), 0.0)


def _ends(node: Node, target: str, begin: int) -> dict[int, float]:
    """If a rendering of `node` that begins at character `begin` can end, with the probability of
    each.
    """
    children = dict(node.children)
    ends: dict[int, float] = {}
    for rendering in node.rule.renderings:
        at = {begin: rendering.probability}
        for part in rendering.side:
            following: dict[int, float] = {}
            for i, p in at.items():
                if isinstance(part, Child):
                    _add(following, _ends(children[part.label], target, i), p)
                elif target.startswith(part, i):
                    _add(following, {i + len(part): 1.0}, p)
            at = following
        _add(ends, at, 1.0)
    return ends


def _add(total: dict[int, float], more: Mapping[int, float], factor: float) -> None:
    for key, value in more.items():
        total[key] = total.get(key, 0.0) + factor * value


def _read_rules(name: str, specs: Sequence[RuleSpec]) -> tuple[Rule, ...]:
    total = math.fsum(weight for _, weight, _ in specs)
    rules = []
    for source_text, weight, targets in specs:
        where = f"rule {name} -> {source_text!r}"
        source = tuple(part for word in source_text.split() for part in _read_side(word))
        labels = {part.label: part.symbol for part in _children(source)}
        if not source or len(labels) != len(_children(source)):
            raise UserError(
                f"{where}: expected at least one word and every label once; rename the labels"
            )
        weighted = {targets: 1.0} if isinstance(targets, str) else targets
        if not weight > 0 or not weighted or not all(w > 0 for w in weighted.values()):
            raise UserError(f"{where}: expected positive weights; drop what is never written")
        mass = math.fsum(weighted.values())
        renderings = []
        for text, w in weighted.items():
            side = _read_side(text, labels)
            if sorted(part.label for part in _children(side)) != sorted(labels):
                raise UserError(
                    f"{where}, target {text!r}: expected each of the labels {sorted(labels)} "
                    "exactly once"
                )
            renderings.append(Rendering(w / mass, side))
        rules.append(Rule(weight / total, source, tuple(renderings)))
    return tuple(rules)


def _read_side(text: str, labels: Mapping[str, str] | None = None) -> Side:
    """`"在{x}家"` -> ("在", Child("x", ...), "家"); without `labels` the text names each
    symbol itself.
    """
    parts: list[str | Child] = []
    for literal, inside in re.findall(r"([^{}]+)|\{([^{}]+)\}", text):
        if literal:
            parts.append(literal)
        else:
            label, _, symbol = inside.partition(":")
            parts.append(Child(label, symbol or (labels or {}).get(label, label)))
    return tuple(parts)


def _children(side: Side) -> list[Child]:
    return [part for part in side if isinstance(part, Child)]


def _join(side: Side, targets: Mapping[str, str]) -> str:
    return "".join(part if isinstance(part, str) else targets[part.label] for part in side)


def _entropy(probabilities: Sequence[float]) -> float:
    return -math.fsum(p * math.log(p) for p in probabilities)


def _log(probability: float) -> float:
    return math.log(probability) if probability > 0 else -math.inf
