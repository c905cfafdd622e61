"""Text generation by an export equals its generator's; earlier, damaged and missing exports.

That a fresh process gives the texts of the run, for every family: `tests/jobs/export_test.py`.
"""

import dataclasses
import shutil

import numpy as np
import pytest

from tests.export.conftest import BEAM, SAMPLED, TEXTS
from tests.support.served_export import serving_of
from tf_textgen.client.rest_client import Client, InvalidRequest
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.export.exported import Exported
from tf_textgen.generator.beam_decoder import beam_inputs


def texts_of(continuations):
    return [continuation.text for continuation in continuations]


@pytest.mark.thorough
def test_an_exported_beam_equals_the_generators(beam_export):
    generator, loaded, _ = beam_export
    expected = generator.generate(TEXTS, BEAM)
    found = loaded.generate(TEXTS)
    for one, other in zip(found, expected, strict=True):
        for field in ("prompt", "text", "rank", "token_count", "finish_reason", "prompt_truncated"):
            assert getattr(one, field) == getattr(other, field)
        np.testing.assert_allclose(one.score, other.score, atol=1e-4)
        np.testing.assert_allclose(one.normalized_score, other.normalized_score, atol=1e-4)
    best = texts_of(expected[::2])
    assert texts_of(loaded.generate(TEXTS, dataclasses.replace(BEAM, num_best=1))) == best
    assert loaded.saved_model.answer("serving_default", {"text": TEXTS})["text"] == best
    greedy = DecodingConfig(temperature=0.0, max_new_tokens=6)
    assert texts_of(loaded.generate(TEXTS, greedy)) == texts_of(generator.generate(TEXTS, greedy))


@pytest.mark.thorough
def test_every_row_of_an_exported_beam_has_its_own_length_penalty(beam_export):
    generator, loaded, _ = beam_export
    requests = [
        dataclasses.replace(BEAM, length_penalty=kind, length_penalty_alpha=alpha)
        for kind, alpha in (("none", 1.0), ("gnmt", 2.0), ("average", 1.5))
    ]
    rows = [beam_inputs("source", ["a"], decoding) for decoding in requests]
    inputs = {name: [row[name][0] for row in rows] for name in rows[0]}
    assert not {"temperature", "top_k", "top_p", "min_p", "typical_p", "seed"} & set(inputs)
    answer = loaded.saved_model.answer("beam_search", inputs)
    for row, decoding in enumerate(requests):
        expected = generator.generate(["a"], decoding)
        assert answer["text"][row] == texts_of(expected)
        scores = [continuation.normalized_score for continuation in expected]
        np.testing.assert_allclose(answer["normalized_score"][row], scores, atol=1e-4)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"beam_width": 4},
            "--decoding.beam_width=4: .* was exported with a beam of 3; expected 3, or an export",
        ),
        (
            {"num_best": 3},
            "--decoding.num_best=3: .* was exported with 2; expected at most 2, or an export",
        ),
        (
            {"length_penalty_alpha": 0.5, "max_new_tokens": 99},
            "--decoding.max_new_tokens=99: expected an integer",
        ),
    ],
)
def test_parameters_that_an_exported_beam_lacks_are_refused(beam_export, changed, message):
    with pytest.raises(UserError, match=message):
        beam_export.loaded.generate(["a"], dataclasses.replace(BEAM, **changed))


def test_a_parameter_out_of_bounds_is_reported_with_its_value(exported):
    decoding = DecodingConfig(max_new_tokens=100_000)
    message = "--decoding.max_new_tokens=100000: expected an integer from 1 to"
    for either in (exported.generator, exported.loaded):
        with pytest.raises(UserError, match=message):
            either.generate(["a"], decoding)


@pytest.mark.thorough
def test_the_signature_score_equals_the_generator(exported, beam_export):
    for (generator, loaded, _), sources in ((exported, None), (beam_export, ["a", "b", ""])):
        inputs = {"text": ["the cat", "", "mat"]}
        if sources:
            inputs["source"] = sources
        answer = loaded.saved_model.answer("score", inputs)
        expected = generator.score(inputs["text"], sources)
        np.testing.assert_allclose(answer["log_probability"], expected.log_probability, rtol=1e-5)
        assert answer["token_count"] == expected.token_count.numpy().tolist()


def test_a_client_over_http_gets_the_answers_of_the_export(exported):
    loaded = exported.loaded
    with (
        serving_of(loaded.saved_model).running() as address,
        Client(address, "model", timeout_s=300) as client,
    ):
        found = client.generate(
            TEXTS[1:3],
            num_samples=2,
            stop=["e", "字"],
            top_k=20,
            max_new_tokens=12,
            seed=5,
        )
        decoding = dataclasses.replace(SAMPLED, num_samples=2, stop=("e", "字"))
        assert found == loaded.generate(TEXTS[1:3], decoding)
        # The most that this export allows.
        assert client.generate("a", temperature=0)[0].token_count == 24
        message = "^max_new_tokens=25: expected an integer from 1 to 24$"
        with pytest.raises(InvalidRequest, match=message):
            client.generate("a", max_new_tokens=25)
        (score,) = client.score("the cat")
        expected = exported.generator.score(["the cat"]).log_probability.numpy()[0]
        assert score.log_probability == expected


@pytest.mark.thorough
def test_a_client_over_http_gets_the_beam_of_the_export(beam_export):
    loaded = beam_export.loaded
    with (
        serving_of(loaded.saved_model).running() as address,
        Client(address, "model", timeout_s=300) as client,
    ):
        best_of_each = client.beam_search(TEXTS[1:3], max_new_tokens=6)
        found = [continuation for best in best_of_each for continuation in best]
        assert found == loaded.generate(TEXTS[1:3])
        assert client.score("the cat", "a")[0].token_count == 8
        assert client.metadata().signatures["generate"].text_input == "source"


class EarlierVersion:
    """A loaded export that lacks one input, and the texts of tokens among its outputs."""

    def __init__(self, saved_model, missing, neutral):
        self.saved_model = saved_model
        self.missing = missing
        self.neutral = neutral

    def inputs(self, signature):
        specs = dict(self.saved_model.inputs(signature))
        del specs[self.missing]
        return specs

    def answer(self, signature, inputs):
        assert self.missing not in inputs
        rows = len(inputs["max_new_tokens"])
        neutral = {self.missing: [self.neutral] * rows}
        outputs = self.saved_model.answer(signature, {**inputs, **neutral})
        del outputs["token_texts"]
        return outputs


def test_an_export_of_an_earlier_version_lacks_a_parameter(exported, monkeypatch):
    generator, loaded, _ = exported
    earlier = EarlierVersion(loaded.saved_model, "typical_p", 1.0)
    monkeypatch.setattr(loaded, "saved_model", earlier)
    expected = texts_of(generator.generate(TEXTS[1:3], SAMPLED))
    assert texts_of(loaded.generate(TEXTS[1:3])) == expected
    decoding = dataclasses.replace(SAMPLED, typical_p=0.5)
    message = "--decoding.typical_p=0.5: .* was exported by an earlier version, which knows"
    with pytest.raises(UserError, match=message):
        loaded.generate(TEXTS[:1], decoding)


def test_a_beam_of_an_earlier_version_lacks_a_parameter(beam_export, monkeypatch):
    loaded = beam_export.loaded
    expected = loaded.generate(TEXTS[:2])
    earlier = EarlierVersion(loaded.saved_model, "loop_repeats", 0)
    monkeypatch.setattr(loaded, "saved_model", earlier)
    found = loaded.generate(TEXTS[:2])
    assert found == [dataclasses.replace(one, token_texts=()) for one in expected]
    message = "--decoding.loop_repeats=3: .* was exported by an earlier version"
    with pytest.raises(UserError, match=message):
        loaded.generate(TEXTS[:1], dataclasses.replace(BEAM, loop_repeats=3))


def test_a_missing_export_is_reported(tmp_path):
    with pytest.raises(UserError, match="no export there; expected NAME or NAME/VERSION"):
        Exported(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("assets.extra/config.json", "[]"),
        ("saved_model.pb", "x"),
        ("variables/variables.data-00000-of-00001", "x"),
    ],
)
def test_a_damaged_export_is_reported(name, content, exported, tmp_path):
    shutil.copytree(exported.loaded.path, tmp_path / "1")
    (tmp_path / "1" / name).write_text(content)
    message = r"--saved_model=.*/1 is damaged .*expected it as `export` wrote it; export again"
    with pytest.raises(UserError, match=message):
        Exported(tmp_path)
