"""Beam search against exhaustive enumeration, against a plain beam search, and against greedy
decoding.
"""

import dataclasses
import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from tests.decoding.beam_oracle import length_divisor, log_sum_exp, plain_beam_search
from tests.decoding.markov import (
    BANNED,
    EOS,
    PAD,
    PIECES,
    UNK,
    Markov,
    contains,
    expected_logits,
    goes_round,
    spell,
    stack,
)
from tests.support.thorough import cases
from tf_textgen.decoding import single_search
from tf_textgen.decoding.beam_search import Hypotheses, beam_search
from tf_textgen.decoding.constraints import parse
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.length_penalty import LENGTH_PENALTY_DTYPES, LengthPenalty
from tf_textgen.decoding.parameters import DTYPES, Parameters
from tf_textgen.decoding.search import SearchInputs

CODES = [piece.encode() for piece in PIECES]
ROWS = 24


class State(NamedTuple):
    """As models have it."""

    per_step: Any
    per_source: Any


class History:
    """A model whose next token depends on all tokens so far and on the prompt.

    All is carried in the state: one that does not follow its hypothesis, or strays from its row,
      changes the text.
    """

    def __init__(self, size=16, seed=0, spread=2.0, eos_id=EOS, banned_ids=BANNED, bound=12):
        self.table = (np.random.default_rng(seed).normal(size=(97, size)) * spread).astype(
            "float32"
        )
        self.eos_id, self.banned_ids, self.bound = eos_id, banned_ids, bound
        self.size, self.traces, self.steps, self.graphs = size, 0, 0, {}

    pieces, tokenize = CODES, Markov.tokenize

    def next_logits(self, prompt, tokens):
        past = 1
        for token in tokens:
            past = (past * 5 + token + 1) % 97
        return self.table[(past + 7 * sum(prompt)) % 97]

    def decode(self, prompts, lengths, parameters, penalty=None, **width):
        self.traces += 1
        table, columns = tf.constant(self.table), tf.shape(prompts)[1]
        kept = tf.where(tf.range(columns) >= columns - lengths[:, tf.newaxis], prompts, 0)

        def logits_of(state):
            return tf.gather(table, (state.per_step["past"][:, 0] + 7 * state.per_source) % 97)

        def step(tokens, state):
            if tf.executing_eagerly():
                self.steps += 1
            past = (state.per_step["past"] * 5 + tokens[:, tf.newaxis] + 1) % 97
            state = State({"past": past}, state.per_source)
            return logits_of(state), state

        state = State(
            {"past": tf.ones([tf.shape(prompts)[0], 1], tf.int32)}, tf.reduce_sum(kept, axis=-1)
        )
        constraints, problem = parse(
            parameters, self.tokenize, vocabulary_size=self.size, unk_id=UNK
        )
        tf.debugging.assert_equal(problem, "")
        inputs = SearchInputs(
            parameters=parameters,
            constraints=constraints,
            prompt_tokens=prompts,
            prompt_lengths=lengths,
            max_new_tokens=self.bound,
            eos_id=self.eos_id,
            banned_ids=self.banned_ids,
            detokenize=lambda tokens: tf.strings.reduce_join(
                tf.gather(tf.constant(CODES), tokens), axis=-1
            ),
        )
        logits = logits_of(state)
        if width:
            return beam_search(logits, state, step, inputs, penalty, **width)
        return single_search.decode(logits, state, step, inputs)

    def graph(self, **width):
        key = tuple(width.items())
        if key not in self.graphs:
            vectors = [Parameters(*(tf.TensorSpec([None], dtype) for dtype in DTYPES))]
            vectors += (
                [LengthPenalty(*(tf.TensorSpec([None], d) for d in LENGTH_PENALTY_DTYPES))]
                if width
                else []
            )
            shapes = [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)]
            self.graphs[key] = tf.function(
                lambda *given: self.decode(*given, **width),
                input_signature=[*shapes, *vectors],
                autograph=False,
            )
        return self.graphs[key]

    def run(self, prompts, configs, *, width, num_best, eager=False):
        inputs = (*padded(prompts), stack(configs), penalties(configs))
        search = self.decode if eager else self.graph(width=width, num_best=num_best)
        sizes = {"width": width, "num_best": num_best} if eager else {}
        return Hypotheses(*(x.numpy() for x in search(*inputs, **sizes)))

    def expect(self, prompt, config):
        def adjust(logits, tokens):
            x = expected_logits(logits, prompt, list(tokens), config)
            missing, writing = what_must_be_written(config, list(tokens))
            x[EOS] = -np.inf if missing else x[EOS]
            if writing:
                x[np.arange(len(x)) != writing[0]] = -np.inf
                x[writing[0]] = logits[writing[0]]
            if np.isneginf(x).all():
                x[missing[0][0] if missing else EOS] = -1e30
            return x

        return plain_beam_search(
            lambda tokens: self.next_logits(prompt, tokens),
            adjust,
            config,
            eos_id=self.eos_id,
            text_of=lambda tokens: b"".join(CODES[token] for token in tokens),
            is_loop=lambda tokens: goes_round(tokens, config.loop_repeats),
        )


def what_must_be_written(config, tokens):
    """The forced words that `tokens` miss, and the tokens that must follow."""
    forced, prefix, writing = (
        [spell(word) for word in config.forced],
        spell(config.forced_prefix),
        [],
    )
    for count in range(len(tokens) + 1):
        missing = [word for word in forced if not contains(tokens[:count], word)]
        if count < len(prefix):
            writing = [prefix[count]]
        elif not writing and missing and config.max_new_tokens - count <= sum(map(len, missing)):
            writing = list(missing[0])
        if count < len(tokens):
            writing = writing[1:]
    return missing, writing


def padded(prompts):
    width = max([1, *map(len, prompts)])
    left = np.array([[PAD] * (width - len(p)) + list(p) for p in prompts], np.int32).reshape(
        len(prompts), width
    )
    return tf.constant(left), tf.constant([len(p) for p in prompts], tf.int32)


def penalties(configs):
    return LengthPenalty(
        tf.constant([config.length_penalty for config in configs], tf.string),
        tf.constant([config.length_penalty_alpha for config in configs], tf.float32),
    )


def beams(rng, number, width, num_best, forces=True):
    """Mixed wishes for one width."""

    def maybe(value, neutral):
        return value if rng.random() < 0.4 else neutral

    def some(texts):
        return (
            tuple(str(x) for x in rng.choice(texts, int(rng.integers(1, 3))))
            if rng.random() < 0.4
            else ()
        )

    return [
        DecodingConfig(
            beam_width=width,
            num_best=num_best,
            length_penalty=str(rng.choice(["none", "gnmt", "average"])),
            length_penalty_alpha=float(rng.uniform(0, 1.5)),
            repetition_penalty=maybe(float(rng.uniform(0.5, 2)), 1.0),
            frequency_penalty=maybe(float(rng.uniform(-1, 2)), 0.0),
            presence_penalty=maybe(float(rng.uniform(-1, 2)), 0.0),
            no_repeat_ngram=maybe(int(rng.integers(1, 5)), 0),
            min_new_tokens=maybe(int(rng.integers(1, 4)), 0),
            max_new_tokens=int(rng.integers(6, 13)),
            stop=some(["abc", "字", "ba", "ca", "é "]),
            banned=some(["ab", "c", "字c"]),
            forced=some(["é", "aa", "a a"]) if forces else (),
            forced_prefix=maybe("é", ""),
            loop_repeats=maybe(int(rng.integers(2, 4)), 0),
        )
        for _ in range(number)
    ]


def check_row(found, row, expected):
    for place, hypothesis in enumerate(expected):
        count = len(hypothesis.tokens)
        assert found.tokens[row, place, :count].tolist() == list(hypothesis.tokens)
        assert (
            not found.tokens[row, place, count:].any()
            and not found.log_probabilities[row, place, count:].any()
        )
        assert found.token_count[row, place] == count
        assert found.finish_reason[row, place].decode() == hypothesis.reason
        assert found.texts[row, place] == hypothesis.text
        np.testing.assert_allclose(found.score[row, place], hypothesis.score, rtol=1e-5)
        np.testing.assert_allclose(
            found.normalized_score[row, place], hypothesis.normalized, rtol=1e-5, atol=1e-6
        )


def same_row(left, i, right, j):
    """Bit by bit, whatever the two batches are padded to."""
    most = left.token_count[i].max(initial=0)
    for name, a, b in zip(left._fields, left, right, strict=True):
        a, b = (a[i], b[j]) if a.ndim == 2 else (a[i, :, :most], b[j, :, :most])
        np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.fixture(scope="module")
def model():
    return History()


@pytest.fixture(scope="module")
def wishes():
    rng = np.random.default_rng(1)
    return [list(rng.integers(5, 16, rng.integers(1, 6))) for _ in range(ROWS)], beams(
        rng, ROWS, 3, 2
    )


def test_a_beam_that_holds_everything_is_an_exhaustive_search():
    """All 121 continuations of up to 4 of 4 tokens, ranked by every length penalty."""
    model, prompt, size = History(size=4, eos_id=3, banned_ids=()), [1, 2], 4
    everything = [
        tokens
        for count in range(1, size + 1)
        for tokens in itertools.product(range(size), repeat=count)
        if 3 not in tokens[:-1] and (tokens[-1] == 3 or count == size)
    ]
    assert len(everything) == 121
    wish = DecodingConfig(beam_width=121, num_best=121, max_new_tokens=4)
    kinds = [
        ("none", 1.0),
        ("gnmt", 0.6),
        ("gnmt", 3.0),
        ("average", 0.0),
        ("average", 0.7),
        ("average", 2.0),
    ]
    configs = [
        dataclasses.replace(wish, length_penalty=k, length_penalty_alpha=a) for k, a in kinds
    ]
    found = model.run([prompt] * len(configs), configs, width=121, num_best=121)
    orders = set()
    for row, config in enumerate(configs):
        scores = {}
        for tokens in everything:
            logits = [
                model.next_logits(prompt, tokens[:i]).astype("float64") for i in range(len(tokens))
            ]
            total = sum(x[token] - log_sum_exp(x) for x, token in zip(logits, tokens, strict=True))
            scores[tokens] = total / length_divisor(config, len(tokens))
        expected = sorted(everything, key=lambda tokens: -scores[tokens])
        orders.add(tuple(expected))
        got = [
            tuple(t[:n])
            for t, n in zip(found.tokens[row].tolist(), found.token_count[row], strict=True)
        ]
        assert got == expected
        np.testing.assert_allclose(
            found.normalized_score[row], [scores[tokens] for tokens in expected], rtol=1e-5
        )
    assert len(orders) == 5  # alpha 0 is no penalty; all others differ


@pytest.mark.parametrize("beam", cases([(2, 1), (3, 2), (5, 5)], always=[(3, 2)]), ids=str)
def test_narrow_beams_equal_the_plain_beam_search(model, beam):
    width, num_best = beam
    rng = np.random.default_rng(width)
    prompts, configs = (
        [list(rng.integers(5, 16, 2)) for _ in range(40)],
        beams(rng, 40, width, num_best),
    )
    found, reasons = model.run(prompts, configs, width=width, num_best=num_best), set()
    for row, (prompt, config) in enumerate(zip(prompts, configs, strict=True)):
        expected = model.expect(prompt, config)
        check_row(found, row, expected)
        reasons |= {hypothesis.reason for hypothesis in expected}
    assert reasons == {"eos", "length", "stop", "loop"}


@pytest.mark.thorough
def test_a_beam_of_one_is_greedy(model, wishes):
    """But for forced words, which a beam writes where room ends and greedy decoding if the model
    would end.
    """
    prompts = wishes[0]
    configs = [
        dataclasses.replace(c, beam_width=1, num_best=1, temperature=0.0, forced=())
        for c in wishes[1]
    ]
    found = model.run(prompts, configs, width=1, num_best=1)
    greedy = [x.numpy() for x in model.graph()(*padded(prompts), stack(configs))]
    expected = dict(zip(single_search.Decoded._fields, greedy, strict=True))
    assert expected.keys() - found._asdict().keys() == {
        "first",
        "word",
        "place",
    }  # of a search that pauses
    for name in expected.keys() & found._asdict().keys():
        np.testing.assert_array_equal(getattr(found, name)[:, 0], expected[name], err_msg=name)
    assert {*expected["finish_reason"]} == {b"eos", b"length", b"stop", b"loop"}


def test_each_row_equals_the_row_alone(model, wishes):
    prompts, configs = wishes
    batch = model.run(prompts, configs, width=3, num_best=2)
    for i in range(ROWS):
        same_row(
            batch, i, model.run(prompts[i : i + 1], configs[i : i + 1], width=3, num_best=2), 0
        )


def test_one_trace_for_all_shapes_and_eager_equals_graph(model, wishes):
    prompts, configs = wishes
    batch = model.run(prompts, configs, width=3, num_best=2)
    traces = model.traces
    for rows in (0, 1, 7):
        assert model.run(prompts[:rows], configs[:rows], width=3, num_best=2).tokens.shape[:2] == (
            rows,
            2,
        )
    assert model.traces == traces
    eager = model.run(prompts[:2], configs[:2], width=3, num_best=2, eager=True)
    for i in range(2):
        same_row(eager, i, batch, i)


def test_of_equals_the_lowest_tokens_come_first():
    model = History(size=4, eos_id=3, banned_ids=())
    model.table[:] = 0.0
    config = DecodingConfig(beam_width=3, num_best=3, max_new_tokens=2, length_penalty="none")
    found = model.run([[1]], [config], width=3, num_best=3, eager=True)
    assert found.tokens[0].tolist() == [[0, 0], [0, 1], [0, 2]]
    config = dataclasses.replace(config, length_penalty="average", length_penalty_alpha=1.0)
    model.table[:, 1] = -50.0  # tokens 0, 2 and the end are equal, in all lengths
    found = model.run([[1]], [config], width=3, num_best=3, eager=True)
    assert found.tokens[0].tolist() == [[3, 0], [0, 0], [0, 2]]


@pytest.mark.parametrize(("kind", "steps"), [("none", 0), ("average", 1)])
def test_the_search_ends_when_nothing_can_win_any_more(kind, steps):
    """After the end token (-0.1) another token (-3.2) can win once where length makes up for it,
    two can not.
    """
    model = History(size=4, eos_id=3, banned_ids=())
    model.table[:] = np.log([0.04, 0.03, 0.03, 0.9])
    config = DecodingConfig(
        beam_width=2, max_new_tokens=12, length_penalty=kind, length_penalty_alpha=1.5
    )
    found = model.run([[1]], [config], width=2, num_best=1, eager=True)
    assert (found.tokens[0, 0, 0], found.token_count[0, 0], model.steps) == (3, 1, steps)


def test_a_late_hypothesis_that_wins_is_not_lost_to_the_early_stop():
    """The end token is best at once and for long; only the tenth token brings the
    average above it.
    """
    model = History(size=4, eos_id=3, banned_ids=(), bound=10)
    model.table[:] = np.log([0.999, 0.0002, 0.0003, 0.0005])
    model.table[1 + 7 * 1] = np.log([0.3, 0.0005, 0.0005, 0.699])
    config = DecodingConfig(
        beam_width=2, max_new_tokens=10, length_penalty="average", length_penalty_alpha=1.0
    )
    found = model.run([[1]], [config], width=2, num_best=1, eager=True)
    assert found.tokens[0, 0].tolist() == [0] * 10
    np.testing.assert_allclose(
        found.normalized_score[0, 0], (np.log(0.3) + 9 * np.log(0.999)) / 10, rtol=1e-5
    )
    assert found.normalized_score[0, 0] > np.log(0.699)


def test_empty_places_where_there_are_fewer_hypotheses():
    model = History(size=4, eos_id=3, banned_ids=(0,))
    config = DecodingConfig(beam_width=4, num_best=4, max_new_tokens=1)
    found = model.run([[1]], [config], width=4, num_best=4, eager=True)
    assert (
        found.finish_reason[0, 3] == b""
        and found.texts[0, 3] == b""
        and (found.finish_reason[0, :3] != b"").all()
    )
    assert (found.token_count[0, 3], found.score[0, 3], found.normalized_score[0, 3]) == (
        0,
        0.0,
        0.0,
    )


def test_scores_of_a_finite_model_are_finite():
    model, least = History(), np.finfo("float32").min
    config = DecodingConfig(beam_width=2, num_best=2, max_new_tokens=4, length_penalty="none")
    stuck = dataclasses.replace(config, allowed=("a",), no_repeat_ngram=1, min_new_tokens=3)
    model.table[:, 6] = -3e38
    model.table[:, 9] = 3e38
    improbable = dataclasses.replace(config, forced_prefix="bbbb")
    found = model.run([[8], [8]], [stuck, improbable], width=2, num_best=2, eager=True)
    assert found.tokens[:, 0].tolist() == [[5, EOS, PAD, PAD], [6] * 4]
    assert found.finish_reason.tolist() == [[b"eos", b""], [b"length", b""]]
    assert found.normalized_score.tolist() == [[least, 0.0]] * 2
    assert np.isfinite(found.score).all() and found.score[1, 0] == least


def test_a_diverged_hypothesis_comes_last_and_leaves_its_neighbours_alone(wishes):
    broken = History()
    prompts, configs = wishes
    config = DecodingConfig(beam_width=3, num_best=2, max_new_tokens=3, min_new_tokens=3)
    expected = broken.expect([12], config)
    broken.table[(1 + 7 * 5) % 97] = np.nan  # nothing is possible for prompt 5
    first = expected[0].tokens[0]
    broken.table[(6 + first + 7 * 12) % 97] = (
        np.nan
    )  # the best first token of prompt 12 leads nowhere
    found = broken.run(
        [*prompts[:3], [5], [12]], [*configs[:3], config, config], width=3, num_best=2
    )
    for i in range(3):
        same_row(
            broken.run(prompts[i : i + 1], configs[i : i + 1], width=3, num_best=2), 0, found, i
        )
    assert found.tokens[3, :, :2].tolist() == [[EOS, PAD], [PAD, PAD]] and np.isnan(
        found.score[3, 0]
    )
    assert found.finish_reason[3].tolist() == [b"eos", b""]
    assert (found.tokens[4, :, 0] != first).all() and np.isfinite(found.score[4]).all()
