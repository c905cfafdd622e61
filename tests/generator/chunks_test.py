"""Streaming: whatever the chunks, the text is that of one request; it only grows; bad states fail alone."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.generator.wishes import WISHES, merged
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameters import from_config
from tf_textgen.decoding.stopping import parse_stops
from tf_textgen.generator.chunks import settled_text
from tf_textgen.text.bytes import ByteTokenizer
from tf_textgen.text.sentencepiece import train_sentencepiece
from tf_textgen.text.tokenizer import repair_utf8
from tf_textgen.text.tokenizer_config import TokenizerConfig

# Where the end of a chunk falls into a forced word, a stop string, a loop.
MORE_WISHES = {
    "stop": DecodingConfig(temperature=0.0, max_new_tokens=20, forced_prefix="ab字cd", stop=("字x", "b字cq", "de")),
    "words": DecodingConfig(temperature=0.0, max_new_tokens=14, forced=("catcatd", "字"), min_new_tokens=4),
    "loop": DecodingConfig(temperature=0.0, max_new_tokens=24, allowed=("ab",), loop_repeats=3, repetition_penalty=0.5),
}
STATE = 'invalid state: expected "", or the last answer\'s to this prompt unless that was finished'


def streamed(generator, wishes, sizes):
    """The answers of each request, chunk by chunk; all that are not finished are merged, whatever they have so far."""
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
            answers[i].append({name: value.numpy()[place] for name, value in chunk._asdict().items()})
            states[i] = answers[i][-1]["state"].decode("ascii")
        running = [i for i in running if not answers[i][-1]["finished"]]
    return answers


def test_the_last_chunk_is_the_answer_of_one_request(generator):
    wishes = WISHES | MORE_WISHES
    whole = generator.generate_graph(tf.constant(list(wishes)), merged([from_config(w, 1) for w in wishes.values()]))
    sizes = [1 + (3 * i) % 7 for i in range(len(wishes))]
    sizes[1] = 2**31 - 1
    for row, answers in enumerate(streamed(generator, wishes, sizes)):
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


def test_bad_rows_fail_alone_and_by_name(generator):
    wish = from_config(DecodingConfig(temperature=0.0, max_new_tokens=8, min_new_tokens=8), 1)
    first = generator.chunk_graph(tf.constant(["ab"]), tf.constant([""]), tf.constant([3]), wish)
    state = first.state[0].numpy().decode()
    numbers = state.split(" ")
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
    reasons += ["invalid temperature: expected a finite value >= 0", "invalid min_new_tokens: expected at most"]
    found = generator.chunk_graph(tf.constant(prompts), tf.constant(rows), tf.constant(sizes), merged(parameters))
    for row, reason in enumerate(reasons):
        assert found.finish_reason[row].numpy().startswith(reason if isinstance(reason, bytes) else reason.encode())
        assert bool(found.finished[row]) == bool(reason)
        if reason:
            assert (found.text[row], found.state[row], int(found.token_count[row])) == (b"", b"", 0)
    alone = generator.chunk_graph(tf.constant(["ab"]), tf.constant([state]), tf.constant([3]), wish)
    assert found.text[0] == alone.text[0] and int(found.token_count[0]) == 6
    # All but the score, whose last digits differ in another batch, and the mark of it.
    assert found.state[0].numpy().split()[3:] == alone.state[0].numpy().split()[3:]
    assert found.state[1].numpy().split()[3:] == first.state[0].numpy().split()[3:]


def test_no_rows_and_one_trace(generator):
    none = tf.constant([], tf.string)
    found = generator.chunk_graph(none, none, tf.constant([], tf.int32), from_config(DecodingConfig(), 0))
    assert found.text.shape == (0,)
    assert generator.chunk_graph.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("kind", ["bytes", "sentencepiece"])
def test_what_is_shown_is_never_taken_back(kind):
    """Random ids, among them many parts of characters and of stop strings, shown token by token."""
    texts = ["the cat sat on the mat\n", "von vier Katzen saß eine\n", "猫坐在垫子上\n"] * 20
    tokenizer = ByteTokenizer()
    if kind == "sentencepiece":
        tokenizer = train_sentencepiece(TokenizerConfig(kind=kind, vocabulary_size=287), texts)
    rng = np.random.default_rng(0)
    pieces = [piece.encode() for piece in ("猫", "ß", "a", "the", "🙂", "at\n", "\ufffd")] + [
        b"\xe7",
        b"\xff",
        b"\xf0\x9f",
    ]
    of_byte = {bytes(piece): i for i, piece in enumerate(tokenizer.pieces.numpy()) if len(piece) == 1}
    stops, held = parse_stops(tf.constant(["猫a\x1f🙂🙂\x1fthethe\x1fat\nX"])), 0
    show = tf.function(
        lambda tokens: settled_text(tokenizer.detokenize(tokens), stops),
        input_signature=[tf.TensorSpec([1, None], tf.int32)],
    )
    for _ in range(6):
        tokens = [of_byte[bytes([byte])] for piece in rng.choice(pieces, 20) for byte in piece]
        whole = repair_utf8(tokenizer.detokenize([tokens])).numpy()[0]
        before = b""
        for count in range(len(tokens) + 1):
            shown = show(tf.constant([tokens[:count]], tf.int32)).numpy()[0]
            assert shown.startswith(before) and whole.startswith(shown)
            held += len(repair_utf8(tokenizer.detokenize(tf.constant([tokens[:count]], tf.int32))).numpy()[0]) > len(
                shown
            )
            before = shown
    assert held > 50
