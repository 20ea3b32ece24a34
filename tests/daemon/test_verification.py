"""Verification in the background of real daemons: findings, continuation, ends with the daemon."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict

import requests

from filestored.daemon.verification.process import CHILD_MODULE
from filestored.daemon.verification.task import Task
from tests.command_line import run_filestored
from tests.daemon_process import ROOT, TIMEOUT, children, read, until
from tests.monitoring_client import ENDPOINT, ask, monitor_port, scrape
from tests.test_verify_command import begun_pass, flip, make_store, path_of

CONTENT = b"a small file"


def verifying(daemon):
    """Return the children that verify."""
    return [pid for pid in children(daemon.pid) if "verification.child" in read(f"/proc/{pid}/cmdline")]


def test_corrupt_file_is_logged_moved_and_healed(start_daemon):
    daemon = start_daemon("--workers", "2", "--verify-every", "30d", "--metrics", ENDPOINT)
    digest = requests.post(daemon.url, data=CONTENT, timeout=TIMEOUT).text
    flip(daemon.store, digest)
    until(
        lambda: f"{daemon.store} is verified: 1 files, 1 corrupt, 0 unreadable" in daemon.log, "it has ended"
    )
    assert f"{digest} is corrupt: its bytes do not have the sha256 of its name" in daemon.log
    until(lambda: f"{daemon.directory}/images is verified: 0 files" in daemon.log, "images are verified, too")
    port = monitor_port(daemon)
    values = scrape(port)
    assert (1, 1, 1) == tuple(
        values[f"verify_{name}",] for name in ("files_total", "corrupt_files_total", "last_corrupt_files")
    )
    answer = ask(port, "/readyz")
    assert (200, True) == (answer.status, f"corrupt: {digest}\n" in answer.body.decode())
    address = f"{daemon.url}files/{digest}"
    assert 404 == requests.get(address, timeout=TIMEOUT).status_code
    assert digest == requests.post(daemon.url, data=CONTENT, timeout=TIMEOUT).text
    assert CONTENT == requests.get(address, timeout=TIMEOUT).content
    until(lambda: not verifying(daemon), "the child has ended")


def test_restarted_daemon_continues_and_does_not_begin_anew(start_daemon, tmp_path):
    store = str(tmp_path / "store")
    names = sorted(make_store(store, 1500))
    flip(store, names[3])
    options = ("--workers", "1", "--verify-every", "1d", "--verify-rate")
    daemon = start_daemon(*options, "100KiB/s")
    until(lambda: (found := begun_pass(store)) and found.corrupt.count, "the first file was found")
    (child,) = verifying(daemon)
    assert os.SCHED_IDLE == os.sched_getscheduler(child)
    daemon.end()
    assert not os.path.exists(f"/proc/{child}")
    begun = begun_pass(store)
    assert 3 < begun.files < 1500
    daemon = start_daemon(*options, "100MiB/s")
    until(lambda: "store is verified: 1500 files, 1 corrupt" in daemon.log, "it has ended")
    assert f"the verification of {store} is continued" in daemon.log
    daemon.end()
    daemon = start_daemon(*options, "100MiB/s")
    until(lambda: verifying(daemon), "a child looks when it is due")
    until(lambda: not verifying(daemon), "it is not due")
    assert 1 == daemon.log.count("is continued")
    assert 1 == daemon.log.count(f"{store} begins")


def test_child_ends_with_a_daemon_that_is_killed(start_daemon, tmp_path):
    store = str(tmp_path / "store")
    make_store(store, 1500)
    daemon = start_daemon("--workers", "1", "--verify-every", "1d", "--verify-rate", "100KiB/s")
    until(lambda: begun_pass(store), "it has begun")
    (child,) = verifying(daemon)
    daemon.kill(signal.SIGKILL)
    daemon.process.wait()
    until(lambda: not os.path.exists(f"/proc/{child}"), "the child has ended")
    assert begun_pass(store)


def test_corrupt_files_of_the_last_pass_count_until_they_are_uploaded_again(tmp_path):
    store = str(tmp_path / "store")
    names = make_store(store, 3)
    contents = {name: bytes_of(path_of(store, name)) for name in names}
    for name in names[:2]:
        flip(store, name)
    assert 3 == run_filestored("verify", store).returncode
    assert (2, {*names[:2]}) == corrupt_files(store)
    for name, still_corrupt in zip(names, ({names[1]}, set()), strict=False):
        with open(path_of(store, name), "wb") as file:
            file.write(contents[name])
        assert (len(still_corrupt), still_corrupt) == corrupt_files(store)


def bytes_of(path):
    with open(path, "rb") as file:
        return file.read()


def corrupt_files(store):
    """Return the number and the names of corrupt files that a child reports which is not due."""
    task = Task(store, every=86_400.0, rate=1 << 20, timeout=10.0)
    done = subprocess.run(
        [sys.executable, "-m", CHILD_MODULE],
        cwd=ROOT,
        input=json.dumps(asdict(task)) + "\n",
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    state = json.loads(done.stdout)
    return state["corrupt"], set(state["corrupt_files"])
