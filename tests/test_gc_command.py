"""``filestored gc``, as an operator runs it: leftovers are removed, stored files are not."""

import fcntl
import os
import re
import time

import pytest
import requests

from filestored.cli import main
from tests.access.wire.access_files import RIGHTS, Bucket, access_text, write_access
from tests.access.wire.clients import access_path
from tests.command_line import run_filestored
from tests.daemon_process import TIMEOUT
from tests.seaweedfs import NEEDS
from tests.storage.maintenance.stores import make_object_store, make_store, path_of

DAY = 86400
TEMP_NAME = "0123456789abcdef" * 2
CONTENTS = [b"one", b"three", b"seven"]
EXPIRING = access_text(
    Bucket("builds", RIGHTS, ['expire = "30 days"', "max_files = 3"]), Bucket("default", RIGHTS)
)


def tree(path: str) -> set[str]:
    """Return all files below a directory."""
    found = {os.path.join(place, name) for place, _, names in os.walk(path) for name in names}
    return {each for each in found if not each.endswith(("/usage", "/usage.lock", "/.expiry"))}


def write(path: str, content: bytes = b"leftover", age: float = 0.0) -> str:
    """Write a file with a time so many seconds ago; return its path."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.fixture
def store(tmp_path):
    """A store with three files, and as many in the bucket builds."""
    path = str(tmp_path / "store")
    make_store(path, CONTENTS)
    make_store(f"{path}/buckets/builds", CONTENTS)
    return path


@pytest.fixture
def gc(capsys):
    """A function that runs the command in this process, and returns the paths that it prints."""

    def run(*words):
        assert 0 == main(["gc", *words])
        output = capsys.readouterr()
        assert "" == output.err
        *paths, last = output.out.splitlines()
        word = "would be removed" if "--dry-run" in words else "removed"
        noun = "file" if len(paths) == 1 else "files"
        assert re.fullmatch(f"{len(paths)} {noun} of [0-9]+ bytes? {word}", last)
        return sorted(paths)

    return run


def removed(store: str, gc, *words: str) -> set[str]:
    """Run the command dry, then really; return what it removes, which both have to print."""
    before = tree(store)
    announced = gc(store, *words, "--dry-run")
    assert before == tree(store)
    assert announced == gc(store, *words)
    assert {*announced} <= before - tree(store)
    assert [] == gc(store, *words)
    return before - tree(store)


def test_gc_of_a_store_without_leftovers_removes_nothing(store, gc):
    assert set() == removed(store, gc, "--quarantine-older-than", "1s")


def test_gc_removes_temp_files_of_ended_processes_in_all_buckets(store, gc):
    left = {write(f"{place}/tmp/{TEMP_NAME}") for place in (store, f"{store}/buckets/builds")}
    write(f"{store}/tmp/notes")
    with open(write(f"{store}/tmp/{'f' * 32}"), "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert left == removed(store, gc)
    assert {f"{store}/tmp/{'f' * 32}"} == removed(store, gc)


def test_gc_counts_the_bytes(store, capsys):
    for number in range(3):
        write(f"{store}/tmp/{number}{TEMP_NAME[1:]}", b"x" * 10)
    assert 0 == main(["gc", store])
    assert capsys.readouterr().out.endswith("3 files of 30 bytes removed\n")


def test_gc_leaves_quarantine_unless_it_is_asked_to(store, gc):
    write(f"{store}/quarantine/{'0' * 64}.01234567", age=100 * DAY)
    assert set() == removed(store, gc)


def test_gc_prints_any_name_in_one_line(store, gc, monkeypatch):
    for name in (b"line\nend", b"\x1b[2J", b"\xff", "\u202e".encode()):
        with open(os.fsencode(store) + b"/quarantine/" + name, "wb"):
            pass
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2 * DAY)
    expected = ["\\x1b[2J", "\\xe2\\x80\\xae", "\\xff", "line\\x0aend"]
    assert [f"{store}/quarantine/{name}" for name in expected] == gc(store, "--quarantine-older-than", "1d")
    assert [] == os.listdir(f"{store}/quarantine")


def test_gc_removes_old_quarantine_with_its_reasons(store, gc, monkeypatch):
    names = [
        f"{store}/quarantine/{'0' * 64}.01234567",
        f"{store}/buckets/builds/quarantine/{'1' * 64}.89abcdef",
    ]
    for name in names:
        write(name)
        write(f"{name}.reason")
    lone = write(f"{store}/quarantine/{'2' * 64}.01234567.reason")  # a crash came before the move
    assert set() == removed(store, gc, "--quarantine-older-than", "1d")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2 * DAY)
    expected = {*names, *(f"{name}.reason" for name in names), lone}
    before = tree(store)
    assert 3 == len(gc(store, "--quarantine-older-than", "1d", "--dry-run"))
    assert 3 == len(gc(store, "--quarantine-older-than", "1d"))
    assert expected == before - tree(store)


def test_gc_removes_expired_files_of_the_buckets_that_have_an_expiry(store, gc, tmp_path):
    access = write_access(access_path(str(tmp_path)), EXPIRING)
    names = [name for _, _, files in os.walk(f"{store}/buckets/builds") for name in files if len(name) == 64]
    old, young = path_of(f"{store}/buckets/builds", names[0]), path_of(f"{store}/buckets/builds", names[1])
    for path, days in ((old, 31), (young, 29), (path_of(store, names[0]), 1000)):
        os.utime(path, (time.time() - days * DAY,) * 2)
    assert set() == removed(store, gc)
    assert {old} == removed(store, gc, "--access", access)


def test_gc_refuses_what_is_no_store_and_no_access_file(store, tmp_path):
    missing = str(tmp_path / "missing")
    for words in ((missing,), (store, "--access", missing)):
        done = run_filestored("gc", *words)
        assert (1, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    done = run_filestored("gc", store, "--quarantine-older-than", "soon")
    assert 2 == done.returncode
    assert "'soon' is not a duration" in done.stderr


@pytest.mark.needs("strace")
def test_gc_names_a_file_that_cannot_be_removed_and_removes_the_others(store):
    for number in range(3):
        write(f"{store}/tmp/{number}{TEMP_NAME[1:]}")
    words = ("strace", "-f", "-qq", "-o", os.devnull, "-e", "inject=unlinkat:error=EACCES:when=2")
    done = run_filestored("gc", store, wrap=words)
    assert (1, 1) == (done.returncode, done.stderr.count("\n"))
    assert done.stderr.endswith(" cannot be removed: Permission denied\n")
    assert (2 + 1, 1) == (done.stdout.count("\n"), len(os.listdir(f"{store}/tmp")))


def test_gc_beside_a_daemon_keeps_usage_exact_and_uploads_in_flight(start_daemon, store, tmp_path):
    access = write_access(access_path(str(tmp_path)), EXPIRING)
    running = start_daemon("--workers", "2", "--access", access)
    assert store == running.store
    url = f"{running.url}buckets/builds/"
    assert 507 == requests.post(url, data=b"too many", timeout=TIMEOUT).status_code
    bucket = f"{store}/buckets/builds"
    (old, *_) = sorted(name for _, _, files in os.walk(bucket) for name in files if len(name) == 64)
    os.utime(path_of(bucket, old), (time.time() - 31 * DAY,) * 2)
    with running.connect() as peer:
        peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + bytes(200000))
        done = run_filestored("gc", store, "--access", access)
        assert (0, "") == (done.returncode, done.stderr)
        assert done.stdout.startswith(f"{path_of(bucket, old)}\n1 file of ")
        peer.sendall(bytes(100000))
        assert peer.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert 2 == requests.get(f"{url}usage", timeout=TIMEOUT).json()["files"]
    statuses = [requests.post(url, data=b"%d" % n, timeout=TIMEOUT).status_code for n in range(2)]
    assert [200, 507] == statuses


@NEEDS
def test_gc_of_an_object_store(prefix, tmp_path):
    environment = prefix.server.environment
    make_object_store(prefix, [b"one"], str(tmp_path))
    for name in ("quarantine/one.01234567", "quarantine/one.01234567.reason", "tmp/probe-new", "notes"):
        prefix.write(name, b"x")
    before = prefix.names()
    done = run_filestored("gc", prefix.url, environment=environment)
    assert (0, "", "0 files of 0 bytes removed\n") == (done.returncode, done.stderr, done.stdout)
    assert before == prefix.names()
    time.sleep(1.1)  # the service keeps whole seconds
    words = ("gc", prefix.url, "--quarantine-older-than", "1s")
    done = run_filestored(*words, environment=environment)
    expected = f"{prefix.url}/quarantine/one.01234567\n1 file of 1 byte removed\n"
    assert (0, "", expected) == (done.returncode, done.stderr, done.stdout)
    assert [name for name in before if "quarantine" not in name] == prefix.names()
