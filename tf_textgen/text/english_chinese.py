"""Our English-Chinese grammar: statements, questions and two-clause sentences of a few hundred
words.

It has what makes translation more than a word list: agreement of person and number, a and an,
tenses that Chinese expresses by particles and adverbs, measure words that depend on the noun,
relative clauses and adverbials in other places, and several Chinese renderings of most things, each
with its weight. No sentence can be derived in two ways, so the grammar's entropies are exact. Does
not import TensorFlow.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence

from tf_textgen.text import english_chinese_words as words
from tf_textgen.text.grammar import RuleSpec, SynchronousGrammar

_VOWELS = ("a", "e", "i", "o", "u", "honest")
_FORMS = ("BASE", "SG", "PAST", "ING")


@functools.cache
def grammar(words_per_class: int | None = None, start: str = "S") -> SynchronousGrammar:
    """The grammar of English-Chinese pairs.

    Args:
      words_per_class: keep only the first words of each class, so that a model learns it in a
        minute or a test enumerates a part of it; None keeps all.
      start: S, or SHORT for statements of one clause.
    """
    rules: dict[str, list[RuleSpec]] = {}
    _add_words(rules, words_per_class)
    _add_noun_phrases(rules, words_per_class)
    _add_verb_phrases(rules, words_per_class)
    _add_clauses(rules)
    _add_sentences(rules)
    return SynchronousGrammar(rules, start)


_NOUN_CLASSES: Mapping[str, Mapping[str, str]] = {
    "PERSON": words.PEOPLE,
    "WRITING": words.WRITINGS,
    "FOOD": words.FOODS,
    "THING": words.THINGS,
    "ANIMAL": words.ANIMALS,
}


def _entries(lines: str, limit: int | None) -> list[tuple[list[str], dict[str, float], float]]:
    """[(forms, rendering -> weight, weight of the word)]."""
    found = []
    for rank, line in enumerate(lines.split(";")[:limit]):
        forms, _, renderings = line.partition("=")
        found.append(
            (
                [form.strip() for form in forms.split("/")],
                _falling(renderings.split()),
                (rank + 1) ** -0.5,
            )
        )
    return found


def _falling(renderings: Iterable[str]) -> dict[str, float]:
    return {rendering: 0.8**k for k, rendering in enumerate(renderings)}


def _words(lines: str, limit: int | None, form: int = 0, article: bool = False) -> list[RuleSpec]:
    """Returns one rule per word; with `article`, a or an precedes it."""
    specs: list[RuleSpec] = []
    for forms, renderings, weight in _entries(lines, limit):
        text = forms[form]
        specs.append(
            (
                f"{'an' if text.startswith(_VOWELS) else 'a'} {text}" if article else text,
                weight,
                renderings,
            )
        )
    return specs


def _add_words(rules: dict[str, list[RuleSpec]], limit: int | None) -> None:
    plain = {
        "MAN": words.MEN,
        "WOMAN": words.WOMEN,
        "OWNER": words.OWNERS,
        "OBJECT_PRONOUN": words.OBJECT_PRONOUNS,
        "PLACE": words.PLACES,
        "DIGIT": words.NUMBERS,
        "PAST_DAY": words.PAST_DAYS,
        "FUTURE_DAY": words.FUTURE_DAYS,
        "OFTEN": words.FREQUENCIES,
        "SAYS": words.SAYING,
        "COMPARATIVE": words.COMPARATIVES,
        "THING_STATE": words.THING_STATES,
        "PERSON_STATE": words.PERSON_STATES,
    }
    for name, lines in plain.items():
        rules[name] = _words(lines, limit)
    for kind, lines in (("THING", words.THING_ADJECTIVES), ("PERSON", words.PERSON_ADJECTIVES)):
        rules[f"ADJECTIVE_{kind}"] = _words(lines, limit)
        rules[f"A_ADJECTIVE_{kind}"] = _words(lines, limit, article=True)
    rules["NUMBER"] = [
        ("two", 3, {"两": 3, "2": 1}),
        ("{d:DIGIT}", 5, "{d}"),
        ("ten", 1, {"十": 1, "10": 1}),
        ("twelve", 1, {"十二": 1, "12": 1}),
        ("{t:TENS} {d:UNIT}", 1, "{t}{d}"),
    ]
    rules["UNIT"] = _words(words.UNITS, limit)
    rules["TENS"] = _words(words.TENS, limit)
    hours: list[RuleSpec] = [
        ("two", 1, {"两": 3, "2": 1}),
        ("{d:DIGIT}", 4, "{d}"),
        ("ten", 1, {"十": 1, "10": 1}),
    ]
    rules["HOUR"] = hours
    rules["NAME"] = [("{m:MAN}", 1, "{m}"), ("{w:WOMAN}", 1, "{w}")]
    for tense in ("PAST", "FUTURE"):
        rules[f"{tense}_TIME"] = [
            (f"{{d:{tense}_DAY}}", 3, "{d}"),
            (f"{{d:{tense}_DAY}} at {{h:HOUR}} o'clock", 1, {"{d}{h}点": 2, "{d}{h}点钟": 1}),
        ]


def _add_noun_phrases(rules: dict[str, list[RuleSpec]], limit: int | None) -> None:
    """DEF_x (the, this, my ...) and IND_x (a, two, many ...) of each noun class, grouped by measure
    word.
    """
    for kind, groups in _NOUN_CLASSES.items():
        adjective = "PERSON" if kind == "PERSON" else "THING"
        definite = []
        indefinite = []
        plural = []
        for index, (measures, lines) in enumerate(list(groups.items())[:limit]):
            name = f"{kind}_{index}"
            rules[f"N_{name}"] = _words(lines, limit)
            rules[f"A_N_{name}"] = _words(lines, limit, article=True)
            rules[f"NS_{name}"] = _words(lines, limit, form=1)
            weight = math.sqrt(len(lines.split(";")))
            measure = _falling(measures.split())
            definite += _scaled(weight, _definite(name, adjective, measure, kind))
            indefinite += _scaled(weight, _indefinite(name, adjective, measure))
            plural += _scaled(weight, _plural(name, measure))
        rules[f"DEF_{kind}"] = definite
        rules[f"IND_{kind}"] = indefinite
        rules[f"PL_{kind}"] = plural


def _definite(name: str, adjective: str, measure: Mapping[str, float], kind: str) -> list[RuleSpec]:
    noun = f"{{n:N_{name}}}"
    adj = f"{{a:ADJECTIVE_{adjective}}}"
    specs: list[RuleSpec] = [
        (
            f"the {noun}",
            4,
            {"{n}": 3, **_measured("那{m}{n}", measure, 2), **_measured("这{m}{n}", measure, 2)},
        ),
        (
            f"the {adj} {noun}",
            2,
            {
                "{a}{n}": 2,
                **_measured("那{m}{a}{n}", measure, 2),
                **_measured("这{m}{a}{n}", measure, 1),
            },
        ),
        (f"this {noun}", 1, _measured("这{m}{n}", measure)),
        (f"that {noun}", 1, _measured("那{m}{n}", measure)),
        (f"{{o:OWNER}} {noun}", 3, "{o}{n}"),
        (f"{{o:OWNER}} {adj} {noun}", 1, "{o}{a}{n}"),
    ]
    if kind != "PERSON":
        source = f"the {noun} that {{s:WHO}} {{v:V_{kind}_PAST}}"
        specs.append((source, 1.5, {"{s}{v}的{n}": 2, **_measured("{s}{v}的那{m}{n}", measure, 1)}))
    return specs


def _indefinite(name: str, adjective: str, measure: Mapping[str, float]) -> list[RuleSpec]:
    plural = f"{{n:NS_{name}}}"
    return [
        (f"{{n:A_N_{name}}}", 4, _measured("一{m}{n}", measure)),
        (f"{{a:A_ADJECTIVE_{adjective}}} {{n:N_{name}}}", 3, _measured("一{m}{a}{n}", measure)),
        (f"{{k:NUMBER}} {plural}", 3, _measured("{k}{m}{n}", measure)),
        (
            f"{{k:NUMBER}} {{a:ADJECTIVE_{adjective}}} {plural}",
            1,
            _measured("{k}{m}{a}{n}", measure),
        ),
        (f"many {plural}", 1, {"很多{n}": 2, "许多{n}": 1}),
        (f"some {plural}", 1, {"一些{n}": 2, "几{m}{n}".replace("{m}", next(iter(measure))): 1}),
    ]


def _plural(name: str, measure: Mapping[str, float]) -> list[RuleSpec]:
    """Subjects that take a verb in the plural."""
    noun = f"{{n:NS_{name}}}"
    return [
        (f"the {noun}", 2, {"那些{n}": 2, "这些{n}": 1}),
        (f"{{k:NUMBER}} {noun}", 2, _measured("{k}{m}{n}", measure)),
        (f"{{o:OWNER}} {noun}", 1, "{o}{n}"),
    ]


def _measured(template: str, measure: Mapping[str, float], weight: float = 1.0) -> dict[str, float]:
    """`template` with each measure word; together they weigh `weight`."""
    total = sum(measure.values())
    return {
        template.replace("{m}", word): weight * share / total for word, share in measure.items()
    }


def _scaled(factor: float, specs: Sequence[RuleSpec]) -> list[RuleSpec]:
    return [(source, weight * factor, targets) for source, weight, targets in specs]


def _add_verb_phrases(rules: dict[str, list[RuleSpec]], limit: int | None) -> None:
    """VP_BASE, VP_SG, VP_PAST and VP_ING: what follows a subject or an auxiliary."""
    for form, name in enumerate(_FORMS):
        rules[f"VI_{name}"] = _words(words.INTRANSITIVE_VERBS, limit, form)
        phrases: list[RuleSpec] = [
            (f"{{v:VI_{name}}}", 2, {"{v}了": 2, "{v}过": 1} if name == "PAST" else "{v}"),
            (
                f"{{v:VI_{name}}} {{p:PLACE}}",
                2,
                {"{p}{v}了": 2, "{p}{v}过": 1} if name == "PAST" else "{p}{v}",
            ),
        ]
        for kind, lines in words.VERBS.items():
            rules[f"V_{kind}_{name}"] = _words(lines, limit, form)
            phrases += _transitive(kind, name)
            if name in ("BASE", "SG"):
                rules.setdefault(f"STATIVE_{name}", _words(words.STATIVE_VERBS, limit, form))
                phrases.append((f"{{v:STATIVE_{name}}} {{o:DEF_{kind}}}", 0.4, "{v}{o}"))
        phrases.append(_pronoun_object(name))
        rules[f"VP_{name}"] = phrases


def _transitive(kind: str, form: str) -> list[RuleSpec]:
    verb = f"{{v:V_{kind}_{form}}}"
    if form != "PAST":
        return [
            (f"{verb} {{o:DEF_{kind}}}", 1, "{v}{o}"),
            (f"{verb} {{o:IND_{kind}}}", 1, "{v}{o}"),
            (f"{verb} {{o:IND_{kind}}} {{p:PLACE}}", 0.5, "{p}{v}{o}"),
        ]
    moved = {"{v}了{o}": 2.0, "{v}过{o}": 1.0}
    if kind not in ("PERSON", "ANIMAL"):
        moved["把{o}{v}了"] = 2.0
    return [
        (f"{verb} {{o:DEF_{kind}}}", 1, moved),
        (f"{verb} {{o:IND_{kind}}}", 1, {"{v}了{o}": 2, "{v}过{o}": 1}),
        (f"{verb} {{o:IND_{kind}}} {{p:PLACE}}", 0.5, {"{p}{v}了{o}": 2, "{p}{v}过{o}": 1}),
    ]


def _pronoun_object(form: str) -> RuleSpec:
    source = f"{{v:V_PERSON_{form}}} {{o:OBJECT_PRONOUN}}"
    return (source, 1, {"{v}了{o}": 2, "{v}过{o}": 1} if form == "PAST" else "{v}{o}")


# Subject -> its forms of be, do and want, and the form of its verb in the present.
_PERSONS = {
    "SG": ("is", "does", "wants", "SG"),
    "PL": ("are", "do", "want", "BASE"),
    "I": ("am", "do", "want", "BASE"),
}


def _add_clauses(rules: dict[str, list[RuleSpec]]) -> None:
    rules["SUBJECT_SG"] = [
        ("he", 3, "他"),
        ("she", 3, "她"),
        ("{n:NAME}", 4, "{n}"),
        ("{d:DEF_PERSON}", 3, "{d}"),
    ]
    rules["SUBJECT_PL"] = [
        ("we", 2, {"我们": 3, "咱们": 1}),
        ("you", 2, {"你": 3, "您": 1, "你们": 1}),
        ("they", 2, "他们"),
        ("{m:MAN} and {w:WOMAN}", 1, {"{m}和{w}": 2, "{m}跟{w}": 1}),
        ("{p:PL_PERSON}", 2, "{p}"),
    ]
    rules["SUBJECT_I"] = [("I", 1, "我")]
    rules["WHO"] = [("he", 1, "他"), ("she", 1, "她"), ("I", 1, "我"), ("{n:NAME}", 2, "{n}")]
    rules["ANYONE"] = [
        (f"{{s:SUBJECT_{person}}}", weight, "{s}")
        for person, weight in (("SG", 5), ("PL", 2), ("I", 2))
    ]
    rules["PRESENT"] = [
        spec for person in _PERSONS for spec in _present(person)
    ] + _states_of_things()
    rules["PAST"] = [
        ("{s:ANYONE} {v:VP_PAST}", 3, "{s}{v}"),
        ("{s:ANYONE} {v:VP_PAST} {t:PAST_TIME}", 3, {"{s}{t}{v}": 1, "{t}{s}{v}": 1}),
        ("{s:ANYONE} did not {v:VP_BASE}", 2, {"{s}没有{v}": 1, "{s}没{v}": 1}),
        (
            "{s:ANYONE} did not {v:VP_BASE} {t:PAST_TIME}",
            1,
            {"{s}{t}没有{v}": 2, "{s}{t}没{v}": 2, "{t}{s}没有{v}": 1},
        ),
    ]
    rules["FUTURE"] = [
        (
            "{s:ANYONE} will {v:VP_BASE}",
            2,
            {"{s}会{v}": 2, "{s}要{v}": 1, "{s}将{v}": 1, "{s}将会{v}": 1},
        ),
        (
            "{s:ANYONE} will {v:VP_BASE} {t:FUTURE_TIME}",
            3,
            {"{s}{t}会{v}": 2, "{s}{t}要{v}": 2, "{t}{s}会{v}": 2, "{t}{s}要{v}": 1},
        ),
        ("{s:ANYONE} will not {v:VP_BASE}", 1, {"{s}不会{v}": 3, "{s}将不{v}": 1}),
    ]
    rules["DONE"] = [
        ("{s:ANYONE} {v:VP_PAST}", 1, "{s}{v}"),
        ("{s:ANYONE} {v:VP_PAST} {t:PAST_TIME}", 1, {"{s}{t}{v}": 1, "{t}{s}{v}": 1}),
    ]
    rules["STATEMENT"] = [
        ("{c:PRESENT}", 4, "{c}"),
        ("{c:PAST}", 4, "{c}"),
        ("{c:FUTURE}", 3, "{c}"),
    ]


def _present(person: str) -> list[RuleSpec]:
    be, do, want, form = _PERSONS[person]
    subject = f"{{s:SUBJECT_{person}}}"
    share = {"SG": 1.0, "PL": 0.6, "I": 0.4}[person]
    specs: list[RuleSpec] = [
        (f"{subject} {{v:VP_{form}}}", 3, "{s}{v}"),
        (f"{subject} {{f:OFTEN}} {{v:VP_{form}}}", 3, "{s}{f}{v}"),
        (f"{subject} {be} {{v:VP_ING}}", 3, {"{s}正在{v}": 2, "{s}在{v}": 2, "{s}在{v}呢": 1}),
        (f"{subject} {do} not {{v:VP_BASE}}", 2, "{s}不{v}"),
        (f"{subject} {want} to {{v:VP_BASE}}", 2, {"{s}想{v}": 2, "{s}想要{v}": 1}),
        (f"{subject} can {{v:VP_BASE}}", 2, {"{s}能{v}": 1, "{s}可以{v}": 1}),
        (f"{subject} must {{v:VP_BASE}}", 1, {"{s}必须{v}": 2, "{s}一定要{v}": 1}),
        (f"{subject} {be} {{a:PERSON_STATE}}", 2, {"{s}很{a}": 3, "{s}挺{a}": 1}),
        (
            f"{subject} {be} very {{a:PERSON_STATE}}",
            1,
            {"{s}非常{a}": 2, "{s}特别{a}": 1, "{s}十分{a}": 1},
        ),
        (f"{subject} {be} not {{a:PERSON_STATE}}", 1, "{s}不{a}"),
        (f"{subject} {be} {{p:PLACE}}", 1, "{s}{p}"),
        (
            f"{subject} {be} {{c:COMPARATIVE}} than {{o:NAME}}",
            1,
            {"{s}比{o}{c}": 3, "{s}比{o}更{c}": 1},
        ),
    ]
    return _scaled(share, specs)


def _states_of_things() -> list[RuleSpec]:
    specs: list[RuleSpec] = []
    for kind in ("WRITING", "THING"):
        specs += [
            (f"{{s:DEF_{kind}}} is {{a:THING_STATE}}", 1, {"{s}很{a}": 3, "{s}挺{a}": 1}),
            (f"{{s:DEF_{kind}}} is too {{a:THING_STATE}}", 0.5, "{s}太{a}了"),
            (f"{{s:DEF_{kind}}} is not {{a:THING_STATE}}", 0.5, "{s}不{a}"),
        ]
    return specs


def _add_sentences(rules: dict[str, list[RuleSpec]]) -> None:
    rules["QUESTION"] = [
        ("does {s:SUBJECT_SG} {v:VP_BASE}", 3, {"{s}{v}吗": 3, "{s}是不是{v}": 1}),
        ("do {s:SUBJECT_PL} {v:VP_BASE}", 2, {"{s}{v}吗": 3, "{s}是不是{v}": 1}),
        ("did {s:ANYONE} {v:VP_BASE}", 2, {"{s}{v}了吗": 2, "{s}有没有{v}": 1}),
        (
            "will {s:ANYONE} {v:VP_BASE} {t:FUTURE_TIME}",
            2,
            {"{s}{t}会{v}吗": 2, "{t}{s}会不会{v}": 1},
        ),
        ("can {s:ANYONE} {v:VP_BASE}", 2, {"{s}能{v}吗": 2, "{s}能不能{v}": 1, "{s}可以{v}吗": 1}),
        ("where does {s:SUBJECT_SG} {v:VI_BASE}", 1, {"{s}在哪儿{v}": 1, "{s}在哪里{v}": 1}),
        ("who {v:VP_PAST}", 1, "谁{v}"),
        ("why did {s:ANYONE} {v:VP_BASE}", 1, {"{s}为什么{v}": 2, "为什么{s}{v}": 1}),
    ]
    rules["SHORT"] = [("{c:STATEMENT} .", 1, "{c}。")]
    rules["S"] = [
        ("{c:STATEMENT} .", 20, "{c}。"),
        ("{q:QUESTION} ?", 5, "{q}？"),
        ("{n:NAME} {k:SAYS} that {c:STATEMENT} .", 2, {"{n}{k}{c}。": 3, "{n}{k}，{c}。": 1}),
        (
            "{a:STATEMENT} because {b:STATEMENT} .",
            1,
            {"因为{b}，所以{a}。": 2, "因为{b}，{a}。": 1, "{a}，因为{b}。": 1},
        ),
        (
            "{a:STATEMENT} , but {b:STATEMENT} .",
            1,
            {"{a}，但是{b}。": 2, "{a}，可是{b}。": 1, "{a}，不过{b}。": 1},
        ),
        (
            "if {b:PRESENT} , {a:FUTURE} .",
            1,
            {"如果{b}，{a}。": 2, "要是{b}，{a}。": 1, "{b}的话，{a}。": 1},
        ),
        ("after {b:DONE} , {a:PAST} .", 1, {"{b}以后，{a}。": 2, "{b}之后，{a}。": 1}),
        ("before {b:DONE} , {a:PAST} .", 1, {"{b}以前，{a}。": 2, "{b}之前，{a}。": 1}),
        (
            "although {b:STATEMENT} , {a:STATEMENT} .",
            1,
            {"虽然{b}，但是{a}。": 2, "尽管{b}，{a}。": 1},
        ),
    ]
