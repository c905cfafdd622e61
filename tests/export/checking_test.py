"""The answers of an export that count as different from its generator's."""

import pathlib

import pytest
import tensorflow as tf

from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.export import checking
from tf_textgen.generator.signature import Signature


def check(monkeypatch, own, found):
    """Compares answers `(state, score)` of one row."""
    own_state, own_score = own
    found_state, found_score = found
    chunk = Signature(
        name="generate_chunk",
        inputs={"state": tf.TensorSpec([None], tf.string)},
        function=lambda state: {
            "state": tf.constant([own_state]),
            "score": tf.constant([own_score]),
        },
        example_inputs=lambda *_: {"state": [""]},
    )
    answer = {
        "foreign_ops": [],
        "answers": [{"state": [found_state], "score": [found_score]}],
        "warm_up": 3,
    }
    monkeypatch.setattr(checking, "answer_in_fresh_process", lambda *_: answer)
    return checking.check_export({"generate_chunk": chunk}, pathlib.Path(), DecodingConfig(), ["a"])


def test_a_state_is_compared_without_its_score(monkeypatch):
    """A sum in another order has other last bits, and the state holds them."""
    own = ("1 4711 3212836864 0 0 17 4", -1.0)
    assert check(monkeypatch, own, ("1 42 3212836865 0 0 17 4", -1.00001)) == 3
    different = r"the export gives .* as state of generate_chunk for 'a', the run"
    for other in ("1 4711 3212836864 0 0 17 5", "1 4711 3212836864 0 1 17 4", "finished", ""):
        with pytest.raises(UserError, match=different):
            check(monkeypatch, own, (other, -1.0))


def test_a_score_is_compared_within_a_tolerance(monkeypatch):
    own = ("1 4711 3212836864 0 0 17 4", -1.0)
    with pytest.raises(UserError, match="as score of generate_chunk"):
        check(monkeypatch, own, (own[0], -1.01))


def test_finished_states_are_compared_as_they_are(monkeypatch):
    assert check(monkeypatch, ("finished", -1.0), ("finished", -1.0)) == 3
    with pytest.raises(UserError, match="as state of generate_chunk"):
        check(monkeypatch, ("finished", -1.0), ("", -1.0))
