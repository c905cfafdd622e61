"""Another run's validation, quoted next to a run's own. Does not import TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tf_textgen.data.data_config import DataConfig
from tf_textgen.errors import UserError
from tf_textgen.runs.run_folder import read_config, read_record


def read_baseline(directory: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the validation of the run in `directory` on the validation data of `config` (this run's
    config.json).

    Returns:
      `model`, `bits_per_byte`, and `nats_per_token` if both runs share their tokenizer: tokens of
      another one are no measure.

    Raises:
      UserError: if it is no finished run, or was validated on other text.
    """
    flag = f"--run.baseline={directory}"
    if not config["files"].get("valid"):
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
    if other.get("tokenizer_fingerprint") == config["tokenizer_fingerprint"]:
        found["nats_per_token"] = record["validation.nats_per_token"]
    return {**found, "bits_per_byte": record["validation.bits_per_byte"]}


def describe_baseline(baseline: Mapping[str, Any]) -> str:
    """Returns the validation of the baseline in words."""
    words = [f"baseline {baseline['model']}: validation"]
    if "nats_per_token" in baseline:
        words.append(f"{baseline['nats_per_token']:.4f} nats/token,")
    return " ".join([*words, f"{baseline['bits_per_byte']:.3f} bits/byte"])


def _difference(other: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """Returns the difference of the validation texts, or None."""
    if _checksums(other) != _checksums(config):
        return "a checksum of the files"
    data = DataConfig.from_json(config["data"])
    names = list(data.token_options)
    if not data.valid:
        names.append("validation_fraction")
    # Which pairs are too long depends on how both sides are cut into tokens.
    if data.is_pairs and _tokenizers(other) != _tokenizers(config):
        return "a tokenizer, on which over-long pairs depend,"
    for name in names:
        if other["data"].get(name) != config["data"].get(name):
            return f"data.{name}"
    if bool(other["data"].get("valid")) != bool(data.valid):
        return "data.valid"
    return None


def _tokenizers(config: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Fingerprints of the sources' tokenizer and of the targets'."""
    target = config.get("tokenizer_fingerprint")
    return config.get("source_tokenizer_fingerprint", target), target


def _checksums(config: Mapping[str, Any]) -> list[list[str]]:
    """SHA-256 of the validation files, by side; their names may differ."""
    sides = config.get("files", {}).get("valid", [])
    return [[file["sha256"] for file in side] for side in sides]
