"""The metrics, texts and result files of `evaluate`. Does not import TensorFlow."""

from __future__ import annotations

import dataclasses
import importlib.util
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from tf_textgen.config import Config, did_you_mean, field
from tf_textgen.data.data_config import SPLITS, DataConfig
from tf_textgen.data.files import expand
from tf_textgen.decoding.decoding_config import DecodingConfig
from tf_textgen.errors import UserError
from tf_textgen.runs.kept_files import check_not_read, check_outside_runs

REFERENCE_METRICS = ("bleu", "chrf", "rouge")
GENERATION_METRICS = (*REFERENCE_METRICS, "distinct", "memorization")
METRICS = ("likelihood", *GENERATION_METRICS)
_PACKAGES = {"bleu": "sacrebleu", "chrf": "sacrebleu", "rouge": "rouge_score"}
NUM_PROMPTS = 100
"""Texts to generate with a run on texts, whose split has no sources to count."""
_WRITTEN = ("record", "output")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Config):
    """The texts, the metrics and the files of results."""

    split: str = field("valid", "Split of the run's data to evaluate on.", choices=SPLITS)
    file: tuple[str, ...] = field(
        (),
        "Files to evaluate on instead of a split (globs, compressed files), in the run's data "
        "format.",
        path=True,
    )
    target_file: tuple[str, ...] = field(
        (),
        "Target side of --file, line by line, if the run's data format is parallel.",
        path=True,
    )
    metrics: tuple[str, ...] = field(
        ("likelihood",),
        f"Metrics, comma-separated: {', '.join(METRICS)}. likelihood generates no text; "
        f"{', '.join(REFERENCE_METRICS)} need pairs. Texts are generated with the run's decoding "
        "parameters.",
    )
    stride: int | None = field(
        None,
        "Distance between the starts of the windows in tokens; the context if not set. A smaller "
        "one gives each token at least context - stride preceding tokens, and takes "
        "proportionally longer.",
        at_least=1,
    )
    limit: int | None = field(
        None,
        "Number of sources to generate for, from the first; of prompts if the data is text "
        f"({NUM_PROMPTS} if not set).",
        at_least=1,
    )
    further_references: bool = field(
        False, "Use the columns of a TSV file after the target as further references."
    )
    bleu_tokenizer: str = field(
        "auto",
        "Tokens of BLEU, as sacreBLEU names them; auto: zh if the references are Chinese, "
        "otherwise 13a.",
        choices=("auto", "13a", "intl", "zh", "char", "none"),
    )
    rouge_tokenizer: str = field(
        "auto",
        "Tokens of ROUGE. english: [a-z0-9]+; unicode: words of any script; auto: chosen by the "
        "references.",
        choices=("auto", "english", "unicode"),
    )
    batch_size: int = field(32, "Number of texts generated together.", at_least=1)
    output: str | None = field(
        None,
        "File for the generated texts: JSON lines with source, text, references, score and finish "
        "reason.",
        path=True,
    )
    record: str | None = field(
        None,
        "File for the results as JSON, with command, version, device and checkpoint.",
        path=True,
    )
    json: bool = field(False, "Print the results as one JSON object.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.metric_names:
            if name not in METRICS:
                raise UserError(
                    f"--metrics={name}: expected some of {', '.join(METRICS)}"
                    f"{did_you_mean(name, METRICS)}"
                )
        if not self.metric_names:
            raise UserError(f"--metrics is empty: expected some of {', '.join(METRICS)}")

    @property
    def metric_names(self) -> list[str]:
        """The chosen metrics, each once."""
        names = [name.strip() for value in self.metrics for name in value.split(",")]
        return [name for name in dict.fromkeys(names) if name]

    @property
    def generation_metrics(self) -> list[str]:
        """The chosen metrics that need generated texts."""
        return [name for name in self.metric_names if name != "likelihood"]

    @property
    def has_files(self) -> bool:
        """Whether files are evaluated instead of a split."""
        return bool(self.file or self.target_file)

    @property
    def evaluated_split(self) -> str:
        """The split to evaluate; files are evaluated as the split `test`."""
        return "test" if self.has_files else self.split

    def check_used(self, given: Collection[str]) -> None:
        """Raises `UserError` if a flag on the command line has no effect with these metrics."""
        users: dict[str, Sequence[str]] = {
            "output": GENERATION_METRICS,
            "limit": GENERATION_METRICS,
            "batch_size": GENERATION_METRICS,
            "further_references": REFERENCE_METRICS,
            "bleu_tokenizer": ("bleu",),
            "rouge_tokenizer": ("rouge",),
            "stride": ("likelihood",),
        }
        for name in given:
            if name.startswith(f"{DecodingConfig.prefix}."):
                users[name] = GENERATION_METRICS
        for name, metrics in users.items():
            if name in given and not set(metrics) & set(self.metric_names):
                raise UserError(
                    f"--{name} with --metrics={','.join(self.metric_names)}: expected some of "
                    f"{', '.join(metrics)} too; add one, or leave --{name} out"
                )

    def check_packages(self) -> None:
        """Raises `UserError` if the package of a metric is missing, before texts are generated."""
        for metric in self.metric_names:
            package = _PACKAGES.get(metric)
            if package is not None and importlib.util.find_spec(package) is None:
                raise UserError(
                    f"--metrics={metric} needs the package {package}, which is not installed; pip "
                    "install 'tf_textgen[metrics]'"
                )

    def check_writable(self) -> None:
        """Raises `UserError` if a result cannot be written, before hours of work are lost."""
        for name in _WRITTEN:
            path = getattr(self, name)
            if path:
                _check_writable(f"--{name}={path}", Path(path))

    def check_data(self, data: DataConfig) -> None:
        """Raises `UserError` if a metric needs references that the data does not have."""
        needed = [name for name in self.metric_names if name in REFERENCE_METRICS]
        if needed and not data.is_pairs:
            others = ", ".join(name for name in METRICS if name not in REFERENCE_METRICS)
            raise UserError(
                f"--metrics={needed[0]} with --data.format=text: it compares with references; "
                f"expected pairs, or some of {others}"
            )

    def check_kept(self, run: Path, *texts: DataConfig) -> None:
        """Raises `UserError` if a result would replace a file of the run or of `texts`.

        Args:
          run: the run folder.
          *texts: the evaluated text, and that of the training, which memorization reads.
        """
        for name in _WRITTEN:
            path = getattr(self, name)
            if path:
                check_outside_runs(f"--{name}", path, run)
                check_not_read(f"--{name}", path, texts)
        if not self.record or not self.output:
            return
        if Path(self.record).resolve() == Path(self.output).resolve():
            raise UserError(
                f"--record={self.record} and --output are the same file: expected two; choose "
                "another name"
            )

    def with_files(self, data: DataConfig) -> DataConfig:
        """Returns `data` with the files of the flags as its split `test`.

        The files are found here, so that errors name the flags.
        """
        if not self.has_files:
            return data
        self._check_sides(data.format)
        sources = expand(self.file, "file")
        targets = expand(self.target_file, "target_file")
        if targets and len(sources) != len(targets):
            raise UserError(
                f"--file names {len(sources)} files and --target_file {len(targets)}: expected one "
                "target file for each source file"
            )
        return dataclasses.replace(data, test=tuple(sources), test_target=tuple(targets))

    def _check_sides(self, data_format: str) -> None:
        suffix = f"with --data.format={data_format}: expected"
        if data_format == "parallel" and not self.target_file:
            raise UserError(f"--file {suffix} the target side too; give --target_file")
        if data_format != "parallel" and self.target_file:
            target = self.target_file[0]
            raise UserError(f"--target_file={target} {suffix} only --file; leave it out")
        if not self.file:
            raise UserError(
                f"--target_file={self.target_file[0]} without --file: expected both sides of the "
                "pairs; give both"
            )


def without_files(data: DataConfig) -> DataConfig:
    """Returns `data` without any file: only the way in which files are read."""
    return dataclasses.replace(
        data, train=(), train_target=(), valid=(), valid_target=(), test=(), test_target=()
    )


def _check_writable(flag: str, path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{flag}: is a folder; expected the name of a file to write")
    if not path.parent.is_dir():
        raise UserError(f"{flag}: no folder {path.parent}; create it or choose another")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(
            f"{flag}: cannot write to {path.parent} ({error.strerror}); choose another folder"
        ) from error
