import gzip
import hashlib
import os

import pytest
import tensorflow as tf

from tests.support.data_files import BOS, EOS, ids, stream_of, write
from tf_textgen.data import files, token_cache
from tf_textgen.data.data_config import DataConfig
from tf_textgen.data.text_file import TextFile
from tf_textgen.errors import UserError
from tf_textgen.text.bytes import ByteTokenizer


def test_globs_are_sorted_within_the_order_given_and_files_come_once(tmp_path):
    for name in ("b.txt", "a.txt", "z.md", "odd[1].txt"):
        write(tmp_path / name, "x\n")
    found = files.expand(
        [f"{tmp_path}/z.md", f"{tmp_path}/[ab].txt", f"{tmp_path}/a*"], "data.train"
    )
    assert found == [f"{tmp_path}/{name}" for name in ("z.md", "a.txt", "b.txt")]
    assert files.expand([f"{tmp_path}/odd[1].txt"], "data.train") == [f"{tmp_path}/odd[1].txt"]
    assert files.expand([], "data.train") == []


def test_glob_without_a_file_and_a_folder_are_errors(tmp_path):
    with pytest.raises(UserError, match=r"--data.valid=.*\*.txt: no such file; expected"):
        files.expand([f"{tmp_path}/*.txt"], "data.valid")
    with pytest.raises(UserError, match=r"--data.train=.* is a folder, expected files"):
        files.expand([str(tmp_path)], "data.train")


def test_paths_with_a_scheme_go_through_tensorflow(tmp_path):
    path = write(tmp_path / "a.txt", "one\ntwo\n" * 20000)
    write(tmp_path / "b.txt.gz", gzip.compress(b"packed\n"))
    remote = f"file://{tmp_path}"
    assert files.is_remote(remote)
    assert len(list(TextFile(f"{remote}/a.txt").lines())) == 40000
    assert list(TextFile(f"{remote}/b.txt.gz").lines()) == [(1, b"packed")]
    assert files.digest(f"{remote}/a.txt") == files.digest(path)
    assert [
        found.rsplit("/", 1)[1] for found in files.expand([f"{remote}/*.txt"], "data.train")
    ] == ["a.txt"]
    with pytest.raises(UserError, match="is a folder"):
        files.expand([remote], "data.train")
    with pytest.raises(UserError, match="no such file"):
        files.expand([f"{remote}/*.md"], "data.train")


@pytest.fixture
def memory():
    """A folder in TensorFlow's file system in memory."""
    tf.io.gfile.makedirs("ram://files_test")
    yield "ram://files_test"
    tf.io.gfile.rmtree("ram://files_test")


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        ("text", {"text": ["one", "two", "三", "四", "五"]}),
        ("tsv", {"source": ["one", "two", "three"], "target": ["un", "deux", "三"]}),
    ],
)
def test_documents_and_pairs_of_a_remote_file_system(tmp_path, memory, form, texts):
    contents = {
        "a.text": b"one\r\ntwo\n\n",
        "b.text.gz": gzip.compress("三\n四\n".encode()),
        "c.text": "五".encode(),
        "a.tsv": b"one\tun\ntwo\tdeux\n",
        "b.tsv.gz": gzip.compress("three\t三\n".encode()),
    }
    for name, content in contents.items():
        with tf.io.gfile.GFile(f"{memory}/{name}", "wb") as file:
            file.write(content)
    config = DataConfig(
        train=(f"{memory}/*.{form}*",), format=form, documents="line", cache_dir=str(tmp_path)
    )
    opened = token_cache.open_shards(config, ByteTokenizer(), "train")
    before, after = ([BOS], [EOS]) if form == "text" else ([], [])
    for name, expected in texts.items():
        assert stream_of(opened, name) == [
            i for text in expected for i in (*before, *ids(text.encode()), *after)
        ]


def test_remote_paths_that_cannot_be_read(memory):
    for missing in (f"{memory}/a.txt", f"{memory}/*.txt", "ram://no_such_folder/a.txt"):
        with pytest.raises(
            UserError, match=r"^--data.train=ram://.*a?.txt: no such file; expected a path or glob"
        ):
            files.expand([missing], "data.train")
    with pytest.raises(
        UserError, match=r"^cannot read ram://files_test/a.txt: NotFoundError; expected"
    ):
        list(TextFile(f"{memory}/a.txt").lines())
    with pytest.raises(
        UserError, match=r"^cannot read ram://files_test/a.txt: NotFoundError; expected"
    ):
        files.digest(f"{memory}/a.txt")
    message = (
        r"^--data.train=nofs://a.txt: cannot be looked up \(File system scheme 'nofs' not "
        r"implemented .*\); expected a path or glob of existing files, local or in a file system "
        r"TensorFlow knows, such as gs://$"
    )
    with pytest.raises(UserError, match=message):
        files.expand(["nofs://a.txt"], "data.train")


def test_digest(tmp_path):
    content = b"x" * 3_000_000
    expected = {"name": "a", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert files.digest(write(tmp_path / "a", content)) == expected
    with pytest.raises(UserError, match="cannot read"):
        files.digest(str(tmp_path / "missing"))


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(
        UserError,
        match=r"--data.train=.*pipe: .* is a pipe or device, expected a "
        r"file",
    ):
        files.expand([str(tmp_path / "pipe")], "data.train")
