"""A daemon that starts on a full, read-only or faulty disk: it reads and deletes, and recovers by itself.

strace lets the calls that make names fail, from the first moment of the start until it is ended.
"""

import hashlib
import os
import signal
import time

import pytest
import requests

from tests.daemon_process import TIMEOUT, read, run, until
from tests.images.decodable_images import SAMPLES
from tests.tools import find_tool

RECOVERY_SECONDS = 15.0
CALLS = "linkat,mkdirat,mkdir"
HELLO = b"hello"


def post(daemon, content=HELLO):
    return requests.post(daemon.url, data=content, timeout=TIMEOUT)


def get(daemon, content=HELLO):
    """The status of a GET of this content, or of a wrong answer."""
    answer = requests.get(f"{daemon.url}files/{hashlib.sha256(content).hexdigest()}", timeout=TIMEOUT)
    return answer.status_code if not answer.ok or answer.content == content else "other bytes"


class Images:
    """The image API of a daemon for one account."""

    def __init__(self, daemon):
        answer = requests.get(f"{daemon.url}imageapi/generate-token/anna/", timeout=TIMEOUT)
        self.token = answer.json()["token"]

    def call(self, daemon, method, path, **more):
        return requests.request(
            method, f"{daemon.url}imageapi/token/{self.token}/{path}", timeout=TIMEOUT, **more
        )

    def upload(self, daemon, name):
        files = {"image": (name, SAMPLES["png"])}
        return self.call(daemon, "POST", "upload-image/", files=files)


@pytest.fixture
def images(start_daemon):
    """Make a directory with ``hello``, ``world``, and an image of an account, stored by an ended daemon."""
    daemon = start_daemon("--workers", "1")
    assert [200, 200] == [post(daemon, content).status_code for content in (HELLO, b"world")]
    images = Images(daemon)
    images.identity = images.upload(daemon, "one.png").json()["File ID"]
    daemon.end()
    return images


@pytest.fixture
def start_faulty(start_daemon):
    """A function that starts a daemon whose calls fail, and returns it and a function that ends the fault.

    With a `path`, calls fail that are about it. strace runs as a grandchild (-D), and heeds a signal (-I2).
    """
    traced = []

    def start(error, *options, calls=CALLS, path=""):
        only = ("-P", path) if path else ()
        words = (find_tool("strace"), "-D", "-I2", "-f", "-qq", "-o", os.devnull, *only)
        traced.append(start_daemon(*options, wrap=(*words, "-e", f"inject={calls}:error={error}")))
        return traced[-1], end_fault

    def end_fault():
        while traced:
            pid = traced.pop().pid
            os.kill(_tracer(pid), signal.SIGTERM)
            until(lambda pid=pid: not _tracer(pid), "strace has ended")

    yield start
    end_fault()


def _tracer(pid):
    """The process id of the process that traces this one, 0 for none: proc_pid_status(5)."""
    (line,) = (line for line in read(f"/proc/{pid}/status").splitlines() if "TracerPid" in line)
    return int(line.split()[1])


def wait_for_recovery(daemon, images):
    deadline = time.monotonic() + RECOVERY_SECONDS
    while time.monotonic() < deadline:
        answers = post(daemon, os.urandom(20)), images.upload(daemon, f"{time.monotonic()}.png")
        if all(answer.ok for answer in answers):
            return
        time.sleep(0.1)
    pytest.fail(f"no recovery: {[answer.status_code for answer in answers]}")


@pytest.mark.needs("strace")
@pytest.mark.parametrize(
    ("error", "refused", "health"), [("ENOSPC", 507, 200), ("EROFS", 503, 503), ("EIO", 503, 503)]
)
def test_a_start_on_an_unwritable_disk_serves_reads_and_recovers_without_a_restart(
    images, start_faulty, error, refused, health
):
    daemon, end_fault = start_faulty(error, "--workers", "1")
    assert 200 == get(daemon)
    assert images.call(daemon, "GET", f"get-image/{images.identity}/").ok
    assert health == requests.get(f"{daemon.url}health", timeout=TIMEOUT).status_code
    assert refused == post(daemon, b"new").status_code
    assert refused == images.upload(daemon, "two.png").status_code
    answer = requests.delete(f"{daemon.url}files/{hashlib.sha256(b'world').hexdigest()}", timeout=TIMEOUT)
    assert (200 if error == "ENOSPC" else 503) == answer.status_code
    end_fault()
    wait_for_recovery(daemon, images)
    assert 200 == requests.get(f"{daemon.url}health", timeout=TIMEOUT).status_code


@pytest.mark.needs("strace")
def test_images_are_deleted_and_tokens_refused_on_a_full_disk(images, start_faulty):
    daemon, _ = start_faulty("ENOSPC", "--workers", "1")
    assert 507 == images.call(daemon, "POST", "regenerate-token/").status_code
    assert 507 == requests.get(f"{daemon.url}imageapi/generate-token/bert/", timeout=TIMEOUT).status_code
    assert images.call(daemon, "DELETE", f"delete-image/{images.identity}/").ok
    assert 404 == images.call(daemon, "GET", f"get-image/{images.identity}/").status_code


@pytest.mark.needs("strace")
def test_orphans_that_cannot_be_removed_do_not_prevent_a_start(images, start_faulty, tmp_path):
    orphan = tmp_path / "images" / "blobs" / "00" / ("0" * 64)
    orphan.touch()
    os.utime(orphan, (0, 0))
    daemon, _ = start_faulty("EROFS", "--workers", "1", calls=f"{CALLS},unlinkat,unlink,renameat,rename")
    assert 200 == get(daemon)
    assert images.call(daemon, "GET", f"get-image/{images.identity}/").ok


@pytest.mark.needs("strace")
def test_a_missing_key_on_a_full_disk_is_one_line_that_names_the_directory(images, start_faulty, tmp_path):
    for name in ("accounts", "tokens"):
        os.rename(tmp_path / "images" / name, tmp_path / name)
    os.unlink(tmp_path / "images" / "KEY")
    with pytest.raises(
        AssertionError,
        match=f"{tmp_path}/images cannot be used: No space left on device; free some space and inodes",
    ):
        start_faulty("ENOSPC", "--workers", "2")


@pytest.mark.needs("strace")
def test_workers_that_die_on_a_full_disk_are_replaced_and_read(images, start_faulty):
    daemon, end_fault = start_faulty("ENOSPC", "--workers", "2")
    first = daemon.workers()
    for pid in first:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(daemon.workers()) == 2 and not set(first) & set(daemon.workers()), "new workers")
    assert [200] * 10 == [get(daemon) for _ in range(10)]
    assert 507 == post(daemon, b"new").status_code
    end_fault()
    wait_for_recovery(daemon, images)


@pytest.mark.needs("strace")
def test_missing_shard_fails_only_its_files_until_it_is_created(images, start_faulty, tmp_path):
    shard = hashlib.sha256(b"world").hexdigest()[:2]
    os.rename(tmp_path / "store" / shard, tmp_path / "aside")
    daemon, end_fault = start_faulty("ENOSPC", "--workers", "1")
    assert (200, 500) == (get(daemon), get(daemon, b"world"))
    end_fault()
    until(lambda: os.path.isdir(tmp_path / "store" / shard), "the shard is made anew")
    wait_for_recovery(daemon, images)
    assert (404, 200) == (get(daemon, b"world"), post(daemon, b"world").status_code)


@pytest.mark.needs("strace")
def test_log_that_cannot_be_created_does_not_prevent_a_start(images, start_faulty, tmp_path):
    path = str(tmp_path / "access")
    options = ("--workers", "1", "--access-log", path)
    daemon, end_fault = start_faulty("ENOSPC", *options, calls="openat", path=path)
    assert 200 == get(daemon)
    until(lambda: "the access log cannot be written: No space left on device" in daemon.log, "said")
    end_fault()
    assert 200 == get(daemon)
    until(lambda: "GET /files/" in read(path), "the log is written")


@pytest.mark.needs("strace")
def test_lines_go_to_stderr_until_a_reopen_where_the_log_cannot_be_opened_on_a_full_disk(
    images, start_faulty, tmp_path
):
    path = str(tmp_path / "log")
    daemon, end_fault = start_faulty("ENOSPC", "--workers", "1", calls="openat", path=path)
    assert 200 == get(daemon)
    until(lambda: "listening on" in read(str(tmp_path / "stderr")), "the start is logged")
    end_fault()
    lines = read(path).count("\n")
    daemon.kill(signal.SIGUSR1)
    until(lambda: read(path).count("\n") > lines, "the log is written")


@pytest.mark.needs("strace")
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.slow
def test_a_new_store_on_a_full_disk_is_refused_with_one_line(tmp_path, workers):
    done = run(
        *("-n", "--pidfile", "", "filestored", "--listen", "tcp:0:interface=127.0.0.1"),
        *("--workers", workers, "--store", str(tmp_path / "store")),
        cwd=str(tmp_path),
        wrap=(find_tool("strace"), "-f", "-qq", "-o", os.devnull, "-e", f"inject={CALLS}:error=ENOSPC"),
    )
    assert 1 == done.returncode
    assert done.stderr.splitlines()[-1].endswith(
        "cannot be used: No space left on device; free some space and inodes"
    )
