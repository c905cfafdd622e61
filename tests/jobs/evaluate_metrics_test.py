"""`evaluate` from the command line: likelihood, and metrics of what a run generates."""

import functools
import json

import pytest
import sacrebleu

from tf_textgen.errors import UserError
from tf_textgen.generator import Continuation
from tf_textgen.jobs import main, run_flags
from tf_textgen.runs import loading
from tf_textgen.runs.run_folder import load_run

LETTERS = "abcdefgh"
TRAIN = [(f"{a}{b}", f"{b}{a} {a}") for a in LETTERS for b in LETTERS]
MODEL = [
    f"--transformer_lm.{field}"
    for field in ("num_layers=1", "num_heads=1", "width=4", "max_positions=24")
]
TEST = ["ab\tba a\textra\n", "ab\ta b\t\n", "gfhdcb\tdef\t\n", "h\th\t\n"]


@pytest.fixture(scope="module")
def pairs_run(tmp_path_factory):
    """A language model on pairs, the last of which validate; its test set has several references a
    source.
    """
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "train.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in TRAIN))
    (folder / "test.tsv").write_text("".join(TEST))
    flags = [
        "--data.format=tsv",
        "--data.num_buckets=1",
        "--data.validation_fraction=0.1",
        "--run.xla=off",
        *MODEL,
    ]
    flags += [f"--data.train={folder / 'train.tsv'}", f"--data.test={folder / 'test.tsv'}"]
    flags += [
        f"--data.cache_dir={folder}",
        "--data.max_source_tokens=8",
        "--data.max_target_tokens=8",
    ]
    flags += [
        "--tokenizer.kind=characters",
        f"--run.dir={folder / 'run'}",
        "--run.steps=2",
        "--run.samples=0",
    ]
    assert main(["train", *flags, "--decoding.temperature=0", "--decoding.max_new_tokens=6"]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    (folder / "train.txt").write_text("".join(f"word {i} of many\n\n" for i in range(40)))
    flags = [
        "--tokenizer.kind=characters",
        f"--data.train={folder / 'train.txt'}",
        f"--data.cache_dir={folder}",
    ]
    flags += [
        "--data.context=16",
        "--data.batch_size=4",
        "--run.xla=off",
        "--run.steps=2",
        "--run.samples=0",
    ]
    assert main(["train", *flags, *MODEL, f"--run.dir={folder / 'run'}"]) == 0
    return folder / "run"


@pytest.fixture(scope="module", autouse=True)
def one_trace():
    """Each run is loaded, and its decoding traced, once for all tests."""
    runs = functools.cache(load_run)
    make_generator = loading.generator_of
    generators = functools.cache(lambda folder: make_generator(runs(folder)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_flags, "load", lambda flag_values: runs(flag_values["run.dir"].value))
        patch.setattr(loading, "generator_of", lambda run, **_: generators(run.config.run.dir))
        yield


def judged(capsys, run, *flags):
    capsys.readouterr()
    assert main(["evaluate", f"--run.dir={run}", "--json", *flags]) == 0
    return json.loads(capsys.readouterr().out)


def test_metrics_are_of_all_sources_and_references(pairs_run, tmp_path, capsys):
    output, record = tmp_path / "texts.jsonl", tmp_path / "record.json"
    flags = ["--split=test", "--metrics=bleu,chrf", "--metrics=rouge,distinct", "--batch_size=2"]
    found = judged(
        capsys,
        pairs_run,
        *flags,
        f"--output={output}",
        f"--record={record}",
        "--decoding.min_new_tokens=4",
    )
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["source"] for row in rows] == ["ab", "gfhdcb", "h"]
    assert [row["references"] for row in rows] == [["ba a", "a b"], ["def"], ["h"]]
    assert (found["texts"], found["references"], found["sources_cut"]) == (3, 4, 0)
    assert (
        found["decoding"]
        == "--decoding.temperature=0.0 --decoding.min_new_tokens=4 --decoding.max_new_tokens=6"
    )
    assert found["ended_by_length"] == sum(row["finish_reason"] == "length" for row in rows)
    texts = [row["text"] for row in rows]
    columns = [["ba a", "def", "h"], ["a b", None, None]]
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(texts, columns).score)
    assert (
        found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(texts, columns).score)
        and found["chrf"] > 0
    )
    assert "nrefs:var" in found["signature.bleu"] and "tok:english" in found["signature.rouge"]
    assert "nats_per_token" not in found and 0 < found["distinct_1"] <= 1
    recorded = json.loads(record.read_text())
    assert (
        recorded.items() >= found.items()
        and recorded["step"] == 2
        and recorded["model"] == "transformer_lm"
    )
    assert (
        recorded["command"].startswith("python -m tf_textgen evaluate --")
        and "--split=test" in recorded["command"]
    )


def test_texts_are_those_of_generate(pairs_run, tmp_path, capsys):
    judged(
        capsys,
        pairs_run,
        "--split=test",
        "--metrics=chrf",
        "--batch_size=2",
        f"--output={tmp_path / 'x'}",
    )
    texts = [json.loads(line)["text"] for line in (tmp_path / "x").read_text().splitlines()]
    prompts = ["--prompt=ab", "--prompt=gfhdcb", "--prompt=h"]
    assert main(["generate", f"--run.dir={pairs_run}", "--json", *prompts]) == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == texts


@pytest.mark.thorough
def test_long_sources_lose_their_end(pairs_run, capsys):
    """As `--data.over_long=cut` takes it from those of training."""
    capsys.readouterr()
    assert main(["generate", f"--run.dir={pairs_run}", "--prompt=" + "ab" * 20]) == 0
    assert capsys.readouterr().err.endswith("does not fit in the context; its end was cut\n")
    assert main(["score", f"--run.dir={pairs_run}", f"--text={'ab' * 20}\tba"]) == 0
    assert (
        "is longer than the context: a source loses its end, a text its end"
        in capsys.readouterr().err
    )


def test_decoding_flags_are_checked_beside_those_of_the_run(tmp_path, capsys, monkeypatch):
    def load(_):
        raise UserError("nothing is loaded before")

    monkeypatch.setattr(run_flags, "load", load)
    parts = {
        "model": "transformer_lm",
        "model_config": {"vocabulary_size": 9},
        "data": {},
        "run": {"seed": 0, "precision": "float32"},
        "decoding": {"max_new_tokens": 300},
    }
    (tmp_path / "config.json").write_text(json.dumps(parts))
    for asked, message in (
        (200, "nothing is loaded before"),
        (301, "min_new_tokens=301: expected at most --dec"),
    ):
        flags = [
            f"--run.dir={tmp_path}",
            "--metrics=distinct",
            f"--decoding.min_new_tokens={asked}",
        ]
        assert main(["evaluate", *flags]) == 2
        assert message in capsys.readouterr().err


def test_further_columns_limit_and_tokens_by_flag(pairs_run, capsys):
    flags = ["--split=test", "--metrics=bleu,rouge", "--further_references", "--limit=2"]
    found = judged(capsys, pairs_run, *flags, "--bleu_tokenizer=char", "--rouge_tokenizer=unicode")
    assert (found["texts"], found["references"]) == (2, 4)
    assert "tok:char" in found["signature.bleu"] and "tok:unicode" in found["signature.rouge"]


def test_a_part_cut_from_the_training_files_is_that_of_training(pairs_run, tmp_path, capsys):
    found = judged(
        capsys, pairs_run, "--metrics=likelihood,chrf,memorization", f"--output={tmp_path / 'x'}"
    )
    sources = [json.loads(line)["source"] for line in (tmp_path / "x").read_text().splitlines()]
    assert sources == [source for source, _ in TRAIN[-6:]] and found["texts"] == 6
    assert found["nats_per_token"] > 0 and found["signature.memorization"].startswith(
        "memorization|texts:6|"
    )


def judged_as(texts, capsys, monkeypatch, run, *flags):
    """What `evaluate` says of `texts`, as if the run had generated them, and the prompts that it
    was given.
    """
    prompts = []

    def generate(generator, given, decoding, **unused):
        prompts.extend(given)
        rest = {"score": 0.0, "token_count": 1, "finish_reason": "eos", "prompt_truncated": False}
        return [
            Continuation(prompt=prompt, text=text, **rest)
            for prompt, text in zip(given, texts, strict=True)
        ]

    monkeypatch.setattr("tf_textgen.judging.batch_generation.generate_all", generate)
    return judged(capsys, run, f"--limit={len(texts)}", *flags), prompts


def test_texts_are_continued_from_their_split(text_run, capsys, monkeypatch):
    found, prompts = judged_as(
        ["a b", "a"], capsys, monkeypatch, text_run, "--metrics=distinct,memorization"
    )
    assert (found["texts"], found["references"], found["distinct_1"]) == (2, 0, 2 / 3)
    assert {"copied_4", "longest_copy_tokens", "signature.memorization"} <= found.keys()
    valid = "".join(f"word {i} of many\n" for i in (38, 39))
    assert len(prompts) == 2 and all(prompt in valid and len(prompt) > 8 for prompt in prompts)


@pytest.mark.parametrize(
    ("text", "copied"), [("word 37", 2), ("word 38", 1), ("37 of many", 3), ("many word", 1)]
)
def test_memorization_compares_with_the_training_part_alone(
    text_run, capsys, monkeypatch, text, copied
):
    found, _ = judged_as([text], capsys, monkeypatch, text_run, "--metrics=memorization")
    assert found["longest_copy_tokens"] == copied


def test_for_people(pairs_run, capsys):
    assert main(["evaluate", f"--run.dir={pairs_run}", "--metrics=bleu", "--split=test"]) == 0
    shown = capsys.readouterr()
    lines = dict(line.split(maxsplit=1) for line in shown.out.splitlines())
    assert lines["texts"] == "3" and lines["signature.bleu"].startswith("BLEU|nrefs:var")
    assert "generated 3 of 3 texts" in shown.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--metrics=blue"],
            "--metrics=blue: expected some of likelihood, bleu, chrf, rouge, distinct, "
            "memorization; ",
        ),
        (["--metrics="], "--metrics is empty: expected some of likelihood"),
        (
            ["--metrics=chrf", "--decoding.num_samples=2"],
            "--decoding.num_samples=2: expected 1, because one text a source",
        ),
        (
            ["--metrics=chrf", "--output=/no/such/x"],
            "--output=/no/such/x: no folder /no/such; create it or",
        ),
        (
            ["--output=x"],
            "--output with --metrics=likelihood: expected some of bleu, chrf, rouge, distinct, "
            "memorization",
        ),
        (
            ["--metrics=chrf", "--bleu_tokenizer=zh"],
            "--bleu_tokenizer with --metrics=chrf: expected some of bleu too;",
        ),
        (
            ["--decoding.top_k=2"],
            "--decoding.top_k with --metrics=likelihood: expected some of bleu, chrf, rouge, d",
        ),
        (
            ["--metrics=chrf", "--stride=2"],
            "--stride with --metrics=chrf: expected some of likelihood too; add",
        ),
        (
            ["--record=/no/such/x"],
            "--record=/no/such/x: no folder /no/such; create it or choose another",
        ),
        (
            ["--record=/proc/x"],
            "--record=/proc/x: cannot write to /proc (No such file or directory); choose another "
            "folder",
        ),
    ],
)
def test_bad_flags_are_one_line(pairs_run, capsys, flags, message):
    capsys.readouterr()
    assert main(["evaluate", f"--run.dir={pairs_run}", *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_read_is_not_written(text_run, tmp_path, capsys):
    path = tmp_path / "a.txt"
    path.write_text("one two\n")
    (tmp_path / "link").symlink_to(path)
    for file, written in (
        (path, "link"),
        (tmp_path / "*.txt", "a.txt"),
        (tmp_path / "a.txt", "a.txt"),
    ):
        flags = [
            f"--run.dir={text_run}",
            f"--file={file}",
            f"--output={tmp_path / written}",
            "--metrics=distinct",
        ]
        assert main(["evaluate", *flags]) == 2
        assert (
            f"--output={tmp_path / written}: this file is read and would be overwritten"
            in capsys.readouterr().err
        )
    assert path.read_text() == "one two\n"


def test_texts_have_no_references(text_run, capsys):
    capsys.readouterr()
    assert main(["evaluate", f"--run.dir={text_run}", "--metrics=distinct,bleu"]) == 2
    assert (
        "--metrics=bleu with --data.format=text: it compares with references; expected"
        in capsys.readouterr().err
    )
    assert (
        main(
            [
                "evaluate",
                f"--run.dir={text_run}",
                "--metrics=distinct",
                "--data.validation_fraction=0",
            ]
        )
        == 2
    )
    assert "--split=valid: the run has no such data" in capsys.readouterr().err
