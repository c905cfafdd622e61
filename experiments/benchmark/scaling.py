"""Tokens per second of one and of two workers, each pinned to a core of its own.

    python experiments/benchmark/scaling.py [--steps=60]

Trains the model of the quick start through `launch --cores_per_worker=1`, the same global batch
each time, and prints a table; beside it stands what each worker has to send. Nothing else should
run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

RECIPE = pathlib.Path(__file__).parents[1] / "language_model" / "quickstart.flags"


def train(workers: int, steps: int, folder: pathlib.Path, *flags: str) -> dict:
    """The record of a training by so many workers."""
    run = folder / f"workers_{workers}_{len(list(folder.iterdir()))}"
    subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "tf_textgen",
                "launch",
                f"--num_workers={workers}",
                "--cores_per_worker=1",
                "--",
            ),
            *(
                "train",
                f"--flagfile={RECIPE}",
                f"--run.dir={run}",
                f"--run.steps={steps}",
                # A step of two workers is worth its exchange of gradients.
                "--data.batch_size=16",
                "--run.samples=0",
            ),
            *(
                f"--run.validate_every={10 * steps}",
                f"--run.checkpoint_every={10 * steps}",
                "--data.validation_fraction=0",
            ),
            *flags,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60, help="steps of each training")
    parser.add_argument("--output", help="write the table here too, as JSON")
    parser.add_argument("flags", nargs="*", help="flags of train, after --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        records = {n: train(n, options.steps, pathlib.Path(folder), *options.flags) for n in (1, 2)}
    alone = records[1]["tokens_per_second"]
    print(f"{records[1]['model']}, {records[1]['parameters']:,} parameters, {records[1]['device']}")
    print("workers  tokens/s  of linear")
    rows = []
    for workers, record in records.items():
        speed = record["tokens_per_second"]
        rows.append(
            {
                "workers": workers,
                "tokens_per_second": speed,
                "of_linear": round(speed / (workers * alone), 3),
            }
        )
        print(f"{workers:7}  {speed:8,.0f}  {speed / (workers * alone):9.0%}")
    if options.output:
        kept = ("command", "commit", "device", "model", "parameters", "precision")
        record = {**{name: records[2].get(name) for name in kept}, "rows": rows}
        pathlib.Path(options.output).write_text(
            json.dumps(record, indent=2) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
