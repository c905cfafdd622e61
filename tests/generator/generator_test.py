"""Prompts in, continuations out: layout, truncation, independence of rows; and streaming.

Whatever the chunks, the text is that of one request; it only grows; bad states fail alone.
"""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.decoding.beam_oracle import plain_beam_search
from tests.generator.conftest import TRACED, generator_of
from tests.generator.wishes import WISHES, merged
from tests.support import tiny_models
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.length_penalty import length_penalty_of
from tf_textgen.decoding.parameters import from_config
from tf_textgen.errors import UserError

GREEDY = DecodingConfig(temperature=0.0, max_new_tokens=8)
BEAM = DecodingConfig(beam_width=4, num_best=3, max_new_tokens=8)
SAMPLED = DecodingConfig(temperature=1.0, top_k=30, max_new_tokens=8, seed=11)
PROMPTS = [
    f"{word} {number}" * (number % 5)
    for number in range(4)
    for word in ("a", "the 猫", "", "Zwölf")
]
# If the end of a chunk falls into a forced word, a stop string, a loop.
MORE_WISHES = {
    "stop": DecodingConfig(
        temperature=0.0, max_new_tokens=20, forced_prefix="ab字cd", stop=("字x", "b字cq", "de")
    ),
    "words": DecodingConfig(
        temperature=0.0, max_new_tokens=14, forced=("catcatd", "字"), min_new_tokens=4
    ),
    "loop": DecodingConfig(
        temperature=0.0, max_new_tokens=24, allowed=("ab",), loop_repeats=3, repetition_penalty=0.5
    ),
}
STATE = 'invalid state: expected "", or the last answer\'s to this prompt unless that was finished'


@pytest.mark.parametrize("decoding", [GREEDY, SAMPLED, BEAM], ids=["greedy", "sampled", "beam"])
def test_a_prompt_in_a_batch_gives_what_it_gives_alone(generator, decoding):
    together = generator.generate(PROMPTS, decoding, batch_size=16)
    alone = generator.generate(PROMPTS, decoding, batch_size=1)
    assert [c.text for c in together] == [c.text for c in alone]
    np.testing.assert_allclose([c.score for c in together], [c.score for c in alone], atol=1e-4)


def test_one_text_needs_no_list(generator):
    assert generator.generate("猫 a", GREEDY) == generator.generate(["猫 a"], GREEDY)
    sources = ["b c"] if generator.is_pair else None
    alone = generator.score("猫 a", sources and sources[0])
    np.testing.assert_array_equal(
        alone.log_probability, generator.score(["猫 a"], sources).log_probability
    )


def test_rows_of_a_batch_keep_their_own_parameters(generator):
    """What a row's neighbours ask for switches processors on and lengthens the cache, but never
    changes the row.
    """
    prompts, rows = list(WISHES), [from_config(wish, 1) for wish in WISHES.values()]
    together = generator.generate_graph(tf.constant(prompts), merged(rows))
    for index, (prompt, row) in enumerate(zip(prompts, rows, strict=True)):
        alone = generator.generate_graph(tf.constant([prompt]), row)
        for name in ("text", "token_count", "finish_reason", "prompt_truncated"):
            assert getattr(together, name)[index] == getattr(alone, name)[0], (name, prompt)
        np.testing.assert_allclose(together.score[index], alone.score[0], atol=1e-4)


def test_words_of_the_request_in_the_text(generator):
    decoding = DecodingConfig(
        temperature=0.0, max_new_tokens=16, forced=("cat", "字"), forced_prefix="It "
    )
    for continuation in generator.generate(["abc", ""], decoding):
        assert (
            continuation.text.startswith("It ")
            and "cat" in continuation.text
            and "字" in continuation.text
        )
    letters = DecodingConfig(
        max_new_tokens=24, allowed=("ab", "c"), banned=("ba",), no_repeat_ngram=3
    )
    for continuation in generator.generate(["", "q"], letters):
        text = continuation.text
        assert {*text} <= {*"abc"} and "ba" not in text
        assert len({text[i : i + 3] for i in range(len(text) - 2)}) == max(len(text) - 2, 0)


def test_tokens_of_the_answer(generator):
    (continuation,) = generator.generate(
        ["abc"], DecodingConfig(max_new_tokens=9, allowed=("ab字",), seed=3)
    )
    pieces = continuation.token_texts
    assert len(pieces) == len(continuation.token_log_probabilities) == continuation.token_count
    assert sum(continuation.token_log_probabilities) == pytest.approx(continuation.score, abs=1e-4)
    ends = int(continuation.finish_reason == "eos")
    assert pieces[len(pieces) - ends :] == ("</s>",) * ends and {*pieces} <= {
        "a",
        "b",
        "\ufffd",
        "</s>",
    }


def test_loops_end_with_their_own_reason(eagerly):
    wanted = DecodingConfig(temperature=0.0, max_new_tokens=24, loop_repeats=3)
    (looped,) = generator_of("rnn_seq2seq").generate(["abc"], wanted)
    assert looped.finish_reason == "loop" and len({*looped.token_texts[-3:]}) == 1


@pytest.mark.parametrize("prompt_format", ["source", "pair"])
def test_lengths_relative_to_the_source(prompt_format, pair_generator, eagerly):
    generator = generator_of("rnn_seq2seq") if prompt_format == "source" else pair_generator
    decoding = DecodingConfig(max_new_tokens=24, min_length_ratio=2.0, max_length_ratio=2.0)
    counts = [c.token_count for c in generator.generate(["ab", "abcde", "", "a" * 20], decoding)]
    assert counts == [4, 10, 1, 24]


def test_what_cannot_be_done_is_told_before_there_are_prompts(generator):
    generator.check(GREEDY)
    for bad, message in (
        (
            {"forced": ("a" * 30,)},
            "max_new_tokens=8: expected enough for the tokens of forced and forced_prefix",
        ),
        ({"max_new_tokens": 1000}, "max_new_tokens=1000: expected an integer from 1 to"),
    ):
        for asked in (generator.check, lambda decoding: generator.generate(["a"], decoding)):
            with pytest.raises(UserError, match=message):
                asked(dataclasses.replace(GREEDY, **bad))


def test_one_trace_for_any_number_and_length_of_prompts(generator):
    for prompts in ([], ["a"], ["long " * 20, "b"], [""] * 5):
        assert len(generator.generate(prompts, GREEDY)) == len(prompts)
    assert TRACED.count(generator.decoder) == 1


def test_samples_differ_and_do_not_depend_on_their_place(generator):
    decoding = DecodingConfig(temperature=1.5, max_new_tokens=12, num_samples=3, seed=2)
    found = generator.generate(["one", "two"], decoding)
    assert [(c.prompt, c.sample) for c in found] == [
        (p, s) for p in ("one", "two") for s in range(3)
    ]
    assert len({c.text for c in found[:3]}) == 3
    assert [c.text for c in generator.generate(["two"], decoding)] == [c.text for c in found[3:]]


def test_prompts_may_have_seeds_of_their_own(generator):
    decoding = DecodingConfig(temperature=1.5, max_new_tokens=12, num_samples=2, seed=2)
    found = generator.generate(["one", "one", "two"], decoding, batch_size=4, seeds=[5, -6, 2])
    alone = [
        continuation
        for prompt, seed in (("one", 5), ("one", -6), ("two", 2))
        for continuation in generator.generate([prompt], dataclasses.replace(decoding, seed=seed))
    ]
    assert [c.text for c in found] == [c.text for c in alone] and found[0].text != found[2].text
    with pytest.raises(
        UserError, match="generate: 2 prompts and 1 seeds, expected as many of each"
    ):
        generator.generate(["one", "two"], decoding, seeds=[1])


def first_features(generator, text):
    """What the model reads of a source, and the target's first tokens."""
    tokens = generator.tokenizer.tokenize(tf.constant([text])).to_list()[0]
    if not generator.is_pair:
        return {}, tokens
    source = [*tokens, generator.tokenizer.eos_id]
    features = {
        "source_tokens": tf.constant([source]),
        "source_lengths": tf.constant([len(source)]),
    }
    return features, [generator.tokenizer.bos_id]


def test_greedy_equals_full_forward_passes(generator):
    """Oracle: argmax of teacher forcing over the whole sequence, one token at a time, without any
    cache.
    """
    (continuation,) = generator.generate(["abc"], GREEDY)
    tokenizer, model = generator.tokenizer, generator.model
    features, prompt = first_features(generator, "abc")
    tokens, total = list(prompt), 0.0
    while len(tokens) - len(prompt) < GREEDY.max_new_tokens:
        logits = (
            model({**features, "target_tokens": tf.constant([tokens])})[0, -1]
            .numpy()
            .astype(np.float64)
        )
        log_probabilities = logits - np.log(np.sum(np.exp(logits - logits.max()))) - logits.max()
        allowed = log_probabilities.copy()
        allowed[[tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.sep_id]] = -np.inf
        tokens.append(int(np.argmax(allowed)))
        total += log_probabilities[tokens[-1]]
        if tokens[-1] == tokenizer.eos_id:
            break
    new = bytes(token - 5 for token in tokens[len(prompt) :] if token >= 5)
    assert (
        continuation.text
        == tf.strings.unicode_transcode([new], "UTF-8", "UTF-8")[0].numpy().decode()
    )
    assert continuation.token_count == len(tokens) - len(prompt)
    assert continuation.score == pytest.approx(total, abs=1e-3)


def test_beam_equals_a_plain_search_with_full_forward_passes(either_kind):
    """No cache, no state that has to follow a hypothesis: each step reads the whole
    sequence again.
    """
    tokenizer, model = either_kind.tokenizer, either_kind.model
    features, prompt = first_features(either_kind, "abc")
    full = tf.function(
        lambda tokens: model({**features, "target_tokens": tokens}),
        reduce_retracing=True,
        autograph=False,
    )

    def without_special_tokens(logits, _):
        logits[[tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.sep_id]] = -np.inf
        return logits

    found = either_kind.generate(["abc"], BEAM)
    expected = plain_beam_search(
        lambda tokens: full(tf.constant([[*prompt, *tokens]]))[0, -1].numpy(),
        without_special_tokens,
        BEAM,
        eos_id=tokenizer.eos_id,
        text_of=lambda tokens: bytes(token - 5 for token in tokens if token >= 5),
    )
    assert [c.rank for c in found] == [0, 1, 2]
    for continuation, wanted in zip(found, expected, strict=True):
        assert (
            continuation.text
            == tf.strings.unicode_transcode([wanted.text], "UTF-8", "UTF-8")[0].numpy().decode()
        )
        assert (continuation.token_count, continuation.finish_reason) == (
            len(wanted.tokens),
            wanted.reason,
        )
        np.testing.assert_allclose(continuation.score, wanted.score, atol=1e-3)
        np.testing.assert_allclose(continuation.normalized_score, wanted.normalized, atol=1e-3)


@pytest.mark.thorough
def test_a_beam_of_one_is_greedy():
    generator = generator_of(
        "ngram"
    )  # a search that no family has a part in but by what a wider one asks of it too
    greedy = generator.generate(PROMPTS, GREEDY)
    rows = from_config(GREEDY, len(PROMPTS)), length_penalty_of(GREEDY, len(PROMPTS))
    beam = generator.beam_graph(1, 1)(tf.constant(PROMPTS), *rows)
    for name in ("text", "finish_reason"):
        assert [x.decode() for x in getattr(beam, name)[:, 0].numpy()] == [
            getattr(c, name) for c in greedy
        ]
    np.testing.assert_array_equal(beam.token_count[:, 0], [c.token_count for c in greedy])
    np.testing.assert_allclose(beam.score[:, 0], [c.score for c in greedy], atol=1e-5)


def test_one_trace_of_a_beam_for_any_number_and_length_of_prompts(generator):
    for prompts in ([], ["a"], ["long " * 20, "b"], [""] * 5):
        assert len(generator.generate(prompts, BEAM)) == 3 * len(prompts)
    assert generator.beam_graph(4, 3).experimental_get_tracing_count() == 1


def test_bad_row_of_a_beam_fails_alone_and_by_name(generator):
    rows = from_config(BEAM, 4)._replace(repetition_penalty=tf.constant([1.0, -1.0, 1.0, 1.0]))
    penalty = length_penalty_of(BEAM, 4)._replace(
        length_penalty=tf.constant(["gnmt", "gnmt", "wu", "gnmt"])
    )
    output = generator.beam_graph(4, 3)(tf.constant(["a", "b", "b", "a"]), rows, penalty)
    assert (output.text[0] == output.text[3]).numpy().all() and not (
        output.text[1:3] != b""
    ).numpy().any()
    for row, name in ((1, b"invalid repetition_penalty"), (2, b"invalid length_penalty")):
        assert all(reason.startswith(name) for reason in output.finish_reason[row].numpy())


def test_pair_format_frames_the_source(pair_generator):
    features, truncated = pair_generator.encoder.features(
        tf.constant(["ab", ""]), tf.constant([4, 4])
    )
    tokenizer = pair_generator.tokenizer
    a, b = tokenizer.tokenize(tf.constant(["ab"])).to_list()[0]
    np.testing.assert_array_equal(
        features["target_tokens"],
        [
            [tokenizer.bos_id, a, b, tokenizer.sep_id],
            [tokenizer.pad_id, tokenizer.pad_id, tokenizer.bos_id, tokenizer.sep_id],
        ],
    )
    np.testing.assert_array_equal(features["target_lengths"], [4, 2])
    assert not any(truncated.numpy())


def test_source_and_target_have_the_whole_context_each(eagerly):
    generator = tiny_models.generator(
        "transformer_seq2seq", max_positions=16, positions="learned", decoder_layers=1
    )
    assert (
        generator.max_prompt_tokens,
        generator.max_new_tokens,
        generator.default_new_tokens,
    ) == (16, 15, 15)
    wanted = DecodingConfig(temperature=0.0, max_new_tokens=15, min_new_tokens=15)
    sources = [
        "0123456789abcdef",
        "0123456789abcde",
        "",
    ]  # with its </s> the first has a token too many
    cut, whole, _ = generator.generate(sources, wanted)
    assert [cut.prompt_truncated, whole.prompt_truncated] == [True, False]
    assert (cut.text, cut.token_count) == (whole.text, 15)
    found = generator.score(["x" * 30, "x" * 15, "x"], sources)
    np.testing.assert_array_equal(found.token_count, [16, 16, 2])
    np.testing.assert_array_equal(found.truncated, [True, False, False])


def test_long_prompt_is_cut_from_the_left_and_said_so():
    generator = generator_of("transformer_lm")
    long = "".join(chr(97 + i % 26) for i in range(200))
    (cut,) = generator.generate([long], GREEDY)
    room = generator.context - GREEDY.max_new_tokens
    (same,) = generator.generate([long[-room:]], GREEDY)
    assert cut.prompt_truncated and not same.prompt_truncated
    assert cut.text == same.text


@pytest.mark.parametrize("side", ["beginning", "end"])
@pytest.mark.parametrize(("name", "room"), [("transformer_seq2seq", 63), ("transformer_lm", 54)])
def test_a_long_source_loses_what_training_took(name, room, side):
    """Without the frame: `</s>` of a source, `<s>` and `<sep>` of a pair, which leaves its target 8
    places.
    """
    is_source = name == "transformer_seq2seq"
    generator = tiny_models.generator(name, "source" if is_source else "pair", side)
    long = "".join(chr(97 + i * i % 26) for i in range(200))
    kept = long[-room:] if side == "beginning" else long[:room]
    parameters = from_config(GREEDY, 2)
    features, truncated = generator.encoder.features(
        tf.constant([long, kept]), parameters.max_new_tokens
    )
    np.testing.assert_array_equal(truncated, [True, False])
    tokens = features["source_tokens" if is_source else "target_tokens"].numpy()
    np.testing.assert_array_equal(tokens[0], tokens[1])
    text = bytes(token - 5 for token in tokens[0] if token >= 5)
    assert text.decode() == kept


def test_default_leaves_the_prompt_half_of_the_context(eagerly):
    generator = tiny_models.generator("transformer_lm", max_positions=16, num_layers=1)
    assert generator.max_new_tokens == 15 and generator.default_new_tokens == 8
    (continuation,) = generator.generate(["12345678"])
    assert not continuation.prompt_truncated and continuation.token_count <= 8
    assert generator_of("rnn_seq2seq").default_new_tokens == 24


def test_bad_row_fails_alone_and_by_name(generator):
    parameters = from_config(GREEDY, 3)._replace(temperature=tf.constant([0.0, float("nan"), 0.0]))
    output = generator.generate_graph(tf.constant(["a", "b", "a"]), parameters)
    assert output.text[0] == output.text[2] and output.text[1] == b""
    assert b"temperature" in output.finish_reason[1].numpy() and output.finish_reason[0] in (
        b"eos",
        b"length",
    )


def test_more_tokens_than_the_bound_are_refused(generator):
    with pytest.raises(UserError, match="max_new_tokens"):
        generator.generate(
            ["a"], DecodingConfig(temperature=0.0, max_new_tokens=generator.max_new_tokens + 1)
        )


def streamed(generator, wishes, sizes):
    """The answers of each request, chunk by chunk; all that are not finished are merged, whatever
    they have so far.
    """
    prompts, rows = list(wishes), [from_config(wish, 1) for wish in wishes.values()]
    answers, running, states = [[] for _ in prompts], list(range(len(prompts))), [""] * len(prompts)
    while running:
        chunk = generator.chunk_graph(
            tf.constant([prompts[i] for i in running]),
            tf.constant([states[i] for i in running]),
            tf.constant([sizes[i] for i in running], tf.int32),
            merged([rows[i] for i in running]),
        )
        for place, i in enumerate(running):
            answers[i].append(
                {name: value.numpy()[place] for name, value in chunk._asdict().items()}
            )
            states[i] = answers[i][-1]["state"].decode("ascii")
        running = [i for i in running if not answers[i][-1]["finished"]]
    return answers


def test_the_last_chunk_is_the_answer_of_one_request(either_kind):
    wishes = WISHES | MORE_WISHES
    whole = either_kind.generate_graph(
        tf.constant(list(wishes)), merged([from_config(w, 1) for w in wishes.values()])
    )
    sizes = [1 + (3 * i) % 7 for i in range(len(wishes))]
    sizes[1] = 2**31 - 1
    for row, answers in enumerate(streamed(either_kind, wishes, sizes)):
        for name in ("text", "token_count", "finish_reason", "prompt_truncated"):
            assert answers[-1][name] == getattr(whole, name)[row].numpy(), (name, row)
        np.testing.assert_allclose(answers[-1]["score"], whole.score[row], atol=1e-4)
        for before, after in itertools.pairwise(answers):
            assert after["text"].startswith(before["text"]) and before["finish_reason"] == b""
            assert after["score"] <= before["score"]
        counts = [answer["token_count"] for answer in answers[:-1]]
        assert counts == [sizes[row] * (i + 1) for i in range(len(counts))]
        for answer in answers:
            answer["text"].decode("utf-8")


def test_bad_rows_of_a_stream_fail_alone_and_by_name(generator):
    wish = from_config(DecodingConfig(temperature=0.0, max_new_tokens=8, min_new_tokens=8), 1)
    first = generator.chunk_graph(tf.constant(["ab"]), tf.constant([""]), tf.constant([3]), wish)
    state = first.state[0].numpy().decode()
    numbers = state.split(" ")
    (forged,) = generator.streamer.states.sealed(
        tf.constant(["ab"]), tf.ragged.constant([[0x7FC00000, 0, 0, 81]], tf.int64)
    )  # NaN
    states = {
        state: b"",
        "": b"",
        state + "0": STATE,
        " ".join([*numbers[:-1], "3"]): STATE,
        state.replace(numbers[1], "7"): STATE,
        " ".join(numbers[:4]): STATE,
        "2" + state[1:]: STATE,
        "finished": STATE,
        "1 猫 \x00": STATE,
        "9" * 40: STATE,
        forged.numpy().decode(): STATE,
    }
    rows = [*states, state, state, state, state]
    prompts = ["ab"] * len(states) + ["abc", "ab", "ab", "ab"]
    sizes = [3] * (len(states) + 1) + [0, 3, 3]
    parameters = [wish] * (len(rows) - 2)
    parameters += [
        wish._replace(temperature=tf.constant([float("nan")])),
        wish._replace(max_new_tokens=tf.constant([3])),
    ]
    reasons = [*states.values(), STATE, "invalid chunk_tokens: expected an integer >= 1"]
    reasons += [
        "invalid temperature: expected a finite value >= 0",
        "invalid min_new_tokens: expected at most",
    ]
    found = generator.chunk_graph(
        tf.constant(prompts), tf.constant(rows), tf.constant(sizes), merged(parameters)
    )
    for row, reason in enumerate(reasons):
        assert (
            found.finish_reason[row]
            .numpy()
            .startswith(reason if isinstance(reason, bytes) else reason.encode())
        )
        assert bool(found.finished[row]) == bool(reason)
        if reason:
            assert (found.text[row], found.state[row], int(found.token_count[row])) == (b"", b"", 0)
    alone = generator.chunk_graph(tf.constant(["ab"]), tf.constant([state]), tf.constant([3]), wish)
    assert found.text[0] == alone.text[0] and int(found.token_count[0]) == 6
    # All but the score, whose last digits differ in another batch, and the mark of it.
    assert found.state[0].numpy().split()[3:] == alone.state[0].numpy().split()[3:]
    assert found.state[1].numpy().split()[3:] == first.state[0].numpy().split()[3:]


def test_no_rows_and_one_search_for_texts_and_chunks(generator):
    none = tf.constant([], tf.string)
    assert generator.generate([], GREEDY) == [] and len(generator.generate(["a"], GREEDY)) == 1
    found = generator.chunk_graph(
        none, none, tf.constant([], tf.int32), from_config(DecodingConfig(), 0)
    )
    assert found.text.shape == (0,)
    assert TRACED.count(generator.decoder) == 1
