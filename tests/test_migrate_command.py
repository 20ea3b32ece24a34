"""``filestored migrate``, as an operator runs it, beside a real daemon."""

import os
import pty
import re
import subprocess
from hashlib import md5, sha256

import pytest
import requests

from tests.command_line import run_filestored
from tests.daemon_process import TIMEOUT

HELLO = b"hello"


@pytest.fixture
def store(start_daemon):
    """The store of a daemon that has taken a file, and has ended."""
    running = start_daemon("--workers", "1", "--hash", "md5")
    assert requests.post(running.url, data=HELLO, timeout=TIMEOUT).text == md5(HELLO).hexdigest()
    running.end()
    return running.store


def test_migrated_store_serves_new_and_former_hashes(store, start_daemon):
    done = run_filestored("migrate", store, "--to", "sha256")
    assert (0, "") == (done.returncode, done.stderr)
    assert re.fullmatch(
        rf"{store}: all files are named by sha256; 1 have been renamed, after \d+\.\d s\n", done.stdout
    )
    running = start_daemon("--workers", "2")
    for name in (md5(HELLO).hexdigest(), sha256(HELLO).hexdigest()):
        assert HELLO == requests.get(f"{running.url}files/{name}", timeout=TIMEOUT).content
    assert sha256(b"new").hexdigest() == requests.post(running.url, data=b"new", timeout=TIMEOUT).text


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_store_that_is_served_is_refused_with_one_line(start_daemon, workers):
    running = start_daemon("--workers", workers, "--hash", "md5")
    requests.post(running.url, data=HELLO, timeout=TIMEOUT)
    done = run_filestored("migrate", running.store, "--to", "sha256")
    reason = "a daemon serves it, or another migration is at work; stop that first"
    expected = f"filestored: the store {running.store} cannot be used: {reason}\n"
    assert (1, "", expected) == (done.returncode, done.stdout, done.stderr)
    assert HELLO == requests.get(f"{running.url}files/{md5(HELLO).hexdigest()}", timeout=TIMEOUT).content


def test_corrupt_file_is_named_and_exit_status_is_3(store):
    name = md5(HELLO).hexdigest()
    path = f"{store}/{name[:2]}/{name}"
    os.chmod(path, 0o600)
    with open(path, "wb") as file:
        file.write(b"jello")
    done = run_filestored("migrate", store, "--to", "sha256")
    expected = f"filestored: {name} is corrupt; it is in quarantine, and has no other name\n"
    assert (3, expected) == (done.returncode, done.stderr)
    assert 0 == run_filestored("migrate", store, "--to", "sha256").returncode


@pytest.mark.needs("strace")
def test_unreadable_file_is_named_and_others_are_migrated(store, start_daemon):
    running = start_daemon("--workers", "1")
    other = requests.post(running.url, data=b"other", timeout=TIMEOUT).text
    running.end()
    name = md5(HELLO).hexdigest()
    words = ("strace", "-f", "-qq", "-o", os.devnull, "-P", f"{store}/{name[:2]}/{name}")
    done = run_filestored("migrate", store, "--to", "sha256", wrap=(*words, "-e", "inject=pread64:error=EIO"))
    complaint = f"filestored: {name} cannot be read; it keeps its former name\n"
    assert (3, complaint) == (done.returncode, done.stderr)
    running = start_daemon("--workers", "1")
    assert b"other" == requests.get(f"{running.url}files/{other}", timeout=TIMEOUT).content
    assert HELLO == requests.get(f"{running.url}files/{name}", timeout=TIMEOUT).content
    assert sha256(HELLO).hexdigest() == requests.post(running.url, data=HELLO, timeout=TIMEOUT).text


@pytest.mark.needs("strace")
def test_a_migration_ended_by_a_full_disk_is_undone_and_a_daemon_deletes(store, start_daemon):
    fault = ("strace", "-f", "-qq", "-o", os.devnull, "-e", "inject=linkat:error=ENOSPC:when=2+")
    done = run_filestored("migrate", store, "--to", "sha256", wrap=fault)
    assert (1, 1) == (done.returncode, done.stderr.count("\n"))
    assert done.stderr.endswith("No space left on device; free some space and inodes\n")
    with pytest.raises(AssertionError, match="its migration is unfinished"):
        start_daemon()
    done = run_filestored("migrate", store, "--abandon")
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout == f"{store}: all files are named by md5, as before the migration\n"
    done = run_filestored("migrate", store, "--abandon")
    assert (1, "") == (done.returncode, done.stdout)
    assert "there is no unfinished migration; the files are named by md5" in done.stderr
    running = start_daemon("--workers", "1")
    address = f"{running.url}files/{md5(HELLO).hexdigest()}"
    assert HELLO == requests.get(address, timeout=TIMEOUT).content
    assert 200 == requests.delete(address, timeout=TIMEOUT).status_code
    assert [] == [name for _, _, names in os.walk(store) for name in names if name != "FORMAT"]


def test_daemon_refuses_a_store_with_an_unfinished_migration(store, start_daemon):
    with open(store + "/FORMAT") as file:
        text = file.read()
    os.unlink(store + "/FORMAT")
    with open(store + "/FORMAT", "w") as file:
        file.write(text.replace('"format": 1', '"format": 2, "moving_to": "sha256"'))
    words = "finish it with filestored migrate STORE --to sha256, or undo it with --abandon"
    with pytest.raises(AssertionError, match=f"its migration is unfinished; {words}"):
        start_daemon()


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (("migrate", "/nonexistent", "--to", "sha256"), 1, "No such file or directory"),
        (("migrate", "/nonexistent", "--to", "crc32"), 2, "invalid choice: 'crc32'"),
        (("migrate", "/nonexistent"), 2, "--to"),
        (("migrate", "/nonexistent", "--to", "sha256", "--abandon"), 2, "not allowed with argument"),
        (("migrate", "/nonexistent", "--abandon"), 1, "No such file or directory"),
        (("migrate",), 2, "STORE"),
        ((), 2, "COMMAND"),
        (("polish",), 2, "polish"),
    ],
)
@pytest.mark.slow
def test_invalid_arguments_are_refused(words, status, complaint):
    done = run_filestored(*words)
    assert (status, "", True) == (done.returncode, done.stdout, complaint in done.stderr)
    assert status == 2 or done.stderr.count("\n") == 1


def test_progress_bar_is_drawn_on_a_terminal(store):
    ours, theirs = pty.openpty()
    try:
        done = run_filestored(
            "migrate", store, "--to", "sha256", capture_output=False, stdout=subprocess.PIPE, stderr=theirs
        )
        drawn = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert (0, True) == (done.returncode, "1/1" in drawn)


def test_version_is_printed():
    assert run_filestored("--version").stdout.startswith("filestored ")


def test_a_store_in_an_object_store_is_refused():
    done = run_filestored("migrate", "s3://bucket/files", "--to", "sha256")
    assert (2, "") == (done.returncode, done.stdout)
    assert "'s3://bucket/files' is not a directory; copy the object store into one first\n" in done.stderr
