"""``filestored stat``, as an operator runs it, beside a daemon and without one."""

import json
import os
import re
from hashlib import md5, sha256

import pytest
import requests

from filestored.cli import main
from filestored.commands.progress import NoProgress
from filestored.images import directory as image_directory
from filestored.storage.migration.migrate import migrate
from tests.command_line import run_filestored
from tests.daemon_process import TIMEOUT
from tests.seaweedfs import NEEDS
from tests.storage.contract import MD5
from tests.storage.maintenance.stores import make_object_store, make_store, path_of

FIGURES = {"files", "bytes", "oldest", "newest", "quarantine", "temp_files"}
STORE = {"store", "format", "hash", "id", *FIGURES, "free_bytes", "size_bytes", "buckets"}
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


CONTENTS = [b"one", b"three"]


@pytest.fixture
def store(tmp_path):
    """A store with two files."""
    path = str(tmp_path / "store")
    make_store(path, CONTENTS)
    return path


@pytest.fixture
def figures(capsys):
    """A function that runs the command in this process, and returns the document that it prints."""

    def run(*words):
        assert 0 == main(["stat", *words, "--json"])
        output = capsys.readouterr()
        assert ("", 1) == (output.err, output.out.count("\n"))
        return json.loads(output.out)

    return run


@pytest.fixture
def refused(capsys):
    """A function that runs the command in this process, and returns the line of its failure."""

    def run(*words):
        assert 1 == main(["stat", *words])
        output = capsys.readouterr()
        assert ("", 1) == (output.out, output.err.count("\n"))
        return output.err

    return run


def test_stat_counts_files_and_bytes(store, figures):
    found = figures(store)
    assert STORE == found.keys()
    assert (2, 8) == (found["files"], found["bytes"])
    with open(f"{store}/FORMAT") as file:
        stored = json.load(file)
    assert stored == {name: found[name] for name in ("format", "hash", "id")}
    assert (store, 0, 0) == (found["store"], found["quarantine"], found["temp_files"])
    space = os.statvfs(store)
    assert space.f_blocks * space.f_frsize == found["size_bytes"]
    assert 0 < found["free_bytes"] <= found["size_bytes"]
    assert [{"bucket": "default", **{name: found[name] for name in FIGURES}}] == found["buckets"]
    assert MOMENT.fullmatch(found["oldest"])


def test_stat_beside_a_daemon_sees_uploads_at_once(start_daemon):
    running = start_daemon("--workers", "2")
    for number, content in enumerate(CONTENTS, 1):
        requests.post(running.url, data=content, timeout=TIMEOUT).raise_for_status()
        done = run_filestored("stat", running.store, "--json", "--idle")
        assert (0, "") == (done.returncode, done.stderr)
        assert number == json.loads(done.stdout)["files"]


def test_stat_has_the_times_of_the_oldest_and_the_newest_file(store, figures):
    for content, seconds in ((b"one", 0), (b"three", 86400)):
        os.utime(path_of(store, sha256(content).hexdigest()), (seconds, seconds))
    found = figures(store)
    assert ("1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z") == (found["oldest"], found["newest"])


def test_stat_prints_a_line_for_each_figure(store, capsys):
    assert 0 == main(["stat", store])
    lines = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert ("2", "8", "sha256") == (lines["files"], lines["bytes"], lines["hash"])


def test_stat_of_an_empty_store_has_no_times(tmp_path, figures):
    make_store(str(tmp_path / "empty"), [])
    found = figures(str(tmp_path / "empty"))
    assert (0, 0, None, None) == tuple(found[name] for name in ("files", "bytes", "oldest", "newest"))


def test_stat_counts_leftovers(store, figures):
    os.mkdir(f"{store}/tmp")
    for path in ("tmp/" + "a" * 32, "quarantine/x.01234567", "quarantine/x.01234567.reason"):
        with open(f"{store}/{path}", "wb") as file:
            file.write(b"leftover")
    found = figures(store)
    assert (2, 1, 1) == tuple(found[name] for name in ("files", "temp_files", "quarantine"))


def test_stat_of_a_hash_prints_size_time_and_path(store, figures):
    name = sha256(b"three").hexdigest()
    found = figures(store, name.upper())
    assert {"hash", "bucket", "size", "modified", "path", "quarantine"} == found.keys()
    assert (name, "default", 5, []) == tuple(found[key] for key in ("hash", "bucket", "size", "quarantine"))
    with open(found["path"], "rb") as file:
        assert b"three" == file.read()
    assert MOMENT.fullmatch(found["modified"])


def test_stat_of_a_file_in_quarantine_names_its_path(store, figures, capsys):
    name = sha256(b"three").hexdigest()
    moved = f"{store}/quarantine/{name}.01234567"
    os.link(path_of(store, name), moved)
    assert [moved] == figures(store, name)["quarantine"]
    os.unlink(path_of(store, name))
    assert 1 == main(["stat", store, name])
    output = capsys.readouterr()
    assert (f"in quarantine: {moved}\n", f"filestored: {name} is not stored\n") == (output.out, output.err)


def test_stat_of_a_former_hash_is_that_of_the_current_one(tmp_path, figures, refused):
    path = str(tmp_path / "store")
    make_store(path, CONTENTS, MD5)
    migrate(path, "sha256", NoProgress())
    found = figures(path, md5(b"one").hexdigest())
    assert (sha256(b"one").hexdigest(), 3) == (found["hash"], found["size"])
    assert 2 == figures(path)["format"]
    unknown = md5(b"two").hexdigest()
    assert f"filestored: {unknown} is not stored\n" == refused(path, unknown)


def test_stat_of_buckets_adds_them_up(store, figures, refused):
    bucket = f"{store}/buckets/builds"
    make_store(bucket, [b"seven", b"eleven"])
    found = figures(store)
    assert (4, 19) == (found["files"], found["bytes"])
    assert [("default", 2), ("builds", 2)] == [(each["bucket"], each["files"]) for each in found["buckets"]]
    assert 11 == figures(store, "--bucket", "builds")["bytes"]
    name = sha256(b"seven").hexdigest()
    assert f"filestored: {name} is not stored\n" == refused(store, name)
    assert path_of(bucket, name) == figures(store, name, "--bucket", "builds")["path"]
    assert f"filestored: the store {store} has no bucket other\n" == refused(store, "--bucket", "other")


def test_stat_refuses_what_is_no_store(tmp_path, store, refused):
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "missing", tmp_path, tmp_path / "file"):
        reason = "there is no FORMAT; name the --store of a daemon"
        assert f"filestored: the store {place} cannot be used: {reason}\n" == refused(str(place))
    image_directory.prepare(str(tmp_path / "images"))
    assert f"the store {tmp_path}/images cannot be used" in refused(str(tmp_path / "images"))
    reason = "abc is no hash here: a sha256 digest has 64 hexadecimal digits"
    assert f"filestored: {reason}\n" == refused(store, "abc")


@NEEDS
def test_stat_of_an_object_store(prefix, tmp_path):
    make_object_store(prefix, [b"three"], str(tmp_path))
    done = run_filestored("stat", prefix.url, "--json", environment=prefix.server.environment)
    found = json.loads(done.stdout)
    assert (1, 5, None, None) == tuple(found[name] for name in ("files", "bytes", "free_bytes", "size_bytes"))
    empty = prefix.below("empty").url
    done = run_filestored("stat", empty, environment=prefix.server.environment)
    expected = f"filestored: the object store {empty} cannot be used: there is no FORMAT; "
    assert (1, 1) == (done.returncode, done.stderr.count("\n"))
    assert done.stderr.startswith(expected)
