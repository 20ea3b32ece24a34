"""``filestored stat``, as an operator runs it, beside a daemon and without one."""

import json
import os
import re
from hashlib import md5, sha256

import pytest
import requests

from tests.access.wire.access_files import RIGHTS, Bucket, access_text, write_access
from tests.command_line import run_filestored
from tests.daemon_process import TIMEOUT
from tests.seaweedfs import NEEDS

FIGURES = {"files", "bytes", "oldest", "newest", "quarantine", "temp_files"}
STORE = {"store", "format", "hash", "id", *FIGURES, "free_bytes", "size_bytes", "buckets"}
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def figures(store, *words):
    """Return what the command prints as JSON."""
    done = run_filestored("stat", str(store), *words, "--json")
    assert (0, "", 1) == (done.returncode, done.stderr, done.stdout.count("\n"))
    return json.loads(done.stdout)


def one_line(store, *words):
    """Return the line on stderr of a command that fails."""
    done = run_filestored("stat", str(store), *words)
    assert (1, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n")), done.stderr
    return done.stderr


@pytest.fixture
def running(start_daemon):
    """A daemon with two workers and files of two sizes."""
    running = start_daemon("--workers", "2")
    for content in (b"one", b"three"):
        requests.post(running.url, data=content, timeout=TIMEOUT).raise_for_status()
    return running


@pytest.mark.parametrize("words", [(), ("--idle",)])
def test_stat_counts_files_and_bytes_beside_a_daemon(running, words):
    found = figures(running.store, *words)
    assert STORE == found.keys()
    assert (2, 8) == (found["files"], found["bytes"])
    with open(f"{running.store}/FORMAT") as file:
        stored = json.load(file)
    assert stored == {name: found[name] for name in ("format", "hash", "id")}
    assert (running.store, 0, 0) == (found["store"], found["quarantine"], found["temp_files"])
    space = os.statvfs(running.store)
    assert space.f_blocks * space.f_frsize == found["size_bytes"]
    assert 0 < found["free_bytes"] <= found["size_bytes"]
    assert [{"bucket": "default", **{name: found[name] for name in FIGURES}}] == found["buckets"]
    assert MOMENT.fullmatch(found["oldest"])


def test_stat_has_the_times_of_the_oldest_and_the_newest_file(running):
    for content, seconds in ((b"one", 0), (b"three", 86400)):
        name = sha256(content).hexdigest()
        os.utime(f"{running.store}/{name[:2]}/{name}", (seconds, seconds))
    found = figures(running.store)
    assert ("1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z") == (found["oldest"], found["newest"])


def test_stat_prints_a_line_for_each_figure(running):
    done = run_filestored("stat", running.store)
    assert (0, "") == (done.returncode, done.stderr)
    lines = dict(line.split(": ") for line in done.stdout.splitlines())
    assert ("2", "8", "sha256") == (lines["files"], lines["bytes"], lines["hash"])


def test_stat_of_an_empty_store_has_no_times(start_daemon):
    found = figures(start_daemon("--workers", "1").store)
    assert (0, 0, None, None) == tuple(found[name] for name in ("files", "bytes", "oldest", "newest"))


def test_stat_of_a_hash_prints_size_time_and_path(running):
    name = sha256(b"three").hexdigest()
    found = figures(running.store, name.upper())
    assert {"hash", "bucket", "size", "modified", "path", "quarantine"} == found.keys()
    assert (name, "default", 5, []) == tuple(found[key] for key in ("hash", "bucket", "size", "quarantine"))
    with open(found["path"], "rb") as file:
        assert b"three" == file.read()
    assert MOMENT.fullmatch(found["modified"])


def test_stat_of_a_healed_file_also_names_its_quarantine(running):
    name = sha256(b"three").hexdigest()
    path = f"{running.store}/{name[:2]}/{name}"
    os.chmod(path, 0o600)
    with open(path, "wb") as file:
        file.write(b"thref")
    requests.post(running.url, data=b"three", timeout=TIMEOUT).raise_for_status()
    found = figures(running.store, name)
    (moved,) = found["quarantine"]
    assert moved.startswith(f"{running.store}/quarantine/{name}.")
    assert 1 == figures(running.store)["quarantine"]
    os.unlink(path)
    done = run_filestored("stat", running.store, name)
    assert (1, f"in quarantine: {moved}\n") == (done.returncode, done.stdout)
    assert f"filestored: {name} is not stored\n" == done.stderr


def test_stat_of_a_former_hash_is_that_of_the_current_one(start_daemon):
    running = start_daemon("--workers", "1", "--hash", "md5")
    requests.post(running.url, data=b"one", timeout=TIMEOUT).raise_for_status()
    running.end()
    assert 0 == run_filestored("migrate", running.store, "--to", "sha256").returncode
    found = figures(running.store, md5(b"one").hexdigest())
    assert (sha256(b"one").hexdigest(), 3) == (found["hash"], found["size"])
    assert 2 == figures(running.store)["format"]
    unknown = md5(b"two").hexdigest()
    assert f"filestored: {unknown} is not stored\n" == one_line(running.store, unknown)


def test_stat_of_buckets_adds_them_up(start_daemon, tmp_path):
    text = access_text(Bucket("builds", RIGHTS), Bucket("default", RIGHTS))
    running = start_daemon("--workers", "1", "--access", write_access(str(tmp_path / "access.toml"), text))
    for path, content in (("", b"one"), ("buckets/builds/", b"three"), ("buckets/builds/", b"seven")):
        requests.post(running.url + path, data=content, timeout=TIMEOUT).raise_for_status()
    found = figures(running.store)
    assert (3, 13) == (found["files"], found["bytes"])
    assert [("default", 1), ("builds", 2)] == [(each["bucket"], each["files"]) for each in found["buckets"]]
    assert (2, 10) == tuple(figures(running.store, "--bucket", "builds")[name] for name in ("files", "bytes"))
    name = sha256(b"seven").hexdigest()
    assert f"filestored: {name} is not stored\n" == one_line(running.store, name)
    assert (
        f"{running.store}/buckets/builds/{name[:2]}/{name}"
        == figures(running.store, name, "--bucket", "builds")["path"]
    )
    assert one_line(running.store, "--bucket", "other").endswith(" has no bucket other\n")


def test_stat_refuses_what_is_no_store_in_one_line(tmp_path, running):
    file = tmp_path / "file"
    file.write_text("x")
    for place in (tmp_path / "missing", tmp_path, file):
        expected = f"filestored: the store {place} cannot be used: there is no FORMAT file; "
        assert one_line(place).startswith(expected)
    assert os.listdir(tmp_path / "images")
    assert "the store" in one_line(tmp_path / "images")
    assert one_line(running.store, "abc").endswith(
        "abc is no hash here: a sha256 digest has 64 hexadecimal digits\n"
    )


@NEEDS
def test_stat_of_an_object_store(start_daemon, prefix):
    running = start_daemon("--workers", "1", "--store", prefix.url, environment=prefix.server.environment)
    requests.post(running.url, data=b"three", timeout=TIMEOUT).raise_for_status()
    running.end()
    done = run_filestored("stat", prefix.url, "--json", environment=prefix.server.environment)
    found = json.loads(done.stdout)
    assert (1, 5, None, None) == tuple(found[name] for name in ("files", "bytes", "free_bytes", "size_bytes"))
    empty = prefix.below("empty").url
    done = run_filestored("stat", empty, environment=prefix.server.environment)
    expected = f"filestored: the object store {empty} cannot be used: there is no FORMAT object; "
    assert (1, 1) == (done.returncode, done.stderr.count("\n"))
    assert done.stderr.startswith(expected)
