"""One text a prompt: it is that of full forward passes, and independent of its batch."""

import numpy as np
import pytest
import tensorflow as tf

from tests.generator.conftest import TRACED, generator_of
from tests.generator.example_requests import REQUESTS, merged, parameter_rows
from tests.generator.full_passes import first_features, never_generated, text_of_bytes
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameters import from_config

GREEDY = DecodingConfig(temperature=0.0, max_new_tokens=8)


def test_greedy_equals_full_forward_passes(generator):
    """Oracle: argmax of teacher forcing over the whole sequence, token by token without cache."""
    (continuation,) = generator.generate(["abc"], GREEDY)
    tokenizer = generator.tokenizer
    features, prompt = first_features(generator, "abc")
    new_tokens = []
    score = 0.0
    while len(new_tokens) < GREEDY.max_new_tokens and tokenizer.eos_id not in new_tokens:
        features["target_tokens"] = tf.constant([[*prompt, *new_tokens]])
        logits = generator.model(features)[0, -1].numpy().astype(np.float64)
        shifted = logits - logits.max()
        log_probabilities = shifted - np.log(np.exp(shifted).sum())
        allowed = log_probabilities.copy()
        allowed[never_generated(tokenizer)] = -np.inf
        new_tokens.append(int(np.argmax(allowed)))
        score += log_probabilities[new_tokens[-1]]
    assert continuation.text == text_of_bytes(new_tokens)
    assert continuation.token_count == len(new_tokens)
    assert continuation.score == pytest.approx(score, abs=1e-3)


def test_rows_of_a_batch_keep_their_own_parameters(generator):
    """The parameters of other rows switch processors on and lengthen the cache, but never change a
    row.
    """
    prompts = list(REQUESTS)
    rows = parameter_rows(REQUESTS)
    together = generator.generate_graph(tf.constant(prompts), merged(rows))
    for index, (prompt, row) in enumerate(zip(prompts, rows, strict=True)):
        single = generator.generate_graph(tf.constant([prompt]), row)
        for name in ("text", "token_count", "finish_reason", "prompt_truncated"):
            assert getattr(together, name)[index] == getattr(single, name)[0], (name, prompt)
        np.testing.assert_allclose(together.score[index], single.score[0], atol=1e-4)


def test_a_bad_row_fails_by_itself_and_names_its_parameter(generator):
    parameters = from_config(GREEDY, 3)._replace(temperature=tf.constant([0.0, float("nan"), 0.0]))
    output = generator.generate_graph(tf.constant(["a", "b", "a"]), parameters)
    assert output.text[0] == output.text[2]
    assert output.text[1] == b""
    assert b"temperature" in output.finish_reason[1].numpy()
    assert output.finish_reason[0] in (b"eos", b"length")


def test_words_of_the_request_are_in_the_text(generator):
    decoding = DecodingConfig(
        temperature=0.0, max_new_tokens=16, forced=("cat", "字"), forced_prefix="It "
    )
    for continuation in generator.generate(["abc", ""], decoding):
        assert continuation.text.startswith("It ")
        assert "cat" in continuation.text
        assert "字" in continuation.text


def test_only_allowed_words_are_in_the_text(generator):
    decoding = DecodingConfig(
        max_new_tokens=24, allowed=("ab", "c"), banned=("ba",), no_repeat_ngram=3
    )
    for continuation in generator.generate(["", "q"], decoding):
        text = continuation.text
        assert set(text) <= set("abc")
        assert "ba" not in text
        trigrams = [text[i : i + 3] for i in range(len(text) - 2)]
        assert len(set(trigrams)) == len(trigrams)


def test_tokens_of_the_answer(generator):
    decoding = DecodingConfig(max_new_tokens=9, allowed=("ab字",), seed=3)
    (continuation,) = generator.generate(["abc"], decoding)
    pieces = continuation.token_texts
    assert len(pieces) == continuation.token_count
    assert len(continuation.token_log_probabilities) == continuation.token_count
    assert sum(continuation.token_log_probabilities) == pytest.approx(continuation.score, abs=1e-4)
    if continuation.finish_reason == "eos":
        assert pieces[-1] == "</s>"
    assert set(pieces) <= {"a", "b", "\ufffd", "</s>"}


def test_loops_end_with_their_own_reason(eagerly):
    decoding = DecodingConfig(temperature=0.0, max_new_tokens=24, loop_repeats=3)
    (looped,) = generator_of("rnn_seq2seq").generate(["abc"], decoding)
    assert looped.finish_reason == "loop"
    assert len(set(looped.token_texts[-3:])) == 1


@pytest.mark.parametrize("prompt_format", ["source", "pair"])
def test_lengths_relative_to_the_source(prompt_format, pair_generator, eagerly):
    generator = generator_of("rnn_seq2seq") if prompt_format == "source" else pair_generator
    decoding = DecodingConfig(max_new_tokens=24, min_length_ratio=2.0, max_length_ratio=2.0)
    found = generator.generate(["ab", "abcde", "", "a" * 20], decoding)
    assert [continuation.token_count for continuation in found] == [4, 10, 1, 24]


def test_one_trace_for_any_number_and_length_of_prompts(generator):
    for prompts in ([], ["a"], ["long " * 20, "b"], [""] * 5):
        assert len(generator.generate(prompts, GREEDY)) == len(prompts)
    assert TRACED.count(generator.decoder) == 1
