"""The text in which penalties count tokens: prompt and continuation, or only the target.

Oracle: greedy decoding in NumPy, by full forward passes, with each penalty by its own definition.
"""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.generator.example_requests import merged
from tests.generator.full_passes import text_of_bytes
from tests.support import tiny_models
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.length_penalty import length_penalty_of
from tf_textgen.decoding.parameters import from_config
from tf_textgen.generator import TextGenerator

LETTERS = "stuvw"
NEW_TOKENS = 7
TEXT = "stsusvtust"
KINDS = ("continuation", "pair", "source")
PENALTIES = (
    {},
    {"repetition_penalty": 3.0},
    {"repetition_penalty": 0.4},
    {"frequency_penalty": 0.7},
    {"presence_penalty": 1.5},
    {"no_repeat_ngram": 2},
    {"no_repeat_ngram": 3, "repetition_penalty": 1.5, "frequency_penalty": 0.2},
)
pytestmark = pytest.mark.usefixtures("eagerly")


@functools.cache
def generator_of(kind):
    if kind == "source":
        return tiny_models.generator("transformer_seq2seq", decoder_layers=1)
    language_model = tiny_models.generator("transformer_lm", num_layers=1)
    return TextGenerator(
        language_model.model, language_model.tokenizer, prompt_format=kind, max_new_tokens=24
    )


def decoding_of(penalties):
    return DecodingConfig(
        temperature=0.0,
        allowed=(LETTERS,),
        min_new_tokens=NEW_TOKENS,
        max_new_tokens=NEW_TOKENS,
        **penalties,
    )


def next_logits(kind, tokens):
    """Those of the model after `TEXT` and `tokens`, `[V]` float32."""
    generator = generator_of(kind)
    tokenizer = generator.tokenizer
    text = [byte + 5 for byte in TEXT.encode()]
    features = {}
    if kind == "continuation":
        before = text
    elif kind == "pair":
        before = [tokenizer.bos_id, *text, tokenizer.sep_id]
    else:
        before = [tokenizer.bos_id]
        features["source_tokens"] = tf.constant([[*text, tokenizer.eos_id]])
        features["source_lengths"] = tf.constant([len(text) + 1])
    features["target_tokens"] = tf.constant([[*before, *tokens]])
    return generator.model(features)[0, -1].numpy()


def penalized(logits, counted, new, *, repetition, frequency, presence, ngram):
    """The logits after all penalties.

    Args:
      logits: `[V]` float32.
      counted: tokens of the text so far.
      new: tokens of the continuation so far.
      repetition, frequency, presence, ngram: the penalties.
    """
    logits = logits.astype(np.float64)
    for token in set(counted):
        factor = repetition if logits[token] < 0 else 1 / repetition
        logits[token] *= factor
    for token in set(new):
        logits[token] -= frequency * new.count(token) + presence
    if ngram:
        last = counted[len(counted) - ngram + 1 :]
        for start in range(len(counted) - ngram + 1):
            if counted[start : start + ngram - 1] == last:
                logits[counted[start + ngram - 1]] = -np.inf
    return logits


def expected_text(kind, penalties, *, counts_text):
    """Greedy decoding; `counts_text`: whether `TEXT` belongs to the text that is generated."""
    before = [byte + 5 for byte in TEXT.encode()] if counts_text else []
    letters = [byte + 5 for byte in LETTERS.encode()]
    new = []
    for _ in range(NEW_TOKENS):
        logits = penalized(
            next_logits(kind, new),
            [*before, *new],
            new,
            repetition=penalties.get("repetition_penalty", 1.0),
            frequency=penalties.get("frequency_penalty", 0.0),
            presence=penalties.get("presence_penalty", 0.0),
            ngram=penalties.get("no_repeat_ngram", 0),
        )
        best = max(letters, key=lambda token: logits[token])
        if logits[best] == -np.inf:
            break
        new.append(best)
    return text_of_bytes(new)


@functools.cache
def expected_texts(kind):
    counts_text = kind == "continuation"
    return [expected_text(kind, each, counts_text=counts_text) for each in PENALTIES]


@pytest.mark.parametrize("kind", KINDS)
def test_penalties_count_the_text_that_is_generated(kind):
    rows = merged([from_config(decoding_of(each), 1) for each in PENALTIES])
    texts = tf.fill([len(PENALTIES)], TEXT)
    found = generator_of(kind).generate_graph(texts, rows).text.numpy()
    assert [text.decode() for text in found] == expected_texts(kind)
    assert len(set(expected_texts(kind))) > 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_other_definition_would_give_other_texts(kind):
    """What the test above could not see would not be tested."""
    for index in (1, 5):
        other = expected_text(kind, PENALTIES[index], counts_text=kind != "continuation")
        assert other != expected_texts(kind)[index]


@pytest.mark.parametrize("kind", KINDS)
def test_a_beam_counts_the_same_text(kind):
    penalties = {"no_repeat_ngram": 2, "repetition_penalty": 1.2}
    decoding = decoding_of(penalties)
    graph = generator_of(kind).beam_graph(1, 1)
    found = graph(tf.constant([TEXT]), from_config(decoding, 1), length_penalty_of(decoding, 1))
    expected = expected_text(kind, penalties, counts_text=kind == "continuation")
    assert found.text.numpy()[0, 0].decode() == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_counts_the_same_text(kind):
    rows = merged([from_config(decoding_of(each), 1) for each in PENALTIES])
    texts = tf.fill([len(PENALTIES)], TEXT)
    states = tf.fill([len(PENALTIES)], "")
    for size in (3, NEW_TOKENS):
        sizes = tf.fill([len(PENALTIES)], size)
        chunk = generator_of(kind).chunk_graph(texts, states, sizes, rows)
        states = chunk.state
    assert [text.decode() for text in chunk.text.numpy()] == expected_texts(kind)
