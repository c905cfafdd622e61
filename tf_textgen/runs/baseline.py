"""Another run's validation, quoted next to a run's own. Does not import TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tf_textgen.errors import UserError
from tf_textgen.runs.recorded_config import RecordedConfig, read_config
from tf_textgen.runs.run_folder import read_record


def read_baseline(directory: str, config: RecordedConfig) -> dict[str, Any]:
    """Reads the validation of the run in `directory` on the validation data of this run's `config`.

    Returns:
      `model`, `bits_per_byte`, and `nats_per_token` if both runs share their tokenizer: tokens of
      another one are no measure.

    Raises:
      UserError: if it is no finished run, or was validated on other text.
    """
    flag = f"--run.baseline={directory}"
    if not config.files.get("valid"):
        raise UserError(
            f"{flag}: this run has no validation data to compare on; give --data.valid or leave it "
            "out"
        )
    other = read_config(directory)
    record = read_record(directory)
    if record is None or "validation.bits_per_byte" not in record:
        raise UserError(
            f"{flag} has no validation in its run.json: expected a finished run; finish it first"
        )
    if (differing := _difference(other, config)) is not None:
        raise UserError(
            f"{flag} was validated on other text: {differing} differs; expected a run with the "
            "same validation data"
        )
    found = {"model": record["model"]}
    if other.tokenizer_fingerprint == config.tokenizer_fingerprint:
        found["nats_per_token"] = record["validation.nats_per_token"]
    return {**found, "bits_per_byte": record["validation.bits_per_byte"]}


def describe_baseline(baseline: Mapping[str, Any]) -> str:
    """Returns the validation of the baseline in words."""
    words = [f"baseline {baseline['model']}: validation"]
    if "nats_per_token" in baseline:
        words.append(f"{baseline['nats_per_token']:.4f} nats/token,")
    return " ".join([*words, f"{baseline['bits_per_byte']:.3f} bits/byte"])


def _difference(other: RecordedConfig, config: RecordedConfig) -> str | None:
    """Returns the difference of the validation texts, or None."""
    if _checksums(other) != _checksums(config):
        return "a checksum of the files"
    data = config.data
    names = list(data.token_options)
    if not data.valid:
        names.append("validation_fraction")
    # Which pairs are too long depends on how both sides are cut into tokens.
    if data.is_pairs and _tokenizers(other) != _tokenizers(config):
        return "a tokenizer, on which over-long pairs depend,"
    for name in names:
        if getattr(other.data, name) != getattr(data, name):
            return f"data.{name}"
    if bool(other.data.valid) != bool(data.valid):
        return "data.valid"
    return None


def _tokenizers(config: RecordedConfig) -> tuple[str | None, str | None]:
    """Returns the fingerprints of the sources' tokenizer and of the targets'."""
    target = config.tokenizer_fingerprint
    return config.source_tokenizer_fingerprint or target, target


def _checksums(config: RecordedConfig) -> list[list[str]]:
    """Returns the SHA-256 of the validation files, by side; their names may differ."""
    sides = config.files.get("valid", [])
    return [[file["sha256"] for file in side] for side in sides]
