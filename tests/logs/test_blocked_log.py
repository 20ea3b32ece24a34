"""Logs that take no lines: the service goes on, lines are dropped and counted."""

import contextlib
import os
import signal
import threading

import pytest
import requests

from tests.daemon.fault_injection import injected
from tests.daemon_process import TIMEOUT, read, until

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])
LONG = "x" * 4000
ENOUGH = 650
"""Requests whose lines of 4 KB are more than all buffers of a worker or its supervisor hold."""


def ask(daemon, number):
    """Send so many requests with long lines for the log on one connection; all must be answered."""
    with daemon.connect() as connection:
        answers = connection.makefile("rb")
        for _ in range(0, number, 10):
            connection.sendall(f"GET /nothing/{LONG} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 10)
            for _ in range(10):
                assert read_answer(answers).startswith(b"HTTP/1.1 404 ")


def read_answer(file):
    """Read one answer; return its status line."""
    status = file.readline()
    length = 0
    while (line := file.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    file.read(length)
    return status


@pytest.fixture
def pipe():
    """A pipe: the descriptors for reading and writing."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def with_stderr(descriptor):
    """Options of `start` for a daemon whose stderr is this descriptor."""
    return {
        "wrap": ("bash", "-c", f'exec "$@" 2>&{descriptor}', "bash"),
        "inherit": (descriptor,),
        "log": False,
    }


class Reader:
    """Reads a descriptor to its end, in a thread."""

    def __init__(self, descriptor):
        self.data = b""
        self._descriptor = descriptor
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self):
        while data := os.read(self._descriptor, 65536):
            self.data += data

    def end(self):
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()


@WORKERS
def test_a_pipe_as_stderr_that_is_not_read_stops_no_request(start_daemon, pipe, workers):
    reading, writing = pipe
    daemon = start_daemon("--workers", workers, "--access-log", "-", **with_stderr(writing))
    ask(daemon, ENOUGH)
    reader = Reader(reading)
    until(lambda: b"lines of the log were dropped" in reader.data, "the dropped lines are counted")
    requests.get(daemon.url + "after", timeout=10)
    until(lambda: b"GET /after " in reader.data, "the log goes on")
    daemon.end()
    os.close(writing)
    reader.end()
    assert b"all requests have ended" in reader.data


@WORKERS
def test_a_daemon_whose_log_is_not_read_can_be_stopped(start_daemon, pipe, workers):
    _, writing = pipe
    daemon = start_daemon("--workers", workers, "--access-log", "-", **with_stderr(writing))
    ask(daemon, 50)
    daemon.kill(signal.SIGHUP)
    ask(daemon, 50)
    daemon.kill(signal.SIGTERM)
    until(daemon.ended, "it ends")
    assert -signal.SIGTERM == daemon.process.wait()


def test_a_stopped_supervisor_does_not_stop_its_workers(start_daemon):
    daemon = start_daemon("--workers", "2", "--access-log", "-")
    workers = daemon.workers()
    daemon.kill(signal.SIGSTOP)
    try:
        ask(daemon, ENOUGH)
    finally:
        daemon.kill(signal.SIGCONT)
    until(lambda: "lines of the log were dropped" in daemon.log, "the dropped lines are counted")
    requests.get(daemon.url + "after", timeout=10)
    until(lambda: "GET /after " in daemon.log, "the log goes on")
    assert workers == daemon.workers()


@WORKERS
def test_an_access_log_that_is_a_fifo_without_a_reader_stops_neither_start_nor_requests(
    start_daemon, tmp_path, workers
):
    fifo = str(tmp_path / "access")
    os.mkfifo(fifo)
    daemon = start_daemon("--workers", workers, "--access-log", fifo)
    ask(daemon, ENOUGH)
    daemon.kill(signal.SIGUSR1)
    with open(fifo, "rb") as file:
        reader = Reader(file.fileno())
        until(lambda: "lines of the access log were dropped" in daemon.log, "they are counted")
        requests.get(daemon.url + "after", timeout=10)
        until(lambda: b"GET /after " in reader.data, "the access log goes on")
        daemon.end()
        reader.end()


@WORKERS
def test_a_daemon_whose_access_log_has_no_reader_can_be_stopped(start_daemon, tmp_path, workers):
    fifo = str(tmp_path / "access")
    os.mkfifo(fifo)
    daemon = start_daemon("--workers", workers, "--access-log", fifo)
    ask(daemon, 1)
    daemon.kill(signal.SIGTERM)
    until(daemon.ended, "it ends")
    assert -signal.SIGTERM == daemon.process.wait()


@WORKERS
def test_a_log_that_is_a_fifo_without_a_reader_does_not_stop_the_start(start_daemon, tmp_path, workers):
    os.mkfifo(tmp_path / "fifo")
    daemon = start_daemon("--workers", workers, "--log", str(tmp_path / "fifo"), log=False)
    assert 200 == requests.get(daemon.url + "health", timeout=10).status_code
    with open(tmp_path / "fifo", "rb") as file:
        reader = Reader(file.fileno())
        until(lambda: b"listening on" in reader.data, "the lines of the start have waited")
        daemon.end()
        reader.end()


@pytest.mark.needs("strace")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_log_file_on_a_stalled_disk_stops_no_request(start_daemon, tmp_path, workers):
    daemon = start_daemon("--workers", workers, "--access-log", "-")
    log = str(tmp_path / "log")
    with injected(daemon.pid, "write", "delay_enter=600000000", log):
        ask(daemon, 20)
        daemon.kill(signal.SIGHUP)
        ask(daemon, 20)
    requests.get(daemon.url + "after", timeout=10)
    until(lambda: "GET /after " in read(log), "the log goes on")
