"""The best texts of a beam: those of a plain search without a cache, each row by itself."""

import numpy as np
import pytest
import tensorflow as tf

from tests.decoding.beam_oracle import plain_beam_search
from tests.generator.conftest import generator_of
from tests.generator.example_requests import PROMPTS
from tests.generator.full_passes import first_features, never_generated, repaired
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.length_penalty import length_penalty_of
from tf_textgen.decoding.parameters import from_config

BEAM = DecodingConfig(beam_width=4, num_best=3, max_new_tokens=8)
GREEDY = DecodingConfig(temperature=0.0, max_new_tokens=8)


def test_beam_equals_a_plain_search_with_full_forward_passes(any_generator):
    """The oracle has no cache and no state that must follow a hypothesis: each step reads the whole
    sequence again.
    """
    tokenizer = any_generator.tokenizer
    features, prompt = first_features(any_generator, "abc")

    @tf.function(reduce_retracing=True, autograph=False)
    def full_pass(tokens):
        return any_generator.model({**features, "target_tokens": tokens})

    def next_logits(tokens):
        return full_pass(tf.constant([[*prompt, *tokens]]))[0, -1].numpy()

    def without_special_tokens(logits, _):
        logits[never_generated(tokenizer)] = -np.inf
        return logits

    expected = plain_beam_search(
        next_logits,
        without_special_tokens,
        BEAM,
        eos_id=tokenizer.eos_id,
        text_of=lambda tokens: bytes(token - 5 for token in tokens if token >= 5),
    )
    found = any_generator.generate(["abc"], BEAM)
    assert [continuation.rank for continuation in found] == [0, 1, 2]
    for continuation, wanted in zip(found, expected, strict=True):
        assert continuation.text == repaired(wanted.text)
        assert continuation.token_count == len(wanted.tokens)
        assert continuation.finish_reason == wanted.reason
        np.testing.assert_allclose(continuation.score, wanted.score, atol=1e-3)
        np.testing.assert_allclose(continuation.normalized_score, wanted.normalized, atol=1e-3)


@pytest.mark.thorough
def test_a_beam_of_one_is_greedy():
    # Of one family only: the models take the same part in this beam as in a wider one.
    generator = generator_of("ngram")
    greedy = generator.generate(PROMPTS, GREEDY)
    beam = generator.beam_graph(1, 1)(
        tf.constant(PROMPTS),
        from_config(GREEDY, len(PROMPTS)),
        length_penalty_of(GREEDY, len(PROMPTS)),
    )
    texts = [text.decode() for text in beam.text[:, 0].numpy()]
    assert texts == [continuation.text for continuation in greedy]
    reasons = [reason.decode() for reason in beam.finish_reason[:, 0].numpy()]
    assert reasons == [continuation.finish_reason for continuation in greedy]
    counts = [continuation.token_count for continuation in greedy]
    np.testing.assert_array_equal(beam.token_count[:, 0], counts)
    scores = [continuation.score for continuation in greedy]
    np.testing.assert_allclose(beam.score[:, 0], scores, atol=1e-5)


def test_one_trace_for_any_number_and_length_of_prompts(generator):
    for prompts in ([], ["a"], ["long " * 20, "b"], [""] * 5):
        assert len(generator.generate(prompts, BEAM)) == 3 * len(prompts)
    assert generator.beam_graph(4, 3).experimental_get_tracing_count() == 1


def test_a_bad_row_fails_by_itself_and_names_its_parameter(generator):
    rows = from_config(BEAM, 4)._replace(repetition_penalty=tf.constant([1.0, -1.0, 1.0, 1.0]))
    penalty = length_penalty_of(BEAM, 4)._replace(
        length_penalty=tf.constant(["gnmt", "gnmt", "wu", "gnmt"])
    )
    output = generator.beam_graph(4, 3)(tf.constant(["a", "b", "b", "a"]), rows, penalty)
    texts = output.text.numpy()
    assert (texts[0] == texts[3]).all()
    assert (texts[1:3] == b"").all()
    for row, name in ((1, b"invalid repetition_penalty"), (2, b"invalid length_penalty")):
        for reason in output.finish_reason[row].numpy():
            assert reason.startswith(name)
