"""The same training on one device, on replicas of one process, on several workers and in
micro-batches.

`--thorough` takes a few steps of one model on one device, on two workers, and on replicas with
micro-batches compiled by XLA. `STRATEGY_STEPS=100 STRATEGY_WAYS=all`
takes a hundred steps of every family on every way, and `pytest -s` shows the curves of the loss
next to each other.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.support.data_files import random_texts
from tests.training.fitting_test import scalars
from tf_textgen.runs.checkpoints import Checkpoints

STEPS = int(os.environ.get("STRATEGY_STEPS", "8"))
WAYS = {
    "1 device": ["--run.xla=off"],
    "2 workers": ["--run.xla=off"],
    "2 replicas 2 micro": ["--run.logical_cpus=2", "--run.micro_batches=2", "--run.xla=on"],
    "2 replicas": ["--run.strategy=mirrored", "--run.logical_cpus=2"],
    "4 micro": ["--run.micro_batches=4"],
    "4 workers": [],
    "2 micro": ["--run.micro_batches=2"],
}
ALL = os.environ.get("STRATEGY_WAYS") == "all"
# Rows that neither two nor four divide, of which some have no weight; clipping is active (see the
# test). By default of one length, since XLA takes half a minute to compile one: 29 rows, of which a
# batch of the eight fills 26.
PAIRS = [
    "--data.format=tsv",
    *(
        ("--data.batch_tokens=440", "--data.num_buckets=3")
        if ALL
        else ("--data.batch_tokens=1458", "--data.num_buckets=1")
    ),
    "--tokenizer.kind=characters",
]
TEXT = [
    "--data.documents=line",
    "--data.batch_size=8",
    "--data.context=24",
    "--tokenizer.kind=bytes",
]
MODELS = {
    "rnn_seq2seq": [
        *PAIRS,
        "--rnn_seq2seq.width=24",
        "--rnn_seq2seq.embedding_width=24",
        "--rnn_seq2seq.dropout=0",
    ],
    "transformer_seq2seq": [
        *PAIRS,
        *(f"--transformer_seq2seq.{side}_layers=1" for side in ("encoder", "decoder")),
        *(
            "--transformer_seq2seq.width=24",
            "--transformer_seq2seq.num_heads=2",
            "--transformer_seq2seq.dropout=0",
        ),
    ],
    "transformer_lm": [
        *TEXT,
        *(
            "--transformer_lm.num_layers=1",
            "--transformer_lm.width=24",
            "--transformer_lm.num_heads=2",
        ),
        "--transformer_lm.dropout=0",
    ],
    "rnn_lm": [
        *TEXT,
        "--data.carry_state",
        "--rnn_lm.width=24",
        "--rnn_lm.num_layers=1",
        "--rnn_lm.dropout=0",
    ],
}
# At 0.3 the loss of the recurrent language model jumps, and a jump enlarges the last bits of floats
# a thousandfold on whatever way: losses were apart by 2e-4 around step 61 while the weights agreed
# to 1e-5.
RATES, TOLERANCES = {"sgd": 0.1, "adamw": 3e-3}, {"sgd": 1e-5, "adamw": 1e-3}


def write_corpus(folder: pathlib.Path) -> list[str]:
    """Lines that are pairs, and texts too; the flags that name them."""
    texts = [text.decode() for text in random_texts(240, 24)]
    lines = [f"{text}\t{text[::-1].upper()}\n" for text in texts]
    (folder / "train.tsv").write_text("".join(lines[:200]), "utf-8")
    (folder / "valid.tsv").write_text("".join(lines[200:]), "utf-8")
    return [f"--data.train={folder / 'train.tsv'}", f"--data.valid={folder / 'valid.tsv'}"]


def train(folder: pathlib.Path, flags: list[str], workers: int = 1) -> None:
    """By the command that people give."""
    command = [sys.executable, "-m", "tf_textgen"]
    if workers > 1:
        command += ["launch", f"--num_workers={workers}", "--"]
    done = subprocess.run(
        [*command, "train", f"--run.dir={folder}", *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "Warning" not in done.stderr, done.stderr


def weights(folder: pathlib.Path) -> np.ndarray:
    """All weights of the last checkpoint, as one vector."""
    checkpoints = Checkpoints(folder / "checkpoints")
    reader = tf.train.load_checkpoint(str(checkpoints.folder(checkpoints.steps()[-1]) / "model"))
    names = sorted(
        name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")
    )
    return np.concatenate([reader.get_tensor(name).astype(np.float64).ravel() for name in names])


def compare(tmp_path: pathlib.Path, model: str, optimizer: str, ways: dict[str, list[str]]) -> None:
    flags = [
        *write_corpus(tmp_path),
        *MODELS[model],
        *(f"--model={model}", "--optimizer.clip_norm=0.3", "--optimizer.warmup_steps=5"),
        *(f"--optimizer.name={optimizer}", f"--optimizer.learning_rate={RATES[optimizer]}"),
        *(
            f"--run.steps={STEPS}",
            f"--run.validate_every={STEPS}",
            "--run.log_every=1",
            "--run.samples=0",
        ),
    ]
    curves, ends, validations = {}, {}, {}
    for way, own in ways.items():
        folder = tmp_path / way.replace(" ", "_")
        train(folder, [*flags, *own], int(way.split()[0]) if "workers" in way else 1)
        logs = scalars(folder / "logs" / "train")
        curves[way] = np.array(
            [value for _, value in sorted(logs["metrics/loss"].items())], np.float64
        )
        ends[way] = weights(folder)
        validations[way] = scalars(folder / "logs" / "validation")["metrics/loss"][STEPS]
        norms = [value for _, value in sorted(logs["training/gradient_norm"].items())]
        assert len(norms) == STEPS and sum(norm > 0.3 for norm in norms) > STEPS / 4, (
            "clipping has to be active"
        )
    print(f"\n{model}, {optimizer}\nstep  " + "  ".join(f"{way:>18}" for way in curves))
    for step in range(0, STEPS, max(STEPS // 10, 1)):
        print(f"{step + 1:4}  " + "  ".join(f"{curve[step]:18.6f}" for curve in curves.values()))
    expected = ends["1 device"]
    for way in ways:
        difference = np.linalg.norm(ends[way] - expected) / np.linalg.norm(expected)
        apart = np.abs(curves[way] - curves["1 device"]).max()
        print(
            f"{way:>20}: losses apart by at most {apart:.1e}, weights by {difference:.1e} of their "
            "norm"
        )
        assert apart < 1e-4, way
        assert difference < TOLERANCES[optimizer], way
        np.testing.assert_allclose(
            validations[way], validations["1 device"], rtol=1e-4, err_msg=way
        )


@pytest.mark.thorough
@pytest.mark.parametrize("way", ["2 workers", "2 replicas 2 micro"])
def test_the_result_does_not_depend_on_where_the_replicas_are(tmp_path, way):
    compare(
        tmp_path, "transformer_seq2seq", "sgd", {name: WAYS[name] for name in ("1 device", way)}
    )


@pytest.mark.skipif(not ALL, reason="STRATEGY_WAYS=all compares every model family")
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("model", MODELS)
def test_every_family_and_optimizer(tmp_path, model, optimizer):
    compare(tmp_path, model, optimizer, WAYS)
