"""The same commands train, describe, ask, export and serve each family: an export gives the texts
of its run.

Those of `transformer_lm` and `rnn_seq2seq` are held to their generators in tests/export; the smoke
recipes export all.
"""

import functools
import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.support.data_files import write
from tf_textgen.errors import UserError
from tf_textgen.export import exported
from tf_textgen.export.export_config import ExportConfig
from tf_textgen.jobs import export, main, run_flags
from tf_textgen.models import MODELS
from tf_textgen.runs import loading
from tf_textgen.runs.run_folder import load_run

WORDS = ("cat", "rat", "mat", "sat", "a cat", "a rat", "the mat")
TEXT = "".join(f"{one} saw {other}\n\n" for one in WORDS for other in WORDS)
PAIRS = "".join(f"{one} {other}\t{other}\n" for one in WORDS for other in WORDS)
TRANSFORMER = ["num_heads=2", "width=8", "max_positions=32"]
# The form of the data, and the fields of a model that is quickly made; a language model may learn
# from pairs too.
RECIPES = {
    "ngram": ("text", ["order=3"]),
    "rnn_lm": ("text", ["width=8", "num_layers=1"]),
    "transformer_seq2seq": ("tsv", ["encoder_layers=1", "decoder_layers=1", *TRANSFORMER]),
}
# Each family takes a minute. By default, docs/adding_a_signature.md is checked in a fresh process.
pytestmark = pytest.mark.thorough
BEAM, WITH_BEAM = ["--decoding.beam_width=3", "--decoding.num_best=2"], "transformer_seq2seq"
NO_BEAM = ["--decoding.beam_width=1", "--decoding.num_best=1"]
WISHES = {
    "greedy": [*NO_BEAM, "--decoding.temperature=0"],
    "sampled": [*NO_BEAM, "--decoding.seed=7", "--decoding.num_samples=2", "--decoding.top_k=9"],
    "worded": [
        *NO_BEAM,
        "--decoding.forced=cat",
        "--decoding.forced_prefix=a",
        "--decoding.banned=s",
    ],
}
PROMPTS = ["--prompt=a cat", "--prompt=", "--prompt=猫 the", "--prompt=" + "the mat " * 9]
NUMBERS = ("score", "normalized_score", "token_log_probabilities")


@pytest.fixture(scope="module", autouse=True)
def one_trace():
    """Each run and each export is loaded, and its decoding traced, once for all tests."""
    make_generator = loading.generator_of
    runs = functools.cache(load_run)
    generators = functools.cache(lambda folder: make_generator(runs(folder)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_flags, "load", lambda flag_values: runs(flag_values["run.dir"].value))
        patch.setattr(loading, "generator_of", lambda run, **_: generators(run.config.run.dir))
        patch.setattr(exported, "Exported", functools.cache(exported.Exported))
        yield


@pytest.fixture(scope="module", params=RECIPES)
def family(request, tmp_path_factory):
    """A family's name, its run after two steps (or counted), and the folder of its export."""
    folder = tmp_path_factory.mktemp(request.param)
    form, fields = RECIPES[request.param]
    train = write(folder / "train", TEXT if form == "text" else PAIRS)
    flags = [f"--model={request.param}", *(f"--{request.param}.{field}" for field in fields)]
    flags += [
        f"--data.train={train}",
        f"--data.format={form}",
        f"--data.cache_dir={folder / 'cache'}",
    ]
    flags += [
        "--data.context=16",
        "--data.batch_size=4",
        "--data.batch_tokens=128",
        "--data.num_buckets=1",
    ]
    flags += [f"--data.max_{side}_tokens=15" for side in ("source", "target")]
    flags += [
        "--tokenizer.kind=characters",
        "--decoding.max_new_tokens=8",
        "--run.xla=off",
        "--run.samples=0",
    ]
    if MODELS[request.param].trained_by == "gradients":
        flags.append("--run.steps=2")
    run, export = folder / "run", folder / "export"
    assert main(["train", *flags, f"--run.dir={run}"]) == 0
    beam = BEAM if request.param == WITH_BEAM else []
    assert main(["export", f"--run.dir={run}", f"--export.dir={export}", *beam]) == 0
    return request.param, run, export


def generated(capsys, *flags):
    capsys.readouterr()
    assert main(["generate", "--json", *flags, *PROMPTS]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def assert_the_export_gives_the_runs_texts(capsys, run, export, flags):
    """The numbers of two graphs may differ in their last digits; texts, tokens and
    reasons may not.
    """
    own, served = (
        generated(capsys, place, *flags)
        for place in (f"--run.dir={run}", f"--saved_model={export}")
    )
    for one, other in zip(own, served, strict=True):
        for name in NUMBERS:
            np.testing.assert_allclose(
                one.pop(name, 0.0), other.pop(name, 0.0), atol=1e-5, err_msg=name
            )
    assert own == served
    return [row["text"] for row in own]


@pytest.mark.parametrize("wish", WISHES)
def test_an_export_gives_the_texts_of_its_run(family, wish, capsys):
    _, run, export = family
    texts = assert_the_export_gives_the_runs_texts(capsys, run, export, WISHES[wish])
    assert len(texts) == len(PROMPTS) * (2 if wish == "sampled" else 1) and any(texts)
    if wish == "worded":
        assert all(text.startswith("a") and "cat" in text and "s" not in text for text in texts)


def test_old_versions_go_once_there_is_a_new_one(family, capsys, tmp_path, monkeypatch):
    root = tmp_path / "model"
    for version in ("1", "2"):
        (root / version).mkdir(parents=True)
        (root / version / "saved_model.pb").write_text("")

    def write_version(*_, **__):
        (root / "3").mkdir()
        (root / "3" / "saved_model.pb").write_text("")
        return root / "3"

    monkeypatch.setattr("tf_textgen.export.saved_model.export_saved_model", write_version)
    assert (
        main(["export", f"--run.dir={family[1]}", f"--export.dir={root}", "--export.keep=1"]) == 0
    )
    assert sorted(folder.name for folder in root.iterdir()) == ["2", "3"]
    written = capsys.readouterr().out
    assert (
        "removed the older versions 1\n" in written
        and f"--model_name=model --model_base_path={root}" in written
    )


def test_printed_commands_can_be_pasted(tmp_path, capsys):
    root = tmp_path / "my run's été"
    export._print_commands(root / "1", ExportConfig())
    _, *server, curl = capsys.readouterr().out.splitlines()
    words = shlex.split("\n".join(server).replace("\\\n", ""))
    assert words[0] == "tensorflow_model_server"
    assert words[-4:] == [
        "--model_name=my_run_s_ete",
        f"--model_base_path={root}",
        "--enable_batching",
        f"--batching_parameters_file={root}/batching_parameters.txt",
    ]
    url = "localhost:8501/v1/models/my_run_s_ete:predict"
    assert shlex.split(curl) == ["curl", "-d", '{"instances": ["Once upon a time"]}', url]


def test_an_export_has_the_name_of_its_run(tmp_path, monkeypatch):
    inside = tmp_path / "my run" / "checkpoints"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    for run_dir in ("..", "../../my run", f"{tmp_path}/my run/"):
        assert export._default_folder(run_dir) == Path("saved_models/my run")
    with pytest.raises(UserError, match=r"--run.dir=/ has no name: expected --export.dir"):
        export._default_folder("/")


def test_an_export_has_the_beam_it_was_made_with(family, capsys):
    name, run, export = family
    if name == WITH_BEAM:
        assert len(assert_the_export_gives_the_runs_texts(capsys, run, export, BEAM)) == 2 * len(
            PROMPTS
        )
        return
    assert main(["generate", f"--saved_model={export}", *BEAM, *PROMPTS]) == 2
    message = "was exported with no beam; expected 1, or an export with --decoding.beam_width=3"
    assert message in capsys.readouterr().err


def test_a_run_is_described_as_it_was_built(family, capsys):
    name, run, _ = family
    capsys.readouterr()
    assert main(["describe", f"--run.dir={run}", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["model"] == name
    assert described["parameters"] == json.loads((run / "run.json").read_text())["parameters"]
