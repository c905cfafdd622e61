"""Texts in chunks: whatever their sizes, the text is that of one request and only grows."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.generator.conftest import TRACED
from tests.generator.example_requests import REQUESTS, merged, parameter_rows
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameters import from_config
from tf_textgen.decoding.stopping import parse_stops
from tf_textgen.generator.streaming import settled_text
from tf_textgen.text.bytes import ByteTokenizer
from tf_textgen.text.sentencepiece import train_sentencepiece
from tf_textgen.text.tokenizer import repair_utf8
from tf_textgen.text.tokenizer_config import TokenizerConfig

# The end of a chunk falls into a forced word, a stop string, a loop.
MORE_REQUESTS = {
    "stop": DecodingConfig(
        temperature=0.0,
        max_new_tokens=20,
        forced_prefix="ab字cd",
        stop=("字x", "b字cq", "de"),
    ),
    "words": DecodingConfig(
        temperature=0.0,
        max_new_tokens=14,
        forced=("catcatd", "字"),
        min_new_tokens=4,
    ),
    "loop": DecodingConfig(
        temperature=0.0,
        max_new_tokens=24,
        allowed=("ab",),
        loop_repeats=3,
        repetition_penalty=0.5,
    ),
}
EIGHT_TOKENS = DecodingConfig(temperature=0.0, max_new_tokens=8, min_new_tokens=8)
BAD_STATE = (
    'invalid state: expected "", or the last answer\'s to this prompt unless that was finished'
)


def streamed(generator, requests, sizes):
    """The answers of each request, chunk by chunk; all unfinished requests are merged."""
    prompts = list(requests)
    rows = parameter_rows(requests)
    answers = [[] for _ in prompts]
    states = [""] * len(prompts)
    running = list(range(len(prompts)))
    while running:
        chunk = generator.chunk_graph(
            tf.constant([prompts[i] for i in running]),
            tf.constant([states[i] for i in running]),
            tf.constant([sizes[i] for i in running], tf.int32),
            merged([rows[i] for i in running]),
        )
        for place, i in enumerate(running):
            fields = chunk._asdict().items()
            answer = {name: value.numpy()[place] for name, value in fields}
            answers[i].append(answer)
            states[i] = answer["state"].decode("ascii")
        running = [i for i in running if not answers[i][-1]["finished"]]
    return answers


@pytest.mark.thorough
def test_the_last_chunk_is_the_answer_of_one_request(any_generator):
    requests = REQUESTS | MORE_REQUESTS
    whole = any_generator.generate_graph(
        tf.constant(list(requests)), merged(parameter_rows(requests))
    )
    sizes = [1 + (3 * i) % 7 for i in range(len(requests))]
    sizes[1] = 2**31 - 1
    for row, answers in enumerate(streamed(any_generator, requests, sizes)):
        for name in ("text", "token_count", "finish_reason", "prompt_truncated"):
            assert answers[-1][name] == getattr(whole, name)[row].numpy(), (name, row)
        np.testing.assert_allclose(answers[-1]["score"], whole.score[row], atol=1e-4)
        for before, after in itertools.pairwise(answers):
            assert after["text"].startswith(before["text"])
            assert before["finish_reason"] == b""
            assert after["score"] <= before["score"]
        counts = [answer["token_count"] for answer in answers[:-1]]
        assert counts == [sizes[row] * (i + 1) for i in range(len(counts))]
        for answer in answers:
            answer["text"].decode("utf-8")


@pytest.fixture(scope="module")
def first_chunk(generator):
    """Three tokens of eight."""
    return generator.chunk_graph(
        tf.constant(["ab"]), tf.constant([""]), tf.constant([3]), from_config(EIGHT_TOKENS, 1)
    )


def bad_states(generator, state):
    """States that are damaged, made up, or too long."""
    numbers = state.split(" ")
    not_a_number = tf.ragged.constant([[0x7FC00000, 0, 0, 81]], tf.int64)
    forged = generator.streamer.states.sealed(tf.constant(["ab"]), not_a_number)
    return [
        state + "0",
        " ".join([*numbers[:-1], "3"]),
        state.replace(numbers[1], "7"),
        " ".join(numbers[:4]),
        "2" + state[1:],
        "finished",
        "1 猫 \x00",
        "9" * 40,
        forged.numpy()[0].decode(),
    ]


def test_bad_rows_of_a_stream_fail_by_themselves_with_a_reason(generator, first_chunk):
    state = first_chunk.state[0].numpy().decode()
    good = from_config(EIGHT_TOKENS, 1)
    bad_temperature = good._replace(temperature=tf.constant([float("nan")]))
    bad_bound = good._replace(max_new_tokens=tf.constant([3]))
    # Prompt, state, size of the chunk, parameters, and the reason of a refusal.
    rows = [("ab", state, 3, good, ""), ("ab", "", 3, good, "")]
    for bad_state in bad_states(generator, state):
        rows.append(("ab", bad_state, 3, good, BAD_STATE))
    rows += [
        ("abc", state, 3, good, BAD_STATE),
        ("ab", state, 0, good, "invalid chunk_tokens: expected an integer >= 1"),
        ("ab", state, 3, bad_temperature, "invalid temperature: expected a finite value >= 0"),
        ("ab", state, 3, bad_bound, "invalid min_new_tokens: expected at most"),
    ]
    prompts, states, sizes, parameters, reasons = zip(*rows, strict=True)
    found = generator.chunk_graph(
        tf.constant(prompts), tf.constant(states), tf.constant(sizes), merged(parameters)
    )
    for row, reason in enumerate(reasons):
        assert found.finish_reason[row].numpy().startswith(reason.encode())
        assert bool(found.finished[row]) == bool(reason)
        if reason:
            assert found.text[row] == b""
            assert found.state[row] == b""
            assert found.token_count[row] == 0
    single = generator.chunk_graph(
        tf.constant(["ab"]), tf.constant([state]), tf.constant([3]), good
    )
    assert found.text[0] == single.text[0]
    assert found.token_count[0] == 6
    assert same_state(found.state[0], single.state[0])
    assert same_state(found.state[1], first_chunk.state[0])


def same_state(state, other):
    """Compares all but the score, whose last digits differ in another batch, and the checksum."""
    return state.numpy().split()[3:] == other.numpy().split()[3:]


def test_no_rows_and_one_search_for_texts_and_chunks(generator):
    nothing = tf.constant([], tf.string)
    assert len(generator.generate(["a"], EIGHT_TOKENS)) == 1
    found = generator.chunk_graph(
        nothing, nothing, tf.constant([], tf.int32), from_config(DecodingConfig(), 0)
    )
    assert found.text.shape == (0,)
    assert TRACED.count(generator.decoder) == 1


@pytest.mark.parametrize("kind", ["bytes", "sentencepiece"])
def test_shown_text_is_never_withdrawn(kind):
    """Random ids, among them many parts of characters and of stop strings, shown token by token."""
    tokenizer = tokenizer_of(kind)
    stops = parse_stops(tf.constant(["猫a\x1f🙂🙂\x1fthethe\x1fat\nX"]))

    @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int32)], autograph=False)
    def show(tokens):
        return settled_text(tokenizer.detokenize(tokens), stops)

    rng = np.random.default_rng(0)
    held_back = 0
    for _ in range(6):
        tokens = random_ids(tokenizer, rng)
        whole = repair_utf8(tokenizer.detokenize([tokens])).numpy()[0]
        before = b""
        for count in range(len(tokens) + 1):
            some = tf.constant([tokens[:count]], tf.int32)
            shown = show(some).numpy()[0]
            assert shown.startswith(before)
            assert whole.startswith(shown)
            text = repair_utf8(tokenizer.detokenize(some)).numpy()[0]
            held_back += len(text) > len(shown)
            before = shown
    assert held_back > 50


def tokenizer_of(kind):
    if kind == "bytes":
        return ByteTokenizer()
    texts = ["the cat sat on the mat\n", "von vier Katzen saß eine\n", "猫坐在垫子上\n"] * 20
    return train_sentencepiece(TokenizerConfig(kind=kind, vocabulary_size=287), texts)


def random_ids(tokenizer, rng):
    """Twenty random pieces, each as the ids of its bytes."""
    pieces = [piece.encode() for piece in ("猫", "ß", "a", "the", "🙂", "at\n", "\ufffd")]
    pieces += [b"\xe7", b"\xff", b"\xf0\x9f"]
    id_of_byte = {}
    for token_id, piece in enumerate(tokenizer.pieces.numpy()):
        if len(piece) == 1:
            id_of_byte[piece] = token_id
    chosen = b"".join(rng.choice(pieces, 20))
    return [id_of_byte[bytes([byte])] for byte in chosen]
