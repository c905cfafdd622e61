"""Tokenises and reads a corpus of gigabytes: how fast, and in how much memory.

    python experiments/benchmark/data_at_scale.py --gigabytes 0.2 2
    --output=experiments/benchmark/data_at_scale.json

The corpus is the text of Python's documentation again and again, its paragraphs in another order
each time and every line with words of its own. Each measurement is a process of its own, so that
its peak of memory (resident set size) is nobody else's. What the input pipeline gives is compared
with the training rate of the quick start.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import json
import os
import pathlib
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
QUICKSTART = ROOT / "experiments/language_model/quickstart.flags"
PIPELINES: dict[str, dict[str, Any]] = {
    "windows": {"context": 256, "batch_size": 32},
    "packed": {"context": 256, "batch_size": 32, "batching": "packed"},
    "pairs": {"format": "tsv"},
}
PAIRS_SHARE = 0.1  # of the corpus, as pairs of lines
SAMPLE_BYTES = 4_000_000  # of text that the vocabulary is learned from
TINY_MODEL = ("num_layers=2", "num_heads=2", "width=64", "max_positions=256")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--gigabytes", type=float, nargs="+", default=[2.0], help="sizes of corpora to compare"
    )
    parser.add_argument(
        "--folder", help="where corpora and tokens lie for a while; default: a temporary one"
    )
    parser.add_argument("--processes", type=int, default=0, help="as --data.tokenizing_processes")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="to read batches for, of each kind"
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="to train the quick start for")
    parser.add_argument("--output", help="JSON file for the figures")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--options", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        print(json.dumps(STAGES[arguments.stage](**arguments.options)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="data_at_scale.") as folder:
        training = train_quickstart(pathlib.Path(folder), arguments.minutes)
        found: dict[str, Any] = {"machine": machine(), "quickstart": training, "corpora": []}
        for size in arguments.gigabytes:
            found["corpora"].append(measure(pathlib.Path(folder), size, arguments))
            if arguments.output:  # after each, since the next one may take an hour
                pathlib.Path(arguments.output).write_text(
                    json.dumps(found, indent=1) + "\n", "utf-8"
                )
    print(table(found))


def measure(
    folder: pathlib.Path, gigabytes: float, arguments: argparse.Namespace
) -> dict[str, Any]:
    """All figures of one size; its files are gone afterwards."""
    folder = folder / f"{gigabytes:g}"
    folder.mkdir()
    text, pairs, valid = (str(folder / name) for name in ("text.txt", "pairs.tsv", "valid.txt"))
    tokenizer, cache = str(folder / "tokenizer"), str(folder / "cache")
    print(f"{gigabytes:g} GB: writing the corpus", file=sys.stderr)
    write_corpus(text, gigabytes * 1e9, pairs=False)
    write_corpus(pairs, gigabytes * 1e9 * PAIRS_SHARE, pairs=True)
    write_corpus(valid, 100_000, pairs=False)
    stage("build_tokenizer", text=text, folder=tokenizer)
    common = {"tokenizer": tokenizer, "cache": cache}
    found: dict[str, Any] = {"gigabytes": gigabytes}
    for kind, path in (("text", text), ("tsv", pairs)):
        found[f"tokenizing {kind}"] = stage(
            "tokenize",
            path=path,
            options={"format": kind, "tokenizing_processes": arguments.processes},
            **common,
        )
    for name, options in PIPELINES.items():
        path = pairs if name == "pairs" else text
        found[name] = stage(
            "read_batches", path=path, options=options, seconds=arguments.seconds, **common
        )
    flags = [
        f"--run.dir={folder / 'run'}",
        "--run.steps=100",
        "--run.samples=0",
        "--run.validate_every=1000",
    ]
    flags += [f"--tokenizer.dir={tokenizer}", f"--data.cache_dir={cache}", f"--data.train={text}"]
    flags += [
        f"--data.valid={valid}",
        "--data.context=128",
        "--data.batch_size=8",
        "--model=transformer_lm",
    ]
    found["training"] = train(
        folder / "run", [*flags, *(f"--transformer_lm.{option}" for option in TINY_MODEL)]
    )
    shutil.rmtree(folder)
    return found


def write_corpus(path: str, size: float, *, pairs: bool) -> None:
    """Writes about `size` bytes of noisy paragraphs or pairs from the documentation."""
    from tf_textgen.data import embedded

    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        texts = [
            pathlib.Path(file).read_text("utf-8")
            for file in embedded.write("python_docs", folder)["train"]
        ]
    paragraphs = [
        paragraph.replace("\t", " ").split("\n")
        for text in texts
        for paragraph in text.split("\n\n")
    ]
    words = sorted(
        {word for paragraph in paragraphs for line in paragraph for word in line.split()}
    )
    written = 0
    with open(path, "w", encoding="utf-8") as out:
        while written < size:
            draw.shuffle(paragraphs)
            noise = iter(draw.choices(words, k=sum(map(len, paragraphs))))
            noisy = ([f"{line} {next(noise)}" for line in paragraph] for paragraph in paragraphs)
            if pairs:
                lines = [line for paragraph in noisy for line in paragraph]
                text = "".join(
                    f"{one}\t{other}\n" for one, other in zip(lines[::2], lines[1::2], strict=False)
                )
            else:
                text = "".join("\n".join(paragraph) + "\n\n" for paragraph in noisy)
            written += out.write(text)


def build_tokenizer(text: str, folder: str) -> dict[str, Any]:
    from tf_textgen import text as tokenizers

    with open(text, "rb") as file:
        sample = file.read(SAMPLE_BYTES)
    config = tokenizers.TokenizerConfig(kind="sentencepiece", algorithm="bpe", vocabulary_size=8000)
    tokenizers.build_tokenizer(config, [sample]).save(folder)
    return {}


def tokenize(path: str, options: dict[str, Any], tokenizer: str, cache: str) -> dict[str, Any]:
    from tf_textgen.data import dataset
    from tf_textgen.data.data_config import DataConfig
    from tf_textgen.text import load_tokenizer

    config = DataConfig(train=(path,), validation_fraction=0.0, cache_dir=cache, **options)
    loaded = load_tokenizer(tokenizer)
    began = time.monotonic()
    with largest_child() as largest:
        split = dataset.open_corpus(config, loaded, ("train",))["train"]
    seconds = time.monotonic() - began
    size = os.path.getsize(path)
    return {
        "bytes": size,
        "documents": split.num_documents,
        "tokens": split.num_tokens,
        "processes": largest["children"] or 1,
        "seconds": seconds,
        "megabytes_per_second": size / 1e6 / seconds,
        "peak_megabytes": peak_megabytes(),
        "peak_megabytes_of_largest_worker": largest["megabytes"],
    }


def read_batches(
    path: str, options: dict[str, Any], seconds: float, tokenizer: str, cache: str
) -> dict[str, Any]:
    """Batches of training without a model."""
    from tf_textgen.data import dataset
    from tf_textgen.data.data_config import DataConfig
    from tf_textgen.text import load_tokenizer

    loaded = load_tokenizer(tokenizer)
    config = DataConfig(train=(path,), validation_fraction=0.0, cache_dir=cache, **options)
    kind = dataset.ENCODER_DECODER if config.is_pairs else dataset.LANGUAGE_MODEL
    began = time.monotonic()
    split = dataset.open_corpus(config, loaded, ("train",))["train"]
    opened = time.monotonic()
    batches = iter(dataset.training_batches(split, config, seed=0, model_kind=kind))
    next(batches)
    first = time.monotonic()
    count = tokens = 0
    while time.monotonic() - first < seconds:
        features, _, weights = next(batches)
        count += 1
        tokens += int(weights.numpy().sum())
        if config.is_pairs:
            tokens += int(features["source_lengths"].numpy().sum())
    taken = time.monotonic() - first
    return {
        "seconds_to_open": opened - began,
        "seconds_to_first_batch": first - opened,
        "batches_per_second": count / taken,
        "tokens_per_second": tokens / taken,
        "peak_megabytes": peak_megabytes(),
    }


STAGES = {function.__name__: function for function in (build_tokenizer, tokenize, read_batches)}


def stage(name: str, **options: Any) -> dict[str, Any]:
    """A stage in a process of its own."""
    print(f"  {name} {options.get('options', '')}", file=sys.stderr)
    command = [sys.executable, __file__, f"--stage={name}", f"--options={json.dumps(options)}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def train_quickstart(folder: pathlib.Path, minutes: float) -> dict[str, Any]:
    flags = [
        f"--flagfile={QUICKSTART}",
        f"--run.dir={folder / 'quickstart'}",
        f"--run.minutes={minutes:g}",
    ]
    return train(folder / "quickstart", [*flags, "--run.samples=0"])


def train(run: pathlib.Path, flags: list[str]) -> dict[str, Any]:
    """Runs the job; its speed and its peak of memory."""
    print(f"  train {flags[0]}", file=sys.stderr)
    command = [sys.executable, "-m", "tf_textgen", "train", *flags]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"train ended with exit code {process.returncode}")
    record = json.loads((run / "run.json").read_text("utf-8"))
    return {
        "tokens_per_second": record["tokens_per_second"],
        "peak_megabytes": usage.ru_maxrss / 1024,
    }


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def largest_child() -> Iterator[dict[str, Any]]:
    """Number of child processes seen, and the largest one's peak of memory.

    From /proc: `getrusage` counts for a child also what its parent had when it started it.
    """
    found: dict[str, Any] = {"children": 0, "megabytes": 0.0}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            children = [
                pid
                for path in glob.glob("/proc/self/task/*/children")
                for pid in _read(path).split()
            ]
            found["children"] = max(found["children"], len(children))
            for status in map(_read, (f"/proc/{pid}/status" for pid in children)):
                peak = [
                    int(line.split()[1]) / 1024
                    for line in status.splitlines()
                    if line.startswith("VmHWM")
                ]
                found["megabytes"] = max([found["megabytes"], *peak])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()


def _read(path: str) -> str:
    with contextlib.suppress(OSError):
        return pathlib.Path(path).read_text("utf-8")
    return ""


def machine() -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    names = [line for line in _read("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    return {"processor": names[0].split(":")[1].strip() if names else "", "cores": cores}


def table(found: dict[str, Any]) -> str:
    """The figures in Markdown, a column a corpus."""
    rows: dict[str, list[str]] = {}
    training = found["quickstart"]["tokens_per_second"]

    def add(name: str, text: str) -> None:
        rows.setdefault(name, []).append(text)

    for corpus in found["corpora"]:
        add("corpus", f"{corpus['gigabytes']:g} GB")
        for kind, form in (("text", "text"), ("pairs", "tsv")):
            part = corpus[f"tokenizing {form}"]
            add(f"{kind}: bytes", f"{part['bytes']:,}")
            add(f"{kind}: documents or pairs", f"{part['documents']:,}")
            add(f"{kind}: tokens", f"{part['tokens']:,}")
            add(
                f"{kind}: tokenising", f"{part['seconds']:.0f} s with {part['processes']} processes"
            )
            add(f"{kind}: MB/s", f"{part['megabytes_per_second']:.1f}")
            worker = f"{part['peak_megabytes_of_largest_worker']:.0f}"
            add(
                f"{kind}: peak MB, reading process + largest worker",
                f"{part['peak_megabytes']:.0f} + {worker}",
            )
        for name in PIPELINES:
            part = corpus[name]
            opening, first = part["seconds_to_open"], part["seconds_to_first_batch"]
            add(f"{name}: opening + first batch", f"{opening:.1f} + {first:.1f} s")
            add(f"{name}: batches/s", f"{part['batches_per_second']:,.0f}")
            add(f"{name}: tokens/s", f"{part['tokens_per_second']:,.0f}")
            add(f"{name}: times the training rate", f"{part['tokens_per_second'] / training:.0f}")
            add(f"{name}: peak MB", f"{part['peak_megabytes']:.0f}")
        add(
            "training a tiny model on the text: tokens/s",
            f"{corpus['training']['tokens_per_second']:,.0f}",
        )
        add(
            "training a tiny model on the text: peak MB",
            f"{corpus['training']['peak_megabytes']:.0f}",
        )
        add("training the quick start: tokens/s", f"{training:,.0f}")
    lines = [f"| {' | '.join([name, *texts])} |" for name, texts in rows.items()]
    return "\n".join([lines[0], "|---" * (1 + len(found["corpora"])) + "|", *lines[1:]])


if __name__ == "__main__":
    main()
