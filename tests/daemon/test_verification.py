"""Verification in the background of real daemons: findings, continuation, ends with the daemon."""

import os
import signal

import requests

from filestored.digest import algorithm
from tests.daemon_process import TIMEOUT, children, read, start, until
from tests.monitoring_client import ENDPOINT, ask, monitor_port, scrape
from tests.seaweedfs import NEEDS
from tests.storage.contract import put
from tests.storage.object_stores import dropped, open_backend, seaweedfs_client
from tests.test_verify_command import begun_pass, flip, make_store

CONTENT = b"a small file"


def verifying(daemon):
    """Return the children that verify."""
    return [pid for pid in children(daemon.pid) if "verification.child" in read(f"/proc/{pid}/cmdline")]


def test_corrupt_file_is_logged_moved_and_healed(start_daemon):
    daemon = start_daemon("--workers", "2", "--verify-every", "30d", "--metrics", ENDPOINT)
    digest = requests.post(daemon.url, data=CONTENT, timeout=TIMEOUT).text
    flip(daemon.store, digest)
    until(
        lambda: f"{daemon.store} is verified: 1 file, 1 corrupt, 0 unreadable" in daemon.log, "it has ended"
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


def test_verification_continues_after_a_kill_and_after_a_stop_of_the_daemon(start_daemon, tmp_path):
    store = str(tmp_path / "store")
    names = sorted(make_store(store, 1500))
    flip(store, names[3])
    options = ("--workers", "1", "--verify-every", "1d", "--verify-rate")
    daemon = start_daemon(*options, "100KiB/s")
    until(lambda: (found := begun_pass(store)) and found.corrupt.count, "the first file was found")
    (child,) = verifying(daemon)
    assert os.SCHED_IDLE == os.sched_getscheduler(child)
    daemon.kill(signal.SIGKILL)
    daemon.process.wait()
    until(lambda: not os.path.exists(f"/proc/{child}"), "the child has ended with the daemon")
    first = begun_pass(store).files
    assert 3 < first < 1500
    daemon = start_daemon(*options, "100KiB/s", "--metrics", ENDPOINT)
    until(lambda: verifying(daemon), "a child has started")
    (child,) = verifying(daemon)
    until(lambda: f"the verification of {store} is continued" in daemon.log, "it continues")
    assert f"corrupt: {names[3]}\n" in ask(monitor_port(daemon), "/readyz").body.decode()
    daemon.end()
    assert not os.path.exists(f"/proc/{child}")
    assert first <= begun_pass(store).files < 1500
    daemon = start_daemon(*options, "100MiB/s")
    until(lambda: "store is verified: 1500 files, 1 corrupt" in daemon.log, "it has ended")
    assert 1 == daemon.log.count(f"{store} begins")


@NEEDS
def test_one_of_two_daemons_on_an_object_store_verifies(prefix, tmp_path):
    started, own = [], algorithm("sha256")
    with dropped(seaweedfs_client(prefix)) as client:
        backend = open_backend(client, own, str(tmp_path))
        for number in range(200):
            put(backend, b"%d" % number, own.digest(b"%d" % number))
    words = ("--workers", "1", "--store", prefix.url, "--verify-every", "1d", "--verify-rate", "10KiB/s")
    try:
        daemons = [
            start(str(tmp_path / name), started, *words, environment=prefix.server.environment)
            for name in ("one", "two")
        ]
        begun = f"the verification of {prefix.url} begins"
        refused = f"no verification: another process verifies {prefix.url}"
        until(lambda: all(begun in each.log or refused in each.log for each in daemons), "both have tried")
        assert 1 == sum(begun in each.log for each in daemons)
    finally:
        for each in started:
            each.end()
