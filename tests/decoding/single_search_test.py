import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.decoding.markov import BANNED, EOS, PAD, Markov, random_configs, stack
from tf_textgen.decoding import cutoffs, repetition
from tf_textgen.decoding import logits as processors
from tf_textgen.decoding.constraints import no_constraints
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameters import DTYPES, Parameters
from tf_textgen.decoding.search import SearchInputs
from tf_textgen.decoding.single_search import PAUSED_SPECS, Decoded, Paused, decode

ROWS = 48


@pytest.fixture(scope="module")
def model():
    return Markov()


@pytest.fixture(scope="module")
def wishes():
    rng = np.random.default_rng(1)
    return [list(rng.integers(5, 16, rng.integers(1, 6))) for _ in range(ROWS)], random_configs(
        rng, ROWS
    )


@pytest.fixture(scope="module")
def batch(model, wishes):
    return model.run(*wishes)


def same_row(left, i, right, j):
    """Bit by bit, whatever the two batches are padded to."""
    count = left.token_count[i]
    for name, a, b in zip(left._fields, left, right, strict=True):
        a, b = (a[i], b[j]) if a.ndim == 1 else (a[i, :count], b[j, :count])
        np.testing.assert_array_equal(a, b, err_msg=name)


def test_equals_the_plain_decoder(model, wishes, batch):
    reasons = set()
    for i, (prompt, config) in enumerate(zip(*wishes, strict=True)):
        tokens, scores, reason, text = model.expect(prompt, config)
        assert batch.tokens[i, : len(tokens)].tolist() == tokens
        assert batch.tokens[i, len(tokens) :].tolist() == [PAD] * (
            batch.tokens.shape[1] - len(tokens)
        )
        assert batch.token_count[i] == len(tokens)
        np.testing.assert_allclose(
            batch.log_probabilities[i, : len(tokens)], scores, rtol=1e-5, atol=1e-6
        )
        np.testing.assert_allclose(batch.score[i], np.sum(scores), rtol=1e-5)
        assert not batch.log_probabilities[i, len(tokens) :].any()
        assert (batch.finish_reason[i], batch.texts[i]) == (reason, text)
        reasons.add(reason)
    assert reasons == {b"eos", b"length", b"stop", b"loop"}


def test_each_row_equals_the_row_alone(model, wishes, batch):
    for i, (prompt, config) in enumerate(zip(*wishes, strict=True)):
        same_row(batch, i, model.run([prompt], [config]), 0)


def test_prompt_padding_changes_nothing(model, wishes, batch):
    padded = model.run(*wishes, pad_to=17)
    for i in range(ROWS):
        same_row(batch, i, padded, i)


def test_more_room_changes_nothing(model, wishes, batch):
    prompts, configs = wishes
    longer = model.run(
        [*prompts, [9]], [*configs, DecodingConfig(max_new_tokens=40, min_new_tokens=40)]
    )
    assert longer.tokens.shape[1] == 40
    for i in range(ROWS):
        same_row(batch, i, longer, i)


def test_large_vocabulary_rows_equal_rows_alone():
    """Flat rows need the full sort of top-p, peaked ones in the same batch do not."""
    model, rng = Markov(vocabulary_size=1300, spread=1.0, bound=8), np.random.default_rng(3)
    model.table[::2] *= 4.0
    configs = [
        dataclasses.replace(c, min_new_tokens=0) for c in random_configs(rng, 12, max_new_tokens=6)
    ]
    configs[:4] = [
        dataclasses.replace(c, temperature=1.0, top_k=k)
        for c, k in zip(configs, (3, 300, 1100, 0), strict=False)
    ]
    prompts = [[int(rng.integers(5, 1300))] for _ in configs]
    batch = model.run(prompts, configs)
    for i, (prompt, config) in enumerate(zip(prompts, configs, strict=True)):
        assert batch.tokens[i, : batch.token_count[i]].tolist() == model.expect(prompt, config)[0]
        same_row(batch, i, model.run([prompt], [config]), 0)


class Pausing(Markov):
    """Searches that begin where others paused."""

    def __init__(self):
        super().__init__(bound=12)
        ids = tf.TensorSpec([None], tf.int32)
        signature = [tf.TensorSpec([None, None], tf.int32), *[ids] * 3, PAUSED_SPECS]
        signature.append(Parameters(*(tf.TensorSpec([None], dtype) for dtype in DTYPES)))
        self.graph = tf.function(self.search, autograph=False, input_signature=signature)

    def go_on_with(self, rows, more):
        """Each row with its prompt, tokens so far, word, place and configuration; what it has after
        `more` tokens.
        """
        read, written = [row.prompt + row.tokens for row in rows], [row.tokens for row in rows]
        vectors = [[*map(len, read)], [sum(row.prompt) for row in rows], [*map(len, written)]]
        found = self.graph(
            left_padded(read),
            *(np.array(vector, np.int32) for vector in vectors),
            Paused(
                left_padded(written),
                *(
                    np.array(v, np.int32)
                    for v in (vectors[2], [r.word for r in rows], [r.place for r in rows], more)
                ),
            ),
            stack([row.config for row in rows]),
        )
        return Decoded(*(x.numpy() for x in found))


@dataclasses.dataclass
class Row:
    prompt: list
    config: DecodingConfig
    tokens: list = dataclasses.field(default_factory=list)
    log_probabilities: list = dataclasses.field(default_factory=list)
    word: int = 0
    place: int = 0


def left_padded(rows):
    width = max(map(len, rows))
    return np.array([[PAD] * (width - len(row)) + row for row in rows], np.int32).reshape(
        len(rows), width
    )


@pytest.mark.thorough
def test_a_search_that_pauses_goes_on_as_though_it_had_not():
    """In batches of rows that are not equally far, which change; bit by bit."""
    model, rng = Pausing(), np.random.default_rng(2)
    prompts = [[int(token) for token in rng.integers(5, 16, rng.integers(1, 4))] for _ in range(14)]
    configs = random_configs(rng, 12, max_new_tokens=12)
    configs += [
        DecodingConfig(seed=seed, max_new_tokens=12, min_new_tokens=10, forced=("abcab", "cc"))
        for seed in (3, 4)
    ]
    whole = model.run(prompts, configs)
    inside_words, reasons = 0, set()
    going = dict(enumerate(Row(*both) for both in zip(prompts, configs, strict=True)))
    while going:
        at = [int(i) for i in rng.permutation([*going])]
        rows = [going[i] for i in at]
        found = model.go_on_with(rows, [int(n) for n in rng.integers(1, 5, len(at))])
        for place, (i, row) in enumerate(zip(at, rows, strict=True)):
            columns = slice(found.first[place], found.first[place] + found.token_count[place])
            before, row.tokens = row.tokens, found.tokens[place, columns].tolist()
            assert (
                row.tokens[: len(before)] == before
                and not found.tokens[place, : columns.start].any()
            )
            row.log_probabilities += found.log_probabilities[place, columns].tolist()[len(before) :]
            row.word, row.place = int(found.word[place]), int(found.place[place])
            if reason := found.finish_reason[place]:
                count = whole.token_count[i]
                assert row.tokens == whole.tokens[i, :count].tolist()
                assert row.log_probabilities == whole.log_probabilities[i, :count].tolist()
                assert (reason, found.texts[place]) == (whole.finish_reason[i], whole.texts[i])
                reasons.add(reason)
                del going[i]
            else:
                inside_words += row.place > 0
    assert inside_words and reasons >= {b"eos", b"length"}


def test_one_trace_for_all_shapes(model, wishes, batch):
    traces = model.traces
    prompts, configs = wishes
    for rows, width in ((0, 3), (1, 1), (2, 9), (7, 5)):
        decoded = model.run([p[:width] for p in prompts[:rows]], configs[:rows], pad_to=width)
        assert decoded.tokens.shape[0] == rows
    assert model.traces == traces


def test_no_rows(model):
    decoded = model.run([], [], pad_to=4)
    assert [x.shape[0] for x in decoded] == [0] * len(decoded)


def test_eager_equals_graph(model, wishes, batch):
    prompts, configs = [[*p] for p in wishes[0][:3]], wishes[1][:3]
    padded = tf.ragged.constant(prompts, dtype=tf.int32)
    width = int(padded.bounding_shape()[1])
    left = tf.constant([[PAD] * (width - len(p)) + p for p in prompts])
    eager = model.decode_eagerly(left, tf.constant([len(p) for p in prompts]), stack(configs))
    model.traces -= 1
    for i in range(3):
        same_row(batch, i, Decoded(*(x.numpy() for x in eager)), i)


@pytest.mark.thorough
def test_saved_model(model, wishes, batch, tmp_path):
    module = tf.Module()
    module.decode = model.decode
    tf.saved_model.save(module, str(tmp_path))
    prompts, configs = wishes
    loaded = tf.saved_model.load(str(tmp_path)).decode
    for rows in (5, 0):
        left = np.array([[p[-1]] for p in prompts[:rows]], np.int32).reshape(rows, 1)
        ones = np.ones(rows, np.int32)
        here, there = (
            model.decode(left, ones, stack(configs[:rows])),
            loaded(left, ones, stack(configs[:rows])),
        )
        for a, b in zip(here, there, strict=True):
            np.testing.assert_array_equal(a, b)


def test_same_seed_same_text_other_seed_other_text(model):
    seeds = [3, 3, 4, -3]
    configs = [DecodingConfig(seed=s, min_new_tokens=20, max_new_tokens=20) for s in seeds]
    texts = model.run([[6]] * 4, configs).tokens.tolist()
    assert texts[0] == texts[1]
    assert len({*map(tuple, texts)}) == 3


def test_greedy_is_the_temperatures_limit(model):
    configs = [DecodingConfig(temperature=t, max_new_tokens=15) for t in (0.0, 1e-4, 1e-30, 2e-38)]
    decoded = model.run([[8]] * 4, configs)
    assert len({*map(tuple, decoded.tokens.tolist())}) == 1
    assert np.isfinite(decoded.score).all()


def test_end_token_and_stop_string_count():
    model = Markov(eager=True)
    model.table[:] = 0.0
    model.table[:, 7] = 5.0  # "ab" for ever
    config = DecodingConfig(temperature=0.0, max_new_tokens=9, stop=("zz", "ba"))
    decoded = model.run([[5]], [config])
    assert (decoded.texts[0], decoded.finish_reason[0], decoded.token_count[0]) == (
        b"a",
        b"stop",
        2,
    )
    np.testing.assert_allclose(decoded.score[0], 2 * (5 - np.log(np.exp(5) + 15)), rtol=1e-6)


def test_stop_string_wins_over_length():
    stuck = Markov(eager=True)
    stuck.table[:, 5] = 90.0
    stop = DecodingConfig(temperature=0.0, max_new_tokens=3, stop=("aaa",))
    decoded = stuck.run([[5], [5]], [stop, dataclasses.replace(stop, stop=("aaaa",))])
    assert decoded.finish_reason.tolist() == [b"stop", b"length"]
    assert decoded.texts.tolist() == [b"", b"aaa"]


def test_a_diverged_row_ends_and_leaves_its_neighbours_alone():
    model = Markov(vocabulary_size=300, eager=True)
    for prompt, value in zip((9, 10, 11), (np.nan, -np.inf, np.inf), strict=True):
        model.table[model.row(prompt, prompt, 0)] = value
    warm = DecodingConfig(
        max_new_tokens=2, min_new_tokens=2, top_p=0.9, top_k=280, repetition_penalty=1.1
    )
    configs = [warm] * 4 + [dataclasses.replace(warm, temperature=0.0)] * 4
    decoded = model.run([[9], [10], [11], [6]] * 2, configs)
    for i in range(8):
        if i % 4 == 3:
            assert decoded.tokens[i].tolist() == model.expect([6], configs[i])[0]
        else:
            assert (decoded.tokens[i].tolist(), decoded.finish_reason[i]) == ([EOS, PAD], b"eos")
            assert not np.isfinite(decoded.score[i])


def test_partly_nan_row_continues_and_its_score_tells():
    model = Markov(eager=True)
    model.table[:, 5] = np.nan
    decoded = model.run([[6]], [DecodingConfig(max_new_tokens=4, min_new_tokens=4)])
    assert decoded.token_count[0] == 4 and np.isnan(decoded.score[0])
    assert not np.isin(decoded.tokens, [*BANNED, 5]).any()


def test_the_score_of_a_finite_model_is_finite():
    model = Markov(eager=True)
    model.table[:] = 3e38
    model.table[:, 5:7] = -3e38
    decoded = model.run(
        [[9]], [DecodingConfig(temperature=0.0, forced_prefix="aba", max_new_tokens=3)]
    )
    assert decoded.texts[0] == b"aba" and decoded.score[0] == np.finfo("float32").min


def test_per_row_limits_are_clipped_to_the_bound():
    model = Markov(bound=5, eager=True)
    decoded = model.run(
        [[6]] * 2, [DecodingConfig(max_new_tokens=n, min_new_tokens=n) for n in (3, 50)]
    )
    assert decoded.token_count.tolist() == [3, 5]


def inputs_of(configs, **others):
    """Rows whose prompts are one token each, the ids from 5 on."""
    rows = len(configs)
    return SearchInputs(
        parameters=stack(configs),
        constraints=no_constraints(rows),
        prompt_tokens=tf.range(5, 5 + rows)[:, tf.newaxis],
        prompt_lengths=tf.ones([rows], tf.int32),
        max_new_tokens=4,
        eos_id=EOS,
        **others,
    )


def test_without_detokenizer_there_are_no_texts():
    table = tf.zeros([8, 8])
    decoded = decode(
        tf.gather(table, [5, 6]),
        (),
        lambda tokens, state: (tf.gather(table, tokens), state),
        inputs_of([DecodingConfig(max_new_tokens=4, min_new_tokens=4, stop=("a",))] * 2),
    )
    assert decoded.texts.numpy().tolist() == [b"", b""]
    assert decoded.finish_reason.numpy().tolist() == [b"length", b"length"]


@pytest.fixture(scope="module")
def watched():
    """A model and the set of the processors that ran."""
    ran = set()
    modules = {
        "penalize_repetition": repetition,
        "suppress": processors,
        "scale": processors,
        "keep_top_k": cutoffs,
        "keep_top_p": cutoffs,
        "keep_min_p": cutoffs,
    }

    def watch(name, original):
        def processor(logits, *args):
            with tf.control_dependencies([tf.py_function(lambda: ran.add(name), [], [])]):
                return original(tf.identity(logits), *args)

        return processor

    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setattr(module, name, watch(name, getattr(module, name)))
        model = Markov()
        model.run([[6]], [DecodingConfig(temperature=0.0)])
    return model, ran


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (DecodingConfig(temperature=0.0, top_k=3, top_p=0.5, min_p=0.1), set()),
        (DecodingConfig(temperature=1.0), set()),
        (DecodingConfig(top_p=0.5), {"keep_top_p"}),
        (DecodingConfig(temperature=0.5, top_k=3), {"scale", "keep_top_k"}),
        (DecodingConfig(temperature=0.0, repetition_penalty=1.5), {"penalize_repetition"}),
        (DecodingConfig(min_p=0.5, min_new_tokens=1), {"keep_min_p", "suppress"}),
    ],
)
def test_processors_that_no_row_needs_are_not_run(watched, config, expected):
    model, ran = watched
    ran.clear()
    greedy = DecodingConfig(temperature=0.0, top_k=2, top_p=0.1, min_p=0.9)
    model.run([[6]] * 2, [dataclasses.replace(config, max_new_tokens=3), greedy])
    assert ran == expected


@pytest.mark.parametrize("in_graph", [False, True])
def test_the_model_is_not_stepped_past_the_last_token(in_graph):
    steps = []

    def step(tokens, state):
        with tf.control_dependencies(
            [tf.py_function(lambda one: steps.append(one.numpy().tolist()), [tokens], [])]
        ):
            return tf.zeros([2, 8]), tf.identity(state)

    def run():
        return decode(
            tf.zeros([2, 8]),
            tf.zeros([2]),
            step,
            inputs_of(
                [
                    DecodingConfig(max_new_tokens=n, min_new_tokens=n, temperature=0.0)
                    for n in (2, 4)
                ],
                banned_ids=BANNED,
            ),
        )

    (tf.function(run, autograph=False) if in_graph else run)()
    assert steps == [[5, 5], [5, 5], [PAD, 5]]


@pytest.mark.thorough
def test_logits_of_steps_may_have_another_dtype_and_a_batch_its_static_size():
    table = tf.random.stateless_normal([8, 8], [1, 2])

    def run(dtype):
        found = decode(
            tf.gather(table, [5]),
            (),
            lambda tokens, state: (tf.cast(tf.gather(table, tokens), dtype), state),
            inputs_of([DecodingConfig(max_new_tokens=4, min_new_tokens=4, temperature=0.0)]),
        )
        return found.tokens

    expected = run(tf.float32)
    for dtype in (tf.float32, tf.bfloat16):
        np.testing.assert_array_equal(tf.function(run, autograph=False)(dtype), expected)
