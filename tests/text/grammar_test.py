"""The grammar engine against enumeration by hand and by brute force."""

import collections
import math
from typing import Any

import pytest

from tests.support import grammar_oracle
from tf_textgen.errors import UserError
from tf_textgen.text.grammar import Pair, SynchronousGrammar

TOY: dict[str, Any] = {
    "S": [("{a:WHO} {b:DOES} .", 3, {"{a}{b}。": 1, "{b}，{a}。": 3}), ("{b:DOES} ?", 1, "{b}？")],
    "WHO": [("Tom", 1, "汤"), ("the cat", 2, {"猫": 1, "那猫": 1}), ("I", 1, "我")],
    "DOES": [("sleeps", 1, {"睡": 1, "睡了": 4}), ("sees {o:WHO}", 3, "见{o}")],
}
# The same pair "a b" -> "xy" twice over, and "c" -> "x" by two renderings of one rule's child.
AMBIGUOUS: dict[str, Any] = {
    "S": [("{p:P} b", 1, "{p}y"), ("a {q:Q}", 2, "x{q}"), ("c {r:R}", 1, {"{r}y": 1, "x{r}": 1})],
    "P": [("a", 1, "x")],
    "Q": [("b", 1, "y")],
    "R": [("d", 1, {"xy": 1, "x": 1, "y": 2})],
}


def toy_pairs():
    """All pairs of TOY with their probabilities, written out without the code under test."""
    who = [
        ("Tom", "汤", 1 / 4),
        ("the cat", "猫", 1 / 4),
        ("the cat", "那猫", 1 / 4),
        ("I", "我", 1 / 4),
    ]
    does = [("sleeps", "睡", 1 / 20), ("sleeps", "睡了", 4 / 20)] + [
        (f"sees {s}", f"见{t}", 3 / 4 * p) for s, t, p in who
    ]
    for s, t, p in does:
        yield f"{s[0].upper()}{s[1:]}?", f"{t}？", p / 4
        for a, ta, pa in who:
            source = f"{a} {s}."
            source = source[0].upper() + source[1:]
            yield source, f"{ta}{t}。", 3 / 4 * pa * p / 4
            yield source, f"{t}，{ta}。", 3 / 4 * pa * p * 3 / 4


def test_probabilities_are_those_of_the_rules():
    grammar = SynchronousGrammar(TOY)
    expected = {Pair(source, target): p for source, target, p in toy_pairs()}
    enumerated = dict(grammar.enumerate())
    assert (
        enumerated.keys() == expected.keys() and len(expected) == grammar.derivation_count() == 54
    )
    assert math.isclose(sum(enumerated.values()), 1.0)
    sources = collections.defaultdict(float)
    for pair, p in expected.items():
        sources[pair.source] += p
    for pair, p in expected.items():
        assert math.isclose(enumerated[pair], p)
        assert math.isclose(grammar.log_probability(pair), math.log(p))
        assert math.isclose(
            grammar.source_log_probability(pair.source), math.log(sources[pair.source])
        )
        assert math.isclose(
            grammar.conditional_nats(pair), -math.log(p / sources[pair.source]), abs_tol=1e-12
        )


def test_entropies_are_those_of_the_enumerated_language():
    grammar = SynchronousGrammar(TOY)
    pairs = dict(grammar.enumerate())
    sources = collections.defaultdict(float)
    for pair, p in pairs.items():
        sources[pair.source] += p
    found = grammar.entropies()
    assert math.isclose(found.pair, -sum(p * math.log(p) for p in pairs.values()))
    assert math.isclose(found.source, -sum(p * math.log(p) for p in sources.values()))
    assert math.isclose(found.target_given_source, found.pair - found.source)
    assert math.isclose(
        grammar.expected_target_length(), sum(p * len(pair.target) for pair, p in pairs.items())
    )
    utf8 = grammar.expected_target_length(lambda text: len(text.encode()))
    assert math.isclose(utf8, sum(p * len(pair.target.encode()) for pair, p in pairs.items()))


def test_ambiguous_pairs_sum_over_their_derivations():
    grammar = SynchronousGrammar(AMBIGUOUS)
    summed = collections.defaultdict(float)
    for pair, p in grammar.enumerate():
        summed[pair] += p
    assert len(summed) < grammar.derivation_count()
    assert math.isclose(summed[Pair("A b", "xy")], 0.75)
    for pair, p in summed.items():
        assert math.isclose(math.exp(grammar.log_probability(pair)), p)
        source = sum(q for other, q in summed.items() if other.source == pair.source)
        assert math.isclose(math.exp(-grammar.conditional_nats(pair)), p / source)


def test_oracle_finds_ambiguity():
    assert not grammar_oracle.source_is_ambiguous(SynchronousGrammar(TOY))
    assert not grammar_oracle.target_is_ambiguous(SynchronousGrammar(TOY))
    assert grammar_oracle.source_is_ambiguous(SynchronousGrammar(AMBIGUOUS))
    assert grammar_oracle.target_is_ambiguous(SynchronousGrammar(AMBIGUOUS))
    swapped: dict[str, Any] = {
        "S": [("{a:A} {b:B}", 1, {"{a}{b}": 1, "{b}{a}": 1})],
        "A": [("a", 1, "x"), ("b", 1, "y")],
    }
    assert grammar_oracle.target_is_ambiguous(SynchronousGrammar({**swapped, "B": swapped["A"]}))
    assert not grammar_oracle.target_is_ambiguous(
        SynchronousGrammar({**swapped, "B": [("c", 1, "z")]})
    )


def test_sample_frequencies_follow_the_probabilities():
    grammar = SynchronousGrammar(TOY)
    count = 20_000
    found = collections.Counter(grammar.sample(count, seed=5))
    pairs = dict(grammar.enumerate())
    assert found.keys() <= pairs.keys()
    chi_square = sum((found[pair] - count * p) ** 2 / (count * p) for pair, p in pairs.items())
    degrees = len(pairs) - 1
    assert abs(chi_square - degrees) < 4 * math.sqrt(2 * degrees)


def test_sampling_is_a_function_of_the_seed():
    grammar = SynchronousGrammar(TOY)
    assert grammar.sample(50, seed=1) == grammar.sample(80, seed=1)[:50]
    assert grammar.sample(50, seed=1) != grammar.sample(50, seed=2)
    assert grammar.sample(0, seed=1) == []


def test_unknown_sentences():
    grammar = SynchronousGrammar(TOY)
    for source in (
        "",
        "Tom",
        "Tom sleeps",
        "tom sleeps.",
        "Tom  sleeps.",
        "Tom sleeps .",
        "Tom sleeps. Tom",
    ):
        assert grammar.parse(source) == []
    assert grammar.log_probability(Pair("Tom sleeps.", "睡")) == -math.inf
    assert grammar.conditional_nats(Pair("Tom sleeps.", "睡")) == math.inf
    with pytest.raises(
        UserError, match=r"source 'Tom runs.': expected a sentence that the grammar writes"
    ):
        grammar.conditional_nats(Pair("Tom runs.", "汤跑。"))


def test_nats_per_token_counts_the_end():
    grammar = SynchronousGrammar(TOY)
    pairs = [Pair("Tom sleeps.", "汤睡。"), Pair("Tom sleeps.", "睡了，汤。")]
    nats = -math.log(1 / 4 * 1 / 5) - math.log(3 / 4 * 4 / 5)
    assert math.isclose(grammar.nats_per_token(pairs, len), nats / (3 + 1 + 5 + 1))


@pytest.mark.parametrize(
    "rules, message",
    [
        ({"S": [("{x:A}", 1, "{x}")]}, "nonterminal 'A'.*expected one of the grammar's own"),
        ({"S": [("a {x:S}", 1, "{x}")]}, "'S' reaches itself: expected a finite language"),
        ({"S": [("a", 0, "b")]}, "expected positive weights"),
        ({"S": [("a", 1, {"b": -1.0})]}, "expected positive weights"),
        (
            {"S": [("{x:A}", 1, "y")], "A": [("a", 1, "b")]},
            r"expected each of the labels \['x'\] exactly once",
        ),
        ({"S": [("{x:A} {x:A}", 1, "{x}")], "A": [("a", 1, "b")]}, "every label once"),
        ({"S": [("", 1, "y")]}, "at least one word"),
    ],
)
def test_malformed_rules_are_named(rules, message):
    with pytest.raises(UserError, match=message):
        SynchronousGrammar(rules)
