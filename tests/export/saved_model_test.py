"""An export alone gives what the run gives, for models of both kinds."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.support import tiny_models
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.decoding.parameters import Parameters
from tf_textgen.errors import UserError
from tf_textgen.export import self_check
from tf_textgen.export.exported import Exported, beam_inputs
from tf_textgen.export.saved_model import answer_in_fresh_process, export_saved_model

BEAM = DecodingConfig(beam_width=3, num_best=2, max_new_tokens=6)
KINDS = ("transformer_lm", "rnn_seq2seq")  # the others: tests/conformance, and the smoke recipes
TEXTS = ["", "a", "从前有一个", "the cat sat on the mat " * 50, "naïve 🙂"]
SAMPLED = DecodingConfig(temperature=1.0, top_k=20, max_new_tokens=12, seed=5)


@pytest.fixture(scope="module", params=KINDS)
def exported(request, tmp_path_factory):
    generator = tiny_models.generator(request.param)
    root = tmp_path_factory.mktemp(request.param)
    return generator, export_saved_model(generator, root / "model", decoding=SAMPLED), root / "model"


def test_fresh_process_gives_the_generators_texts(exported):
    generator, path, _ = exported
    inputs = {("source" if generator.is_pair else "prompt"): TEXTS}
    for name, value in dataclasses.asdict(SAMPLED).items():
        if name in Parameters._fields:
            inputs[name] = ["" if value == () else value] * len(TEXTS)
    by_generate, by_default, graph = answer_in_fresh_process(
        path,
        [{"signature": "generate", "inputs": inputs}, {"signature": "serving_default", "inputs": {"text": TEXTS}}],
    )
    expected = generator.generate(TEXTS, SAMPLED)
    assert by_generate["text"] == [continuation.text for continuation in expected]
    assert by_default["text"] == by_generate["text"]
    assert by_generate["prompt_truncated"] == [False] * 3 + [True, False]
    assert by_generate["finish_reason"] == [continuation.finish_reason for continuation in expected]
    np.testing.assert_allclose(by_generate["score"], [continuation.score for continuation in expected], atol=1e-4)
    assert graph["python_ops"] == []


def test_exported_equals_generator(exported):
    generator, path, root = exported
    loaded = Exported(root)
    assert loaded.path == path and loaded.decoding == SAMPLED
    assert loaded.config["truncation_side"] == ("end" if generator.is_pair else "beginning")
    expected = [(c.prompt, c.text, c.sample) for c in generator.generate(TEXTS[1:3], SAMPLED)]
    assert [(c.prompt, c.text, c.sample) for c in loaded.generate(TEXTS[1:3])] == expected


def test_words_and_tokens_pass_the_signature(exported):
    generator, _, root = exported
    asked = DecodingConfig(forced=("cat", "字"), forced_prefix="It ", banned=("x", "yz"), max_new_tokens=16, seed=2)
    for found, expected in zip(Exported(root).generate(TEXTS, asked), generator.generate(TEXTS, asked), strict=True):
        assert (found.text, found.token_texts) == (expected.text, expected.token_texts)
        np.testing.assert_allclose(found.token_log_probabilities, expected.token_log_probabilities, atol=1e-5)


def test_an_export_of_an_earlier_version_answers_what_it_knows(exported, monkeypatch):
    generator, _, root = exported
    loaded, ask, names = Exported(root), self_check.ask, self_check.input_names

    def ask_earlier(model, signature, inputs):
        answer = ask(model, signature, {**inputs, "typical_p": [1.0] * len(inputs["seed"])})
        return {name: values for name, values in answer.items() if not name.startswith("token_text")}

    monkeypatch.setattr(self_check, "input_names", lambda *asked: [n for n in names(*asked) if n != "typical_p"])
    monkeypatch.setattr(self_check, "ask", ask_earlier)
    expected = [continuation.text for continuation in generator.generate(TEXTS[1:3], SAMPLED)]
    assert [continuation.text for continuation in loaded.generate(TEXTS[1:3])] == expected
    asked = dataclasses.replace(SAMPLED, typical_p=0.5)
    with pytest.raises(
        UserError, match=r"--decoding.typical_p=0.5: .* was exported by an earlier version, which knows"
    ):
        loaded.generate(TEXTS[:1], asked)


def test_score_signature_equals_generator(exported):
    generator, path, _ = exported
    pairs = generator.is_pair
    inputs = {"text": ["the cat", "", "mat"], **({"source": ["a", "b", ""]} if pairs else {})}
    (answer, _) = answer_in_fresh_process(path, [{"signature": "score", "inputs": inputs}])
    expected = generator.score(inputs["text"], inputs.get("source"))
    np.testing.assert_allclose(answer["log_probability"], expected.log_probability, rtol=1e-5)
    assert answer["token_count"] == expected.token_count.numpy().tolist()


def test_versions_are_numbered_and_never_overwritten(exported):
    generator, path, root = exported
    assert path.name == "1"
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(UserError, match=r"--export.version=1: .* exists already"):
        export_saved_model(generator, root, version=1)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    assert sorted(entry.name for entry in root.iterdir()) == ["1"]


def test_failed_check_publishes_nothing(tmp_path, monkeypatch):
    generator = tiny_models.generator("transformer_lm")
    answers = [{"text": ["other"] * 9}, {"text": ["other"] * 9}, {"python_ops": []}]
    monkeypatch.setattr("tf_textgen.export.saved_model.answer_in_fresh_process", lambda *_: answers)
    with pytest.raises(UserError, match="nothing was published"):
        export_saved_model(generator, tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []


def test_missing_export_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no export there; expected NAME or NAME/VERSION"):
        Exported(tmp_path)


def test_config_is_written(exported):
    _, path, _ = exported
    assert json.loads((path / "assets.extra" / "config.json").read_text())["decoding"] == SAMPLED.to_json()


def test_one_signature_trace_takes_any_batch(exported):
    _, path, _ = exported
    loaded = tf.saved_model.load(str(path))
    for name, signature in loaded.signatures.items():
        for spec in signature.structured_input_signature[1].values():
            assert spec.shape.as_list() == [None], name
    assert loaded.signatures["serving_default"](text=tf.constant([], tf.string))["text"].shape == (0,)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), tf.errors.ResourceExhaustedError(None, None, "x; full")]
)
def test_a_full_disk_is_told_and_leaves_nothing(error, tmp_path, monkeypatch):
    def fail(_, path, **__):
        (tmp_path / "model" / path).mkdir()
        raise error

    monkeypatch.setattr("tensorflow.saved_model.save", fail)
    with pytest.raises(
        UserError, match=r"--export.dir=.*: cannot be written \((No space left on device|full)\); expected"
    ):
        export_saved_model(tiny_models.generator("transformer_lm"), tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--export.dir=.*: cannot be written \(Not a directory\); expected a folder"):
        export_saved_model(tiny_models.generator("transformer_lm"), tmp_path / "file" / "model")


@pytest.mark.parametrize(("name", "content"), [("assets.extra/config.json", "[]"), ("saved_model.pb", "x")])
def test_a_damaged_export_is_told(name, content, exported, tmp_path):
    shutil.copytree(exported[1], tmp_path / "1")
    (tmp_path / "1" / name).write_text(content)
    with pytest.raises(
        UserError, match=r"--saved_model=.*/1 is damaged .*expected it as `export` wrote it; export again"
    ):
        Exported(tmp_path)


def test_a_request_out_of_bounds_is_told_with_its_value(exported):
    generator, path, _ = exported
    wanted = DecodingConfig(max_new_tokens=100_000)
    for asked in (generator, Exported(path)):
        with pytest.raises(UserError, match=r"--decoding.max_new_tokens=100000: expected an integer from 1 to"):
            asked.generate(["a"], wanted)


@pytest.fixture(scope="module")
def beam_export(tmp_path_factory):
    generator = tiny_models.generator("rnn_seq2seq")
    path = export_saved_model(generator, tmp_path_factory.mktemp("beam") / "model", decoding=BEAM)
    return generator, Exported(path)


def test_an_exported_beam_equals_the_generators(beam_export):
    generator, exported = beam_export
    expected = generator.generate(TEXTS, BEAM)
    found = exported.generate(TEXTS)
    for field in ("prompt", "text", "rank", "token_count", "finish_reason", "prompt_truncated"):
        assert [getattr(c, field) for c in found] == [getattr(c, field) for c in expected]
    for field in ("score", "normalized_score"):
        np.testing.assert_allclose([getattr(c, field) for c in found], [getattr(c, field) for c in expected], atol=1e-4)
    one = dataclasses.replace(BEAM, num_best=1)
    best = [continuation.text for continuation in expected[::2]]
    assert [continuation.text for continuation in exported.generate(TEXTS, one)] == best
    assert self_check.ask(exported._loaded, "serving_default", {"text": TEXTS})["text"] == best
    greedy = DecodingConfig(temperature=0.0, max_new_tokens=6)
    assert [c.text for c in exported.generate(TEXTS, greedy)] == [c.text for c in generator.generate(TEXTS, greedy)]


def test_every_row_of_an_exported_beam_has_its_own_length_penalty(beam_export):
    generator, exported = beam_export
    wishes = [
        dataclasses.replace(BEAM, length_penalty=kind, length_penalty_alpha=alpha)
        for kind, alpha in (("none", 1.0), ("gnmt", 2.0), ("average", 1.5))
    ]
    rows = [beam_inputs("source", ["a"], wish) for wish in wishes]
    inputs = {name: [row[name][0] for row in rows] for name in rows[0]}
    assert not {"temperature", "top_k", "top_p", "min_p", "typical_p", "seed"} & {*inputs}
    answer = self_check.ask(exported._loaded, "beam_search", inputs)
    for row, wish in enumerate(wishes):
        alone = generator.generate(["a"], wish)
        assert answer["text"][row] == [continuation.text for continuation in alone]
        np.testing.assert_allclose(
            answer["normalized_score"][row], [continuation.normalized_score for continuation in alone], atol=1e-4
        )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"beam_width": 4}, "--decoding.beam_width=4: .* was exported with a beam of 3; expected 3, or an export"),
        ({"num_best": 3}, "--decoding.num_best=3: .* was exported with 2; expected at most 2, or an export"),
        ({"length_penalty_alpha": 0.5, "max_new_tokens": 99}, "--decoding.max_new_tokens=99: expected an integer"),
    ],
)
def test_what_an_exported_beam_does_not_have_is_told(beam_export, changed, message):
    with pytest.raises(UserError, match=message):
        beam_export[1].generate(["a"], dataclasses.replace(BEAM, **changed))


def test_an_export_without_a_beam_says_so(exported):
    with pytest.raises(UserError, match=r"--decoding.beam_width=3: .* was exported with no beam; expected 1, or an"):
        Exported(exported[1]).generate(["a"], BEAM)
