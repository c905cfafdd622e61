"""Run folders with a small model in them, as `train` would have left them."""

from __future__ import annotations

import json
import pathlib

from tests.support import tiny_models
from tf_textgen.data.data_config import DataConfig
from tf_textgen.optimizers.optimizer_config import OptimizerConfig
from tf_textgen.optimizers.optimizers import make_optimizer
from tf_textgen.runs.checkpoints import Checkpoints
from tf_textgen.runs.run_config import RunConfig
from tf_textgen.runs.run_state import RunState
from tf_textgen.text.tokenizer import Tokenizer


def write_run(
    path: pathlib.Path, name: str, tokenizer: Tokenizer, data: DataConfig, **overrides
) -> pathlib.Path:
    """A run of the family `name` with random weights, at step 1."""
    model = tiny_models.model(name, tokenizer.vocabulary_size, **overrides)
    optimizer = make_optimizer(OptimizerConfig(name="sgd"), model.trainable_variables)
    Checkpoints(path / "checkpoints").save(RunState(step=1), model, optimizer)
    tokenizer.save(path / "tokenizer")
    config = {"model": name, "model_config": model.config.to_json(), "data": data.to_json()}
    config["run"] = RunConfig(dir=str(path), xla="off").to_json()
    (path / "config.json").write_text(json.dumps(config))
    return path
