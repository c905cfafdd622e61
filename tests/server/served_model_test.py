"""Versions that come, fail and go while requests are answered."""

import shutil
import threading

import numpy as np
import pytest

from tests.server.served import asking, serving, until
from tests.server.toy_export import expected, write_toy
from tf_textgen.errors import UserError
from tf_textgen.server.request_error import RequestError
from tf_textgen.server.served_model import ServedModel
from tf_textgen.server.server_config import ServerConfig

TEXT = np.array([b"x"], object)
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Two versions that differ in what they say."""
    folder = tmp_path_factory.mktemp("versions")
    return {1: write_toy(folder, 1), 2: write_toy(folder, 2, alphabet=UPPER)}


@pytest.fixture
def root(versions, tmp_path):
    folder = tmp_path / "toy"
    shutil.copytree(versions[1], folder / "1")
    return folder


@pytest.fixture
def log():
    return []


@pytest.fixture
def model(root, log):
    made = ServedModel(str(root), ServerConfig(drain_timeout_s=60), log=log.append)
    yield made
    made.close()


def states(model):
    found = model.status()["model_version_status"]
    return {int(one["version"]): (one["state"], one["status"]["error_code"]) for one in found}


def test_a_folder_is_served_under_a_name_that_a_url_can_hold(versions, tmp_path, monkeypatch):
    shutil.copytree(versions[1], tmp_path / "my toy" / "1")
    (tmp_path / "my toy" / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "my toy" / "inside")
    model = ServedModel("..", ServerConfig())
    assert model.name == "my_toy" and model.current.number == 1
    model.close()


def test_a_new_version_takes_over_and_the_old_one_finishes(model, root, versions, log):
    shutil.copytree(versions[2], root / "2")
    with model.lease() as old:
        refreshing = threading.Thread(target=model.refresh)
        refreshing.start()
        until(lambda: model.current.number == 2)
        assert states(model) == {2: ("AVAILABLE", "OK"), 1: ("UNLOADING", "OK")}
        assert old.batcher.submit("serving_default", {"text": TEXT}).result(60)[
            "text"
        ].tolist() == [b"xa"]
        with (
            pytest.raises(RequestError, match=r"not found for request: Specific\(toy, 1\)"),
            model.lease(1),
        ):
            pass
    refreshing.join(60)
    assert states(model) == {2: ("AVAILABLE", "OK"), 1: ("END", "OK")}
    assert log == ["version 2 of toy answers instead of version 1"]
    with model.lease(2) as new:
        assert new.batcher.submit("serving_default", {"text": TEXT}).result(60)[
            "text"
        ].tolist() == [b"xA"]


def test_a_version_that_fails_is_told_once_and_the_old_one_stays(model, root, versions, log):
    shutil.copytree(versions[2], root / "2")
    (root / "2" / "saved_model.pb").write_bytes(b"damaged")
    model.refresh()
    model.refresh()
    assert states(model) == {2: ("END", "UNKNOWN"), 1: ("AVAILABLE", "OK")}
    assert model.current.number == 1
    (line,) = log
    assert "version 2 of toy failed, version 1 continues: " in line and "cannot be served" in line
    assert (
        "cannot be served" in model.status(2)["model_version_status"][0]["status"]["error_message"]
    )
    shutil.rmtree(root / "2")
    shutil.copytree(versions[2], root / "2")  # mended under the same number
    model.refresh()
    assert model.current.number == 2


def test_deleting_the_newest_version_goes_back(model, root, versions):
    shutil.copytree(versions[2], root / "2")
    model.refresh()
    shutil.rmtree(root / "2")
    model.refresh()
    assert states(model) == {2: ("END", "OK"), 1: ("AVAILABLE", "OK")}
    shutil.rmtree(root / "1")
    model.refresh()  # there is nothing better
    assert model.current.number == 1


def test_half_written_versions_are_not_seen(model, root, versions):
    shutil.copytree(versions[2], root / ".2.writing")
    (root / "3").mkdir()
    model.refresh()
    assert states(model) == {1: ("AVAILABLE", "OK")}


def test_a_server_changes_versions_by_itself(root, versions):
    with serving(root, poll_s=0.01) as server, asking(server) as client:
        body = {"prompt": "", "seed": 0, "max_tokens": 3}
        assert client.post("/v1/completions", body).json["choices"][0]["text"] == expected(0, 3)
        shutil.copytree(versions[2], root / ".copy")
        (root / ".copy").rename(root / "2")
        until(lambda: client.get("/v1/models/toy/versions/2").code == 200)
        until(lambda: server.model.current.number == 2)
        assert client.post("/v1/completions", body).json["choices"][0]["text"] == expected(
            0, 3, UPPER
        )
        assert 'tf_textgen_model_version{model="toy"} 2.0' in client.get("/metrics").text


def test_one_version_is_served_where_it_is_named(root, versions):
    shutil.copytree(versions[2], root / "2")
    model = ServedModel(str(root / "1"), ServerConfig())
    model.refresh()
    assert (model.name, model.current.number) == ("toy", 1)
    model.close()


def test_a_restart_serves_the_newest_version_that_can_be(root, versions, log):
    shutil.copytree(versions[2], root / "2")
    for name in ("3", "9"):
        shutil.copytree(root / "2", root / name)
        (root / name / "saved_model.pb").write_bytes(b"damaged")
    for name in ("007", "\u0669", "9" * 19):  # no versions
        shutil.copytree(root / "9", root / name)
    made = ServedModel(str(root), ServerConfig(), log=log.append)
    assert made.current.number == 2 and states(made) == {
        9: ("END", "UNKNOWN"),
        3: ("END", "UNKNOWN"),
        2: ("AVAILABLE", "OK"),
    }
    assert [line.split(": ")[0] for line in log] == [
        f"version {number} of toy failed, the one before it is tried" for number in (9, 3)
    ]
    made.refresh()
    assert made.current.number == 2 and len(log) == 2
    made.close()


def test_no_export_is_told(tmp_path):
    with pytest.raises(
        UserError, match=r"--saved_model=.*: no export there; expected NAME or NAME/VERSION"
    ):
        ServedModel(str(tmp_path), ServerConfig())


def test_a_damaged_export_is_told(root):
    (root / "1" / "saved_model.pb").write_bytes(b"damaged")
    with pytest.raises(
        UserError, match=r"/1: cannot be served \(.*\); expected an export as `export` wrote it"
    ):
        ServedModel(str(root), ServerConfig())
