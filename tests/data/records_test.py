"""JSON lines, CSV, Parquet and compressed files as documents, pairs and dialogues."""

import bz2
import csv
import gzip
import json
import lzma

import pytest

from tests.support.data_files import write
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.documents import CHUNK_BYTES, Documents
from tf_textgen.data.sources import Pairs, training_texts
from tf_textgen.errors import UserError

TEXTS = ['The "cat", sat.\nOn two lines.', "春花秋月，何时了", "x" * (2 * CHUNK_BYTES + 1)]


def json_lines(path, rows):
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def documents(path, **fields):
    found = [b""]
    reader = Documents(DataConfig(**fields), [path])
    for chunk in reader:
        found[-1] += chunk.text
        if chunk.ends:
            found.append(b"")
    assert found.pop() == b""
    return [text.decode() for text in found], reader


def pairs(*paths, **fields):
    reader = Pairs(DataConfig(**fields), paths)
    return [(source.decode(), target.decode()) for source, target in reader], reader


def test_json_lines_are_documents(tmp_path):
    path = json_lines(tmp_path / "a.jsonl", [{"id": 1, "text": text} for text in TEXTS])
    assert documents(path)[0] == TEXTS


def test_a_dotted_path_names_a_nested_field(tmp_path):
    rows = [{"page": {"body": text}} for text in TEXTS]
    path = json_lines(tmp_path / "a.json", rows)
    assert documents(path, text_field="page.body")[0] == TEXTS


def test_blank_records_are_counted(tmp_path):
    rows = [{"text": text} for text in ("one", " ", None, "\u3000", "two")]
    found, reader = documents(json_lines(tmp_path / "a.jsonl", rows))
    assert found == ["one", "two"]
    assert reader.empty == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"a.jsonl:2: not valid JSON \(.*\): expected one JSON object per line"),
        ("[1]", r"a.jsonl:2: list: expected a JSON object"),
        ('{"body": "x", "id": 1}', r"a.jsonl:2: no field 'text': expected one of body, id; set"),
        ('{"text": 3}', r"a.jsonl:2: field 'text' is int: expected a string"),
        ('{"text": "a\\u0000b"}', r"a.jsonl:2: field 'text' contains the character NUL"),
        ('{"text": "\\ud800"}', r"a.jsonl:2: field 'text' contains half a character"),
    ],
)
def test_broken_json_lines_name_the_line(tmp_path, line, message):
    path = write(tmp_path / "a.jsonl", '{"text": "good"}\n' + line + "\n")
    with pytest.raises(UserError, match=message):
        documents(path)


def test_half_a_character_can_be_replaced(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "a\\ud800b"}\n')
    found, reader = documents(path, invalid_utf8="replace")
    assert found == ["a\ufffdb"]
    assert reader.replaced == 1


PACKINGS = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}


@pytest.mark.parametrize("extension", PACKINGS)
@pytest.mark.parametrize("kept", [True, False])
def test_compressed_files_are_known_by_their_first_bytes(tmp_path, extension, kept):
    name = f"a.txt{extension}" if kept else "a.txt"
    path = write(tmp_path / name, PACKINGS[extension](b"one\n\ntwo\n"))
    assert documents(path)[0] == ["one", "two"]


def test_zstandard(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    frames = zstandard.compress(b"one\n\n") + zstandard.compress(b"two\n")
    assert documents(write(tmp_path / "a.txt.zst", frames))[0] == ["one", "two"]


def test_compressed_json_lines(tmp_path):
    content = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    path = write(tmp_path / "a.jsonl.xz", lzma.compress(content.encode()))
    assert documents(path)[0] == TEXTS


def csv_file(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return str(path)


def test_csv_with_its_quoting_rules(tmp_path):
    rows = [["hello, you", 'say "bonjour"'], ["two\nlines", "deux\nlignes"], ["你好", "salut"]]
    path = csv_file(tmp_path / "a.csv", [["en", "fr"], *rows])
    expected = [tuple(row) for row in rows]
    assert pairs(path, format="csv")[0] == expected
    assert pairs(path, format="csv", source_field="en", target_field="fr")[0] == expected
    assert pairs(path, format="csv", csv_header=False)[0] == [("en", "fr"), *expected]
    turned = pairs(path, format="csv", source_column=2, target_column=1)[0]
    assert turned == [(target, source) for source, target in expected]
    assert documents(path, text_field="fr")[0] == [target for _, target in expected]


def test_broken_csv_names_the_row(tmp_path):
    path = write(tmp_path / "a.csv", 'en,fr\n"a"b,c\n')
    with pytest.raises(UserError, match=r"a.csv:2: not valid CSV"):
        pairs(path, format="csv")
    path = write(tmp_path / "b.csv", "en,fr\none\n")
    with pytest.raises(UserError, match=r"b.csv:2: 1 comma-separated column, expected at least 2"):
        pairs(path, format="csv")


def test_json_lines_are_pairs(tmp_path):
    rows = [{"source": "one", "target": "un"}, {"source": "", "target": "deux"}]
    path = json_lines(tmp_path / "a.jsonl", rows)
    found, reader = pairs(path, format="pairs")
    assert found == [("one", "un")]
    assert reader.empty == 1
    rows = [{"t": {"en": "one", "fr": "un"}}]
    path = json_lines(tmp_path / "b.json", rows)
    fields = {"source_field": "t.en", "target_field": "t.fr"}
    assert pairs(path, format="pairs", **fields)[0] == [("one", "un")]


MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello\nthere"},
    {"role": "user", "content": "One"},
    {"role": "user", "content": "more"},
    {"role": "assistant", "content": "Yes"},
]
SHARED = [
    {"from": "gpt", "value": "Welcome"},
    {"from": "human", "value": "Hi"},
    {"from": "gpt", "value": "Bye"},
]


def test_conversations_are_dialogues(tmp_path):
    rows = [{"messages": MESSAGES}, {"conversations": SHARED}]
    path = json_lines(tmp_path / "a.jsonl", rows)
    assert pairs(path, format="dialogue")[0] == [
        ("<A> Be brief. Hi", "Hello\nthere"),
        ("<A> Be brief. Hi\n<B> Hello there\n<A> One more", "Yes"),
        ("<A>\n<B> Welcome\n<A> Hi", "Bye"),
    ]
    assert [
        text.decode()
        for text in training_texts(DataConfig(train=(path,), format="dialogue"), "source")
    ] == [
        "<A> Be brief. Hi\n<B> Hello there\n<A> One more\n<B> Yes",
        "<A>\n<B> Welcome\n<A> Hi\n<B> Bye",
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"text": "x"},
            r"a.jsonl:1: no conversation: expected 'messages' or 'conversations', "
            r".*text",
        ),
        ({"messages": "x"}, r"'messages' is no list"),
        ({"messages": [{"role": "user"}]}, r"a message without 'role' or 'content'"),
        (
            {"messages": [{"role": "judge", "content": "x"}]},
            r"role 'judge': expected one of "
            r"system",
        ),
    ],
)
def test_broken_conversations(tmp_path, row, message):
    with pytest.raises(UserError, match=message):
        pairs(json_lines(tmp_path / "a.jsonl", [row]), format="dialogue")


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = str(tmp_path / "a.parquet")
    parquet.write_table(pyarrow.table({"id": [1, 2, 3], "text": TEXTS}), path)
    assert documents(path)[0] == TEXTS
    with pytest.raises(UserError, match=r"a.parquet:1: no field 'body': expected one of id, text"):
        documents(path, text_field="body")
    with pytest.raises(UserError, match=r"cannot read .*b.parquet: .*expected a Parquet file"):
        documents(write(tmp_path / "b.parquet", "no"))
