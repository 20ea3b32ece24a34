"""Several processes on one socket: shared work, sudden deaths, no orphans."""

import hashlib
import os
import signal
import threading

import pytest
import requests

from tests.daemon.running import read, until


def put(daemon, content):
    """Upload and return the digest that was acknowledged."""
    answer = requests.post(daemon.url, data=content, headers={"Content-Type": "a/b"}, timeout=10)
    assert 200 == answer.status_code
    return answer.text


def has_exited(pid):
    return not os.path.exists(f"/proc/{pid}") or ") Z " in read(f"/proc/{pid}/stat")


def test_supervisor_runs_the_configured_number_of_workers(start_daemon):
    daemon = start_daemon("--workers", "3")
    assert 3 == len(daemon.workers())
    assert 3 == len(set(daemon.workers()))


def test_one_worker_is_the_daemon_itself(daemon):
    assert [] == daemon.workers()
    assert hashlib.sha256(b"x").hexdigest() == put(daemon, b"x")


def test_command_lines_contain_no_secret(start_daemon):
    daemon = start_daemon("--workers", "2")
    for pid in daemon.workers():
        assert daemon.store not in read(f"/proc/{pid}/cmdline")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_killed_worker_is_replaced(start_daemon, number):
    daemon = start_daemon("--workers", "2")
    first, second = daemon.workers()
    os.kill(first, number)
    until(lambda: len(daemon.workers()) == 2 and first not in daemon.workers(), "a new worker")
    assert second in daemon.workers()
    until(lambda: f"signal {signal.Signals(number).name}" in daemon.log, "the death is logged")
    assert hashlib.sha256(b"x").hexdigest() == put(daemon, b"x")


class Load:
    """Uploads from several threads until it is told to stop."""

    def __init__(self, daemon, clients):
        self.acknowledged, self.refused = {}, []
        self._daemon, self._stop = daemon, threading.Event()
        self._threads = [threading.Thread(target=self._upload, args=(name,)) for name in range(clients)]
        for thread in self._threads:
            thread.start()

    def _upload(self, name):
        number = 0
        while not self._stop.is_set():
            number += 1
            content = f"{name} {number} ".encode() * 2000
            try:
                self.acknowledged[put(self._daemon, content)] = content
            except requests.exceptions.ConnectionError as error:
                if "refused" in str(error):
                    self.refused.append(error)

    def goes_on(self):
        goal = len(self.acknowledged) + 40
        until(lambda: len(self.acknowledged) >= goal, "uploads go on")

    def end(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def stored(daemon):
    """Name and bytes of every file in the store."""
    shards = [name for name in os.listdir(daemon.store) if len(name) == 2]
    for path in [os.path.join(daemon.store, shard) for shard in shards]:
        for name in os.listdir(path):
            with open(os.path.join(path, name), "rb") as file:
                yield name, file.read()


def test_killing_workers_under_load_loses_nothing_and_never_closes_the_port(start_daemon):
    """The heart of it: kill -9 at random, and whatever was acknowledged is there, whole."""
    daemon = start_daemon("--workers", "2")
    load = Load(daemon, 4)
    try:
        for _ in range(4):
            load.goes_on()
            victim = daemon.workers()[0]
            os.kill(victim, signal.SIGKILL)
            until(lambda victim=victim: victim not in daemon.workers(), "the worker is buried")
            until(lambda: len(daemon.workers()) == 2, "the worker is replaced")
    finally:
        load.end()
    assert [] == load.refused
    assert len(load.acknowledged) > 100
    for digest, content in load.acknowledged.items():
        assert content == requests.get(f"{daemon.url}files/{digest}", timeout=10).content
    assert [] == [name for name, content in stored(daemon) if name != hashlib.sha256(content).hexdigest()]


def test_workers_exit_when_the_supervisor_is_killed(start_daemon):
    daemon = start_daemon("--workers", "2")
    workers = daemon.workers()
    daemon.kill(signal.SIGKILL)
    daemon.process.wait()
    until(lambda: all(has_exited(pid) for pid in workers), "the workers have has_exited too")


def test_worker_that_cannot_start_is_restarted_with_delays(start_daemon):
    daemon = start_daemon("--workers", "2")
    os.rename(os.path.join(daemon.store, "FORMAT"), os.path.join(daemon.directory, "FORMAT"))
    os.kill(daemon.workers()[0], signal.SIGKILL)
    until(lambda: "starts in 1 s" in daemon.log, "the supervisor waits before the next try")
    os.rename(os.path.join(daemon.directory, "FORMAT"), os.path.join(daemon.store, "FORMAT"))
    until(lambda: len(daemon.workers()) == 2, "the worker is back")
    assert hashlib.sha256(b"x").hexdigest() == put(daemon, b"x")


def test_workers_share_the_requests(start_daemon, tmp_path):
    daemon = start_daemon("--workers", "2", "--access-log", "-")

    def both_have_answered():
        requests.get(daemon.url + "nothing", timeout=10)
        lines = [line for line in daemon.log.splitlines() if " access | " in line]
        return 2 == len({line.split(" | ")[2].split()[0] for line in lines})

    until(both_have_answered, "each worker has answered a request")
