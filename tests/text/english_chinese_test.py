"""The English-Chinese grammar: exact entropies, checked sentences, and statistics of what it
writes.
"""

import collections
import math
import re
import statistics

import pytest

from tests.support import grammar_oracle
from tf_textgen.text.english_chinese import grammar
from tf_textgen.text.grammar import Pair


@pytest.mark.thorough
def test_no_sentence_has_two_derivations():
    # One word of each class keeps every construction; the words of a class differ from each other
    # (next test).
    assert not grammar_oracle.source_is_ambiguous(grammar(1))
    assert not grammar_oracle.target_is_ambiguous(grammar(1))


def test_rules_of_a_nonterminal_differ():
    for name, rules in grammar().rules.items():
        assert len({rule.source for rule in rules}) == len(rules), name
        for rule in rules:
            assert len({rendering.side for rendering in rule.renderings}) == len(rule.renderings), (
                name,
                rule,
            )


def test_sampled_sources_have_one_derivation_and_the_given_target():
    full = grammar()
    for pair in full.sample(1_500, seed=11):
        assert len(full.parse(pair.source)) == 1
        assert math.isfinite(full.log_probability(pair))


@pytest.mark.parametrize(
    "start, words", [("VP_PAST", 1), ("DEF_THING", 2), ("IND_FOOD", 3), ("SUBJECT_PL", 2)]
)
def test_parts_enumerate_to_their_entropy(start, words):
    part = grammar(words)
    pairs = collections.defaultdict(float)
    sources = collections.defaultdict(float)
    for pair, p in part.enumerate(start):
        pairs[pair] += p
        sources[pair.source] += p
    assert len(pairs) == part.derivation_count(start)
    assert math.isclose(sum(pairs.values()), 1.0)
    found = part.entropies(start)
    assert math.isclose(found.pair, -sum(p * math.log(p) for p in pairs.values()))
    assert math.isclose(found.source, -sum(p * math.log(p) for p in sources.values()))
    for pair, p in list(pairs.items())[::7]:
        expected = -math.log(p / sources[pair.source])
        assert math.isclose(part.conditional_nats(pair, start), expected, abs_tol=1e-9)


def test_entropy_is_the_mean_surprise_of_samples():
    full = grammar()
    sampled = full.sample(4_000, seed=3)
    entropies = full.entropies()
    assert 2.5 < entropies.target_given_source < 4.0
    nats = [full.conditional_nats(pair) for pair in sampled]
    assert abs(statistics.mean(nats) - entropies.target_given_source) < 4 * statistics.stdev(
        nats
    ) / math.sqrt(len(nats))
    joint = [-full.log_probability(pair) for pair in sampled]
    assert abs(statistics.mean(joint) - entropies.pair) < 4 * statistics.stdev(joint) / math.sqrt(
        len(joint)
    )
    lengths = [len(pair.target) for pair in sampled]
    error = statistics.stdev(lengths) / math.sqrt(len(lengths))
    assert abs(statistics.mean(lengths) - full.expected_target_length()) < 4 * error


def test_renderings_of_a_known_sentence():
    full = grammar()
    rest = "我的书。"
    found = {
        target: math.exp(-full.conditional_nats(Pair("He will borrow my book.", target)))
        for target in ("他会借" + rest, "他要借" + rest, "他将借" + rest, "他将会借" + rest)
    }
    assert math.isclose(sum(found.values()), 1.0)
    assert math.isclose(found["他会借" + rest], 0.4)


def test_agreement_articles_and_measure_words():
    texts = [pair.source for pair in grammar().sample(6_000, seed=8)]
    assert not [
        text for text in texts if re.search(r"\ba (?:[aeiou]|honest)|\ban (?![aeiou]|honest)", text)
    ]
    assert not [
        text
        for text in texts
        if re.search(r"^(?:He|She|Tom|Mary) (?:are|do|want|eat|write) ", text)
    ]
    assert not [
        text
        for text in texts
        if re.search(r"^(?:I|We|They|You) (?:is|does|wants|eats|writes) ", text)
    ]
    assert grammar().parse("Three engineers ate two apples yesterday.")
    assert (
        math.isfinite(grammar().log_probability(Pair("I sold a horse.", "我卖了一匹马。"))) is False
    )  # no such thing
    assert math.isfinite(grammar().log_probability(Pair("I fed a horse.", "我喂了一匹马。")))
    assert not math.isfinite(grammar().log_probability(Pair("I fed a horse.", "我喂了一本马。")))


def test_every_text_fits_a_tsv_row_and_comes_back():
    full = grammar()
    sampled = full.sample(500, seed=21)
    assert sampled == full.sample(500, seed=21)
    for pair in sampled:
        assert not re.search(r"[\t\n]|  ", pair.source + pair.target)
        assert re.fullmatch(r"[一-鿿，。？0-9]+", pair.target)
        assert re.fullmatch(r"[A-Z][A-Za-z',]*(?: [A-Za-z',]+)+[.?]", pair.source)
