"""Configuration of one training run. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from tf_textgen.config import Config, field
from tf_textgen.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(Config):
    """Where, how long and how precisely to train, and how often to look.

    Of several budgets the one that ends first counts.
    """

    prefix: ClassVar[str] = "run"

    dir: str = field(
        "",
        "Run folder; the same command again continues from its last checkpoint.",
        path=True,
        may_change=True,
        per_worker=True,
    )
    seed: int = field(
        0, "Seed of initial weights, dropout and data order.", at_least=0, below=2**31
    )
    steps: int | None = field(
        None, "Budget in optimizer steps.", at_least=1, at_most=10**15, may_change=True
    )
    epochs: float | None = field(
        None, "Budget in passes over the training data.", above=0.0, may_change=True
    )
    minutes: float | None = field(
        None,
        "Budget in minutes, turned into steps once after timing the first ones.",
        above=0.0,
        may_change=True,
    )
    validate_every: int = field(
        250,
        "Steps between validations; the last step is always validated.",
        at_least=1,
        may_change=True,
    )
    checkpoint_every: int = field(
        250,
        "Steps between checkpoints, which is what a crash can cost; best and last are always kept.",
        at_least=1,
        may_change=True,
    )
    keep_checkpoints: int = field(
        2,
        "Newest checkpoints to keep next to the best; 2 survive one damaged.",
        at_least=1,
        may_change=True,
        per_worker=True,
    )
    early_stopping_validations: int = field(
        0,
        "Stop after so many validations without improvement; 0 never does.",
        at_least=0,
        may_change=True,
    )
    log_every: int = field(
        10,
        "Steps between readings of the metrics; each makes the host wait for the device.",
        at_least=1,
        may_change=True,
        per_worker=True,
    )
    samples: int = field(
        3,
        "Texts to sample at each validation; 0 samples none.",
        at_least=0,
        may_change=True,
        per_worker=True,
    )
    sample_prompt: tuple[str, ...] = field(
        (),
        "Prompt of a sample text; without one, beginnings of the data's text.",
        escapes=True,
        may_change=True,
        per_worker=True,
    )
    sample_tokens: int = field(
        80, "New tokens in a sample text.", at_least=1, may_change=True, per_worker=True
    )
    baseline: str | None = field(
        None,
        "Run folder, commonly of an n-gram model, whose validation is quoted in this run's record "
        "and last lines.",
        path=True,
        may_change=True,
        per_worker=True,
    )
    precision: str = field(
        "float32",
        "Precision of the arithmetic; weights and losses stay float32.",
        choices=("float32", "mixed_bfloat16"),
    )
    strategy: str = field(
        "auto",
        "Where the replicas are that share each batch. auto: on all workers that TF_CONFIG names, "
        "else on all GPUs (or logical CPUs) of this machine, else one device. The result does not "
        "depend on it.",
        choices=("auto", "one_device", "mirrored", "multi_worker"),
        may_change=True,
    )
    logical_cpus: int = field(
        1,
        "CPU replicas in this process, to try several replicas if there are no GPUs.",
        at_least=1,
        at_most=64,
        may_change=True,
    )
    micro_batches: int = field(
        1,
        "Parts of a replica's batch that are worked on one after the other: as much less memory, "
        "the same update.",
        at_least=1,
        may_change=True,
    )
    xla: str = field(
        "auto",
        "Compile the step with XLA; auto does so with static shapes, except bfloat16 on a CPU, "
        "for which XLA has no matrix product.",
        choices=("auto", "on", "off"),
        may_change=True,
    )

    def __post_init__(self) -> None:
        if self.strategy in ("parameter_server", "ps"):
            raise UserError(
                f"--run.strategy={self.strategy}: Keras 3 has no ParameterServerStrategy; expected "
                "multi_worker, whose workers sum their gradients in each step"
            )
        super().__post_init__()
        if self.logical_cpus > 1 and self.strategy == "one_device":
            raise UserError(
                f"--run.logical_cpus={self.logical_cpus} with --run.strategy=one_device: expected "
                "mirrored; leave one of them out"
            )

    def check_complete(self, *, needs_budget: bool = True) -> None:
        """Raises `UserError` if a folder or a budget is missing."""
        if not self.dir:
            raise UserError(
                "--run.dir is missing: expected the folder to train in, new or of a run to "
                "continue with"
            )
        if needs_budget and not (self.steps or self.epochs or self.minutes):
            raise UserError(
                "no budget: expected one of --run.steps, --run.epochs and --run.minutes; give one"
            )
