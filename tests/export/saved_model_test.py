"""What the signatures of an export answer, alone and merged; its folder, and bad input.

That a fresh process gives the texts of the run, for every family: `tests/jobs/export_test.py`. The
tests of merged
batches ask the graph that TF Serving runs with `--enable_batching`: each row is answered as it is
alone, and one that is wrong fails by itself.
"""

import dataclasses
import json
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tests.export.conftest import SAMPLED, Export
from tests.generator.example_requests import REQUESTS
from tests.support import tiny_models
from tests.support.served_export import serving_of
from tf_textgen.client.rest_client import Client, InvalidRequest
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.export.exported import Exported
from tf_textgen.export.saved_model import export_saved_model
from tf_textgen.generator.beam_decoder import beam_inputs
from tf_textgen.generator.decoder import generate_inputs

BEAM = DecodingConfig(beam_width=3, num_best=2, max_new_tokens=6)
BAD = {
    "temperature": (float("nan"), "invalid temperature: expected a finite value >= 0"),
    "top_p": (2.0, "invalid top_p: expected a value > 0 and <= 1"),
    "max_new_tokens": (10_000, "invalid max_new_tokens: expected an integer from 1 to 24"),
}
TEXTS = ["", "a", "从前有一个", "the cat sat on the mat " * 50, "naïve 🙂"]


@pytest.fixture(scope="module")
def beam_export(tmp_path_factory):
    """Not checked, which takes as long as all else: its tests hold it to its generator."""
    generator = tiny_models.generator("rnn_seq2seq", encoder_layers=1, decoder_layers=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tf_textgen.export.saved_model.check_export", lambda *_: None)
        path = export_saved_model(
            generator, tmp_path_factory.mktemp("beam") / "model", decoding=BEAM
        )
    return Export(generator, Exported(path))


def test_an_export_says_which_end_of_long_texts_is_cut(exported, beam_export):
    assert [one.loaded.config["truncation_side"] for one in (exported, beam_export)] == [
        "beginning",
        "end",
    ]


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
        outputs = self.saved_model.answer(
            signature, {**inputs, self.missing: [self.neutral] * rows}
        )
        del outputs["token_texts"]
        return outputs


def test_an_export_of_an_earlier_version_answers_what_it_knows(exported, monkeypatch):
    generator, loaded, _ = exported
    earlier = EarlierVersion(loaded.saved_model, "typical_p", 1.0)
    monkeypatch.setattr(loaded, "saved_model", earlier)
    expected = [continuation.text for continuation in generator.generate(TEXTS[1:3], SAMPLED)]
    assert [continuation.text for continuation in loaded.generate(TEXTS[1:3])] == expected
    asked = dataclasses.replace(SAMPLED, typical_p=0.5)
    with pytest.raises(
        UserError,
        match=r"--decoding.typical_p=0.5: .* was exported by an earlier version, which knows",
    ):
        loaded.generate(TEXTS[:1], asked)


def test_score_signature_equals_generator(exported, beam_export):
    for (generator, loaded, _), sources in ((exported, None), (beam_export, ["a", "b", ""])):
        inputs = {"text": ["the cat", "", "mat"], **({"source": sources} if sources else {})}
        answer = loaded.saved_model.answer("score", inputs)
        expected = generator.score(inputs["text"], sources)
        np.testing.assert_allclose(answer["log_probability"], expected.log_probability, rtol=1e-5)
        assert answer["token_count"] == expected.token_count.numpy().tolist()


def test_a_client_over_http_gets_what_the_export_says(exported, beam_export):
    sampled = {"top_k": 20, "max_new_tokens": 12, "seed": 5}
    with (
        serving_of(exported.loaded.saved_model).running() as address,
        Client(address, "model", timeout_s=300) as client,
    ):
        wish = dataclasses.replace(SAMPLED, num_samples=2, stop=("e", "字"))
        found = client.generate(TEXTS[1:3], num_samples=2, stop=["e", "字"], **sampled)
        assert [vars(one) for one in found] == [
            vars(one) for one in exported.loaded.generate(TEXTS[1:3], wish)
        ]
        assert (
            client.generate("a", temperature=0)[0].token_count == 24
        )  # the most that this export allows
        with pytest.raises(
            InvalidRequest, match=r"^max_new_tokens=25: expected an integer from 1 to 24$"
        ):
            client.generate("a", max_new_tokens=25)
        (score,) = client.score("the cat")
        assert (
            score.log_probability
            == exported.generator.score(["the cat"]).log_probability.numpy()[0]
        )
    with (
        serving_of(beam_export.loaded.saved_model).running() as address,
        Client(address, "model", timeout_s=300) as client,
    ):
        found = [one for best in client.beam_search(TEXTS[1:3], max_new_tokens=6) for one in best]
        assert [vars(one) for one in found] == [
            vars(one) for one in beam_export.loaded.generate(TEXTS[1:3])
        ]
        assert client.score("the cat", "a")[0].token_count == 8
        assert client.metadata().signatures["generate"].text_input == "source"


def test_versions_are_numbered_and_never_overwritten(exported, monkeypatch):
    generator, path = exported.generator, exported.loaded.path
    root = path.parent
    assert path.name == "1"
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(UserError, match=r"--export.version=1: .* exists already"):
        export_saved_model(generator, root, version=1)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    monkeypatch.chdir(root)
    with pytest.raises(
        UserError, match=f"{re.escape(str(path.resolve()))} exists already"
    ):  # its name is the model's
        export_saved_model(generator, ".", version=1)
    assert sorted(entry.name for entry in root.iterdir()) == [
        "1",
        "batching_parameters.txt",
        "models.config",
    ]


def test_failed_check_publishes_nothing(exported, tmp_path, monkeypatch):
    found = {"foreign_ops": ["EagerPyFunc"], "answers": [{"text": ["other"] * 5}] * 9, "warm_up": 0}
    monkeypatch.setattr("tf_textgen.export.checking.answer_in_fresh_process", lambda *_: found)
    monkeypatch.setattr(
        "tensorflow.saved_model.save", lambda _, path, **__: pathlib.Path(path).mkdir()
    )
    for problem in (
        r"ops that TF Serving does not have \(EagerPyFunc\)",
        "gives 'other' as text of serving_default for",
    ):
        with pytest.raises(UserError, match=problem + ".*: nothing was published"):
            export_saved_model(exported.generator, tmp_path / "model", prompts=["a"] * 5)
        assert list((tmp_path / "model").iterdir()) == []
        found["foreign_ops"] = []


def test_missing_export_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no export there; expected NAME or NAME/VERSION"):
        Exported(tmp_path)


def test_config_is_written(exported):
    config = json.loads((exported.loaded.path / "assets.extra" / "config.json").read_text())
    assert config["decoding"] == SAMPLED.to_json()


def test_the_model_card_says_what_may_be_asked_of_what(exported):
    card = (exported.loaded.path / "assets.extra" / "model_card.md").read_text("utf-8")
    for line in (
        "# model",
        "A model of the family transformer_lm that continues a text.",
        "| corpus | cats \\| mats |",
        "| parameters | 12345 |",
        "| validation.perplexity | 5.4321 |",
        "| max_new_tokens | 12 |",
        "- A request may ask for at most 24 new tokens.",
        "  - out: embedding float32 [?, 16], token_count int32 [?], truncated bool [?]",
    ):
        assert f"\n{line}\n" in f"\n{card}", line
    assert "command" not in card and "  - in: prompt string [?], temperature float32 [?]" in card


def test_warm_up_requests_are_read_by_tensorflow_servings_own_messages(exported):
    records = list(
        tf.data.TFRecordDataset(
            str(exported.loaded.path / "assets.extra" / "tf_serving_warmup_requests")
        )
    )
    requests = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        for record in records
    ]
    signatures, rows = exported.loaded.saved_model.signatures, {}
    for request in requests:
        assert request.model_spec.name == "model"
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        specs = signatures[request.model_spec.signature_name].structured_input_signature[1]
        assert {name: value.dtype for name, value in inputs.items()} == {
            name: spec.dtype.as_numpy_dtype for name, spec in specs.items()
        }
        (count,) = {value.shape for value in inputs.values()}
        rows.setdefault(request.model_spec.signature_name, []).append(count)
    assert rows == {name: [(1,)] * 4 + [(8,)] for name in signatures}


def test_one_signature_trace_takes_any_batch(exported):
    signatures = exported.loaded.saved_model.signatures
    for name, signature in signatures.items():
        for spec in signature.structured_input_signature[1].values():
            assert spec.shape.as_list() == [None], name
    assert signatures["serving_default"](text=tf.constant([], tf.string))["text"].shape == (0,)


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        tf.errors.ResourceExhaustedError(None, None, "x; full"),
    ],
)
def test_a_full_disk_is_told_and_leaves_nothing(error, exported, tmp_path, monkeypatch):
    def fail(_, path, **__):
        (tmp_path / "model" / path).mkdir()
        raise error

    monkeypatch.setattr("tensorflow.saved_model.save", fail)
    with pytest.raises(
        UserError,
        match=r"--export.dir=.*: cannot write the export: (No space left on device|full); choose",
    ):
        export_saved_model(exported.generator, tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(exported, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UserError,
        match=r"--export.dir=.*: cannot write the export: Not a directory; choose another folder",
    ):
        export_saved_model(exported.generator, tmp_path / "file" / "model")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("assets.extra/config.json", "[]"),
        ("saved_model.pb", "x"),
        ("variables/variables.data-00000-of-00001", "x"),
    ],
)
def test_a_damaged_export_is_told(name, content, exported, tmp_path):
    shutil.copytree(exported.loaded.path, tmp_path / "1")
    (tmp_path / "1" / name).write_text(content)
    with pytest.raises(
        UserError,
        match=r"--saved_model=.*/1 is damaged .*expected it as `export` wrote it; export again",
    ):
        Exported(tmp_path)


def test_a_request_out_of_bounds_is_told_with_its_value(exported):
    wanted = DecodingConfig(max_new_tokens=100_000)
    for asked in exported[:2]:
        with pytest.raises(
            UserError, match=r"--decoding.max_new_tokens=100000: expected an integer from 1 to"
        ):
            asked.generate(["a"], wanted)


def test_an_exported_beam_equals_the_generators(beam_export):
    generator, loaded, _ = beam_export
    expected = generator.generate(TEXTS, BEAM)
    found = loaded.generate(TEXTS)
    for field in ("prompt", "text", "rank", "token_count", "finish_reason", "prompt_truncated"):
        assert [getattr(c, field) for c in found] == [getattr(c, field) for c in expected]
    for field in ("score", "normalized_score"):
        np.testing.assert_allclose(
            [getattr(c, field) for c in found], [getattr(c, field) for c in expected], atol=1e-4
        )
    one = dataclasses.replace(BEAM, num_best=1)
    best = [continuation.text for continuation in expected[::2]]
    assert [continuation.text for continuation in loaded.generate(TEXTS, one)] == best
    assert loaded.saved_model.answer("serving_default", {"text": TEXTS})["text"] == best
    greedy = DecodingConfig(temperature=0.0, max_new_tokens=6)
    assert [c.text for c in loaded.generate(TEXTS, greedy)] == [
        c.text for c in generator.generate(TEXTS, greedy)
    ]


def test_a_beam_of_an_earlier_version_answers_what_it_knows(beam_export, monkeypatch):
    _, loaded, _ = beam_export
    expected = loaded.generate(TEXTS[:2])
    earlier = EarlierVersion(loaded.saved_model, "loop_repeats", 0)
    monkeypatch.setattr(loaded, "saved_model", earlier)
    found = loaded.generate(TEXTS[:2])
    assert found == [dataclasses.replace(one, token_texts=()) for one in expected]
    with pytest.raises(
        UserError, match=r"--decoding.loop_repeats=3: .* was exported by an earlier version"
    ):
        loaded.generate(TEXTS[:1], dataclasses.replace(BEAM, loop_repeats=3))


def test_every_row_of_an_exported_beam_has_its_own_length_penalty(beam_export):
    generator, loaded, _ = beam_export
    wishes = [
        dataclasses.replace(BEAM, length_penalty=kind, length_penalty_alpha=alpha)
        for kind, alpha in (("none", 1.0), ("gnmt", 2.0), ("average", 1.5))
    ]
    rows = [beam_inputs("source", ["a"], wish) for wish in wishes]
    inputs = {name: [row[name][0] for row in rows] for name in rows[0]}
    assert not {"temperature", "top_k", "top_p", "min_p", "typical_p", "seed"} & {*inputs}
    answer = loaded.saved_model.answer("beam_search", inputs)
    for row, wish in enumerate(wishes):
        alone = generator.generate(["a"], wish)
        assert answer["text"][row] == [continuation.text for continuation in alone]
        np.testing.assert_allclose(
            answer["normalized_score"][row],
            [continuation.normalized_score for continuation in alone],
            atol=1e-4,
        )


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
def test_what_an_exported_beam_does_not_have_is_told(beam_export, changed, message):
    with pytest.raises(UserError, match=message):
        beam_export.loaded.generate(["a"], dataclasses.replace(BEAM, **changed))


def row_of(prompt, wish, **changed):
    return {
        name: values[0] for name, values in generate_inputs("prompt", [prompt], wish).items()
    } | changed


def ask(served, signature, rows):
    """The answer of each row of one request."""
    inputs = {name: [row[name] for row in rows] for name in rows[0]}
    answer = served.run(signature, inputs)
    return [{name: values[row] for name, values in answer.items()} for row in range(len(rows))]


def assert_same(merged, alone):
    """Numbers within 1e-4, all else to the letter; the longest row of a batch gives the width of
    token columns.

    A state holds the score to its last bit, which may differ, and a mark of it.
    """
    for name, value in alone.items():
        other = merged[name][: len(value)] if np.ndim(value) else merged[name]
        if name == "state":
            value, other = value.split()[3:], other.split()[3:]
        if np.asarray(value).dtype.kind == "f":
            rtol = 1e-4 if name == "perplexity" else 0  # of numbers in the hundreds
            np.testing.assert_allclose(other, value, rtol=rtol, atol=1e-4, err_msg=name)
        else:
            np.testing.assert_array_equal(other, value, err_msg=name)


def test_merged_rows_are_answered_as_alone_and_bad_ones_fail_by_themselves(exported):
    good = [row_of(prompt, wish) for prompt, wish in REQUESTS.items()]
    bad = [{**good[1], name: value} for name, (value, _) in BAD.items()]
    merged = ask(exported.served, "generate", bad + good)
    for answer, (_, message) in zip(merged, BAD.values(), strict=False):
        assert (answer["finish_reason"].decode(), answer["text"], answer["token_count"]) == (
            message,
            b"",
            0,
        )
    for answer, row in zip(merged[len(bad) :], good, strict=True):
        assert_same(answer, ask(exported.served, "generate", [row])[0])


def test_merged_chunks_go_on_as_alone_wherever_they_are(exported):
    rows = [
        row_of(prompt, wish, state="", chunk_tokens=2 + i)
        for i, (prompt, wish) in enumerate(REQUESTS.items())
    ]
    begun = ask(exported.served, "generate_chunk", rows)
    going = [
        {**row, "state": answer["state"]}
        for row, answer in zip(rows, begun, strict=True)
        if not answer["finished"]
    ]
    assert len(going) > 5
    damaged = {**going[0], "state": going[0]["state"].replace(b" ", b" 1", 1)}
    merged = ask(
        exported.served,
        "generate_chunk",
        [damaged, {**rows[0], "chunk_tokens": 0}, *rows[:2], *going],
    )
    assert [answer["finish_reason"].split(b":")[0] for answer in merged[:2]] == [
        b"invalid state",
        b"invalid chunk_tokens",
    ]
    assert all(
        answer["finished"] and answer["text"] == answer["state"] == b"" for answer in merged[:2]
    )
    for answer, row in zip(merged[2:], rows[:2] + going, strict=True):
        assert_same(answer, ask(exported.served, "generate_chunk", [row])[0])


def test_merged_ids_and_vectors(exported):
    texts, tokens = ["", "the cat", "猫"], ["102 103", "102 x", "261", ""]
    for signature, rows in (("tokenize", texts), ("embed", texts), ("score", texts)):
        for answer, text in zip(
            ask(exported.served, signature, [{"text": text} for text in rows]), rows, strict=True
        ):
            assert_same(answer, ask(exported.served, signature, [{"text": text}])[0])
    found = exported.served.run("detokenize", {"tokens": tokens})
    assert found["text"].tolist() == [b"ab", b"", b"", b""] and [
        bool(error) for error in found["error"]
    ] == [
        0,
        1,
        1,
        0,
    ]
