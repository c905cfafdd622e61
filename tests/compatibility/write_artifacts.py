"""Makes the artefacts of version 0.1.0, which later versions have to read.

The script is kept as the record of how `artifacts.tar.xz` and `expected.json` were made. To run it
anew makes sense with version 0.1.0 alone, since its jobs and defaults are what is frozen:

    PYTHONPATH=CHECKOUT_OF_0.1.0 python tests/compatibility/write_artifacts.py

With `--answers_only` it asks version 0.1.0 again what the archive's content answers.

The archive has recipes, a corpus, tokenizers, run folders, SavedModel versions and `.keras` files.
All paths in it are relative to the folder it is unpacked in. The logs of TensorBoard and the lock
files are left out. `expected.json` has the answers of version 0.1.0 to the questions in it.
"""

from __future__ import annotations

import json
import os
import pathlib
import random
import re
import shutil
import sys
import tarfile
import tempfile
from typing import Any

import asking

import tf_textgen

HERE = pathlib.Path(__file__).resolve().parent
FAMILIES = ("ngram", "rnn_lm", "rnn_seq2seq", "transformer_lm", "transformer_seq2seq")
MEAN = "transformer_seq2seq_mean"
MORE_STEPS = 6
PROMPTS = {
    "text": ["the cat sees a", "a bird"],
    "pairs": ["the cat sees a red ball", "the dog finds a old book"],
}
TARGETS = ("猫 看见 红球", "狗 找到 旧书")
GREEDY = ["--decoding.temperature=0", "--decoding.beam_width=1", "--decoding.num_best=1"]
SAMPLED = [
    *("--decoding.temperature=0.9", "--decoding.beam_width=1", "--decoding.num_best=1"),
    *("--decoding.seed=7", "--decoding.num_samples=2", "--decoding.top_k=12"),
]
# Values of flags that have no default: what any type but an enumeration takes, and the exceptions.
ANY_VALUE, VALUES = "1", {"run.weights": "trained"}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        if "--answers_only" not in sys.argv:
            _make()
            _pack(HERE / "artifacts.tar.xz")
        os.mkdir("unpacked")
        with tarfile.open(HERE / "artifacts.tar.xz") as archive:
            archive.extractall("unpacked", filter="data")
        os.chdir("unpacked")
        expected = {"flags": _flags(), "runs": {}, "exports": {}, "keras": {}, "continued": {}}
        for name in (*FAMILIES, MEAN):
            expected["runs"][name] = _of_run(name)
        expected["recipes"] = {
            name: _asked(["describe", f"--flagfile=recipes/{name}.flags"])
            for name in FAMILIES
            if name != "ngram"
        }
        for name in FAMILIES:
            expected["exports"][name] = _of_export(name)
            features = {"target_tokens": [[2, 6, 7, 9]], "target_lengths": [4]}
            if _is_pair(name):
                features |= {"source_tokens": [[6, 7, 8]], "source_lengths": [3]}
            found = asking.keras_answer(f"models/{name}.keras", features)
            expected["keras"][name] = {"features": features, "answer": found}
        expected["averaged"] = _average_again()
        for name in FAMILIES:
            expected["continued"][name] = _continue(name)
        os.chdir("/")
    text = json.dumps(_rounded(expected), ensure_ascii=False, indent=1)
    # Lists of numbers stand in one line each.
    text = re.sub(r"\[[^\[\]{}\"]*\]", lambda found: " ".join(found[0].split()), text)
    (HERE / "expected.json").write_text(text + "\n", "utf-8")


def _make() -> None:
    """Makes everything that is archived, in the current folder."""
    _write_corpus(pathlib.Path("corpus"))
    shutil.copytree(HERE / "recipes", "recipes")
    asking.run(["build_vocab", "--flagfile=recipes/transformer_lm.flags"])
    os.mkdir("models")
    for name in FAMILIES:
        asking.run(["train", f"--flagfile=recipes/{name}.flags"])
        _write_keras(name)
        bounds = ["--export.max_new_tokens=24", "--export.max_prompt_tokens=32"]
        asking.run(["export", f"--run.dir=runs/{name}", *bounds])
        config = pathlib.Path("saved_models", name, "models.config")
        config.write_text(config.read_text("utf-8").replace(os.getcwd(), "/models"), "utf-8")
    given = ["--run.dir=runs/transformer_seq2seq", "--last=2", f"--output=runs/{MEAN}"]
    asking.run(["average", *given])


def _write_corpus(folder: pathlib.Path) -> None:
    """Sentences of a toy grammar, and their Chinese."""
    folder.mkdir()
    rng = random.Random(0)
    names = {"cat": "猫", "dog": "狗", "bird": "鸟", "fish": "鱼"}
    verbs = {"sees": "看见", "likes": "喜欢", "finds": "找到"}
    things = {
        **{"red ball": "红球", "small house": "小房子"},
        **{"green tree": "绿树", "old book": "旧书"},
    }
    rows = []
    for _ in range(240):
        name, verb, thing = (rng.choice(list(words)) for words in (names, verbs, things))
        source = f"the {name} {verb} a {thing}"
        rows.append((source, f"{names[name]} {verbs[verb]} {things[thing]}"))
    for name, some in (("stories.txt", rows[:150]), ("more.txt", rows[150:190])):
        (folder / name).write_text("".join(f"{a} .\n{b} .\n\n" for a, b in some), "utf-8")
    pairs = "".join(f"{number}\t{a}\t{b}\n" for number, (a, b) in enumerate(rows))
    (folder / "pairs.tsv").write_text(pairs, "utf-8")
    for name, some in (("train", rows[:200]), ("valid", rows[200:])):
        for side, language in enumerate(("en", "zh")):
            lines = "".join(f"{row[side]}\n" for row in some)
            (folder / f"{name}.{language}").write_text(lines, "utf-8")


def _write_keras(name: str) -> None:
    """Saves the model of a run, compiled with the run's optimizer where there is one."""
    run = tf_textgen.load_run(f"runs/{name}")
    if name != "ngram":
        config = tf_textgen.OptimizerConfig.from_json(run.config["optimizer"])
        optimizer = tf_textgen.make_optimizer(config, run.model.trainable_variables)
        run.model.compile(optimizer, clip_norm=config.clip_norm)
        run.model.optimizer.build(run.model.trainable_variables)
    run.model.save(f"models/{name}.keras")


def _pack(path: pathlib.Path) -> None:
    """Writes the archive; all files of a kind stand side by side, since they are much alike."""

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if member.name.split("/")[-1] in ("lock", "logs", "debug"):
            return None
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(path, "w:xz", preset=9 | 1 << 31, format=tarfile.PAX_FORMAT) as archive:
        for name in ("recipes", "corpus", "tokenizers", "runs", "models", "saved_models"):
            archive.add(name, filter=anonymous)


def _is_pair(name: str) -> bool:
    return "seq2seq" in name


def _asked(arguments: list[str]) -> dict[str, Any]:
    return {"arguments": arguments, "answer": asking.answer(arguments)}


def _continuations(place: str, name: str) -> list[dict[str, Any]]:
    """By the run's own parameters, greedily, and sampled."""
    prompts = [f"--prompt={text}" for text in PROMPTS["pairs" if _is_pair(name) else "text"]]
    return [_asked(["generate", place, *prompts, *flags]) for flags in ([], GREEDY, SAMPLED)]


def _of_run(name: str) -> list[dict[str, Any]]:
    place = f"--run.dir=runs/{name}"
    texts = [f"--text={text}" for text in PROMPTS["text"]]
    if _is_pair(name):
        pairs = zip(PROMPTS["pairs"], TARGETS, strict=True)
        texts = [f"--text={source}\t{target}" for source, target in pairs]
    found = [*_continuations(place, name), _asked(["score", place, *texts, "--per_token"])]
    found += [_asked(["evaluate", place]), _asked(["describe", place])]
    if name == "ngram":
        found.append(_asked(["evaluate", place, "--file=corpus/stories.txt", "--stride=8"]))
    if name == "transformer_lm":
        found.append(_asked(["score", place, *texts, "--run.weights=trained"]))
    if name == "rnn_seq2seq":
        judged = _asked(["evaluate", place, "--metrics=bleu,chrf"])
        for other in judged["answer"][0].keys() - {"texts", "generated_tokens", "bleu", "chrf"}:
            del judged["answer"][0][other]  # times, and versions of packages
        found.append(judged)
    return found


def _of_export(name: str) -> dict[str, Any]:
    place = f"saved_models/{name}"
    texts = PROMPTS["pairs" if _is_pair(name) else "text"]
    sampled = {"num_samples": 2, "temperature": 0.9, "seed": 7, "top_k": 12, "max_new_tokens": 16}
    requests: list[dict[str, Any]] = [
        _request("generate", texts=texts, temperature=0.0, max_new_tokens=16),
        _request("generate", texts=texts, **sampled),
        _request("stream", text=texts[0], temperature=0.0, max_new_tokens=16, chunk_tokens=5),
        _request("tokenize", texts=texts),
        _request("detokenize", ids=[[6, 7, 8]]),
    ]
    given = {"texts": list(TARGETS), "sources": texts} if _is_pair(name) else {"texts": texts}
    requests.append(_request("score", **given))
    if name != "ngram":
        requests.append(_request("embed", texts=texts))
    if name == "transformer_seq2seq":
        requests.append(_request("beam_search", texts=texts, max_new_tokens=16))
    with asking.serving(place) as url:
        answers = asking.ask(url, name, requests)
    asked = [{**one, "answer": found} for one, found in zip(requests, answers, strict=True)]
    return {"jobs": _continuations(f"--saved_model={place}", name), "requests": asked}


def _request(method: str, **arguments: Any) -> dict[str, Any]:
    return {"method": method, "arguments": arguments}


def _average_again() -> dict[str, Any]:
    job = ["average", "--run.dir=runs/transformer_seq2seq", "--last=2", "--output=runs/again"]
    asking.run(job)
    return {"job": job, "then": _asked(["evaluate", "--run.dir=runs/again"])}


def _continue(name: str) -> dict[str, Any]:
    """The same command with a larger budget, and the figure of the checkpoint it ends with."""
    job = ["train", f"--flagfile=runs/{name}/recipe.flags"]
    if name != "ngram":
        record = json.loads(pathlib.Path("runs", name, "run.json").read_text("utf-8"))
        job.append(f"--run.steps={record['steps'] + MORE_STEPS}")
    asking.run(job)
    then = ["evaluate", f"--run.dir=runs/{name}", "--run.checkpoint=last"]
    return {"job": job, "then": _asked(then)}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, asking.LOGIT_DIGITS) if isinstance(value, float) else value


def _flags() -> dict[str, list[str]]:
    """A value of each flag of each job, its default if it has one."""
    overview = asking.run(["--help"])
    jobs = re.findall(r"^  (\w+) ", overview.split("jobs:")[1], re.MULTILINE)
    return {job: _flags_of(asking.run([job, "--helpshort"])) for job in jobs}


def _flags_of(shown: str) -> list[str]:
    found = []
    for name, text in re.findall(r"^  --(\S+)\n((?:      .*\n?)*)", shown, re.MULTILINE):
        default = re.search(r"\(default: (.*?)\)$", " ".join(text.split()))
        bare = name.removeprefix("[no]")
        value = default[1] if default else VALUES.get(bare, ANY_VALUE)
        found.append(f"--{bare}={value}")
    return found


if __name__ == "__main__":
    sys.exit(main())
