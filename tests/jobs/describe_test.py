"""The describe job from the command line: recipes, runs, changes of a run, and bad input."""

import json
import subprocess
import sys

import pytest

from tests.support import tiny_models
from tests.support.thorough import cases
from tf_textgen import jobs
from tf_textgen.data.data_config import DataConfig
from tf_textgen.models import MODELS
from tf_textgen.optimizers.optimizer_config import OptimizerConfig
from tf_textgen.runs.run_config import RunConfig
from tf_textgen.text.bytes import ByteTokenizer

GPT2 = [
    "--transformer_lm.num_layers=12",
    "--transformer_lm.num_heads=12",
    "--transformer_lm.width=768",
    "--transformer_lm.max_positions=1024",
    "--data.context=1024",
    "--data.batch_size=2",
    "--vocabulary_size=50257",
]


def describe(capsys, *arguments):
    assert jobs.main(["describe", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def write_run(folder, name, **model_fields):
    model_config = tiny_models.model(name, 50, **model_fields).config
    formats = {"language_model": "text", "encoder_decoder": "tsv"}
    recorded = {
        "model": name,
        "model_config": model_config.to_json(),
        "data": DataConfig(context=32, batch_size=4, format=formats[MODELS[name].kind]).to_json(),
        "optimizer": OptimizerConfig(name="sgd").to_json(),
        "run": RunConfig(precision="mixed_bfloat16").to_json(),
    }
    (folder / "config.json").write_text(json.dumps(recorded))


def test_recipe(capsys):
    found = describe(capsys, *GPT2)
    assert found["parameters"] == 124_439_808 == sum(found["parameters_by_part"].values())
    assert (
        found["target_tokens"] == 1024
        and found["batch_tokens"] == 2048
        and not found["vocabulary_at_most"]
    )
    assert found["training_flops"]["target"] == 3 * found["inference_flops"]["target"]
    assert found["training_memory"]["optimizer (adamw)"] == 8 * 124_439_808
    assert found["serving_memory"] == {
        "weights": 4 * 124_439_808,
        "cache, one row": 4 * 12 * 1024 * 2 * 768,
    }
    shorter = describe(capsys, *GPT2, "--context=256")
    assert (
        shorter["inference_flops"]["target"]
        == found["inference_flops"]["target"] - 12 * 4 * 768 * 768
    )


@pytest.mark.parametrize("name", cases(MODELS, always=("ngram", "transformer_seq2seq")))
def test_run_has_the_built_models_parameters(name, tmp_path, capsys):
    write_run(tmp_path, name)
    found = describe(capsys, f"--run.dir={tmp_path}")
    assert found["parameters"] == tiny_models.model(name, 50).count_params()
    assert found["model"] == name and found["vocabulary_size"] == 50
    if MODELS[name].trained_by == "counting":
        assert found["training_memory"] == found["training_flops"] == {}
        return
    state = next(
        size for part, size in found["training_memory"].items() if part.startswith("optimizer")
    )
    assert state == 4 * found["parameters"]  # sgd with momentum
    memory = found["training_memory"]
    assert memory["total, about"] == sum(
        size for part, size in memory.items() if not part.startswith("total")
    )


def test_a_counted_run_has_no_costs_of_training(tmp_path, capsys):
    write_run(tmp_path, "ngram")
    assert jobs.main(["describe", f"--run.dir={tmp_path}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")][1:] == [
        "parameters",
        "FLOPs a token, inference",
        "memory for serving, float32",
    ]
    assert jobs.main(["describe", f"--run.dir={tmp_path}", "--ngram.order=2"]) == 2
    assert (
        "--ngram.order=2 with ngram.contexts of 4 orders: expected the order"
        in capsys.readouterr().err
    )


def test_command_line_changes_a_run(tmp_path, capsys):
    write_run(tmp_path, "transformer_lm")
    before = describe(capsys, f"--run.dir={tmp_path}")
    after = describe(
        capsys, f"--run.dir={tmp_path}", "--data.batch_size=8", "--run.precision=float32"
    )
    name = "activations, about"
    assert after["training_memory"][name] == 4 * before["training_memory"][name]
    assert after["parameters"] == before["parameters"]


def test_a_frozen_table_has_neither_gradient_nor_optimizer_state(capsys, tmp_path):
    frozen = ["--embedding.file=x", "--embedding.trainable=false"]
    table, memory = 50_257 * 768, describe(capsys, *GPT2, *frozen)["training_memory"]
    assert memory["weights"] == 4 * 124_439_808 and memory["gradients"] == 4 * (124_439_808 - table)
    assert memory["optimizer (adamw)"] == 8 * (124_439_808 - table)
    write_run(tmp_path, "rnn_seq2seq")
    before = describe(capsys, f"--run.dir={tmp_path}")["training_memory"]["gradients"]
    after = describe(capsys, f"--run.dir={tmp_path}", *frozen, "--embedding.side=source")[
        "training_memory"
    ]
    assert (
        before - after["gradients"]
        == 4 * 50 * tiny_models.CONFIGS["rnn_seq2seq"]["embedding_width"]
    )


def test_pairs_give_the_context(capsys):
    lengths = ["--data.max_source_tokens=20", "--data.max_target_tokens=30"]
    one_row = describe(capsys, "--data.corpus=grammar", *lengths)
    assert (one_row["source_tokens"], one_row["target_tokens"]) == (0, 52)
    two = describe(capsys, "--model=rnn_seq2seq", "--data.corpus=grammar", *lengths)
    assert (two["source_tokens"], two["target_tokens"]) == (20, 30)
    assert set(two["inference_flops"]) == {"source", "target"}


def test_vocabulary_follows_the_tokenizer(capsys, tmp_path):
    assert describe(capsys, "--tokenizer.kind=bytes")["vocabulary_size"] == 261
    found = describe(capsys, "--tokenizer.kind=characters", "--tokenizer.vocabulary_size=300")
    assert found["vocabulary_size"] == 300 and found["vocabulary_at_most"]
    tiny_models.generator("transformer_lm").tokenizer.save(str(tmp_path))
    assert describe(capsys, f"--tokenizer.dir={tmp_path}")["vocabulary_size"] == 261


def test_table_is_aligned(capsys):
    assert jobs.main(["describe", *GPT2]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "transformer_lm: 50,257 token ids, context 1,024"
    assert [line.split() for line in lines if "124," in line] == [["total", "124,439,808"]]
    rows = [line for line in lines[1:] if line.startswith("  ")]
    assert len({len(line) for line in rows}) == 1
    assert [line for line in lines if line and not line.startswith(" ")][1:] == [
        "parameters",
        "FLOPs a token, inference",
        "FLOPs a token, training",
        "memory for training, batches of 2,048 tokens",
        "memory for serving, float32",
    ]


def test_bad_input(capsys, tmp_path):
    assert jobs.main(["describe", f"--run.dir={tmp_path}/none"]) == 2
    assert "is no run folder" in capsys.readouterr().err
    assert jobs.main(["describe", "--model=transformer"]) == 2
    assert "--model=transformer: expected one of" in capsys.readouterr().err
    assert jobs.main(["describe", "--model=ngram"]) == 2
    assert (
        "its size follows from counting; expected --run.dir of a run that train has counted"
        in capsys.readouterr().err
    )
    assert jobs.main(["describe", "--embedding.trainable=false"]) == 2
    assert (
        "--embedding.trainable=false without --embedding.file: expected a file"
        in capsys.readouterr().err
    )
    write_run(tmp_path, "ngram")
    assert jobs.main(["describe", f"--run.dir={tmp_path}", "--embedding.file=x"]) == 2
    assert (
        "--embedding.file=x with --model=ngram: expected a model with an embedding"
        in capsys.readouterr().err
    )
    assert jobs.main(["describe", "--transformer_lm.num_layer=3"]) == 2
    assert "Did you mean: transformer_lm.num_layers" in capsys.readouterr().err


def test_a_recipe_may_name_a_run_folder_that_is_yet_to_be(capsys, tmp_path):
    found = describe(
        capsys, f"--run.dir={tmp_path}/new", "--model=transformer_lm", "--data.context=64"
    )
    assert found["target_tokens"] == 64


def test_takes_no_tensorflow():
    code = (
        "import sys; from tf_textgen import jobs; jobs.main(['describe']); "
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_each_side_has_its_vocabulary(capsys, tmp_path):
    flags = ["--model=rnn_seq2seq", "--data.format=tsv", "--tokenizer.vocabulary_size=300"]
    flags += ["--rnn_seq2seq.embedding_width=16", "--tokenizer.shared=false"]
    ByteTokenizer().save(tmp_path)
    alike, own = (
        describe(capsys, *flags),
        describe(capsys, *flags, f"--source_tokenizer.dir={tmp_path}"),
    )
    assert alike["parameters"] - own["parameters"] == 16 * (300 - 261)
    assert alike["vocabulary_size"] == own["vocabulary_size"] == 300
