"""A supervisor whose workers hang, are killed, or cannot be started; and health shared by all workers."""

import errno
import os
import re
import signal
import threading
from contextlib import contextmanager

import pytest
import requests

from tests.daemon.fault_injection import injected
from tests.daemon_process import children, read, until
from tests.images.decodable_images import png_of

FORKS = "fork,vfork,clone,clone3"
FLUSHES = "fsync,fdatasync,syncfs"


def health(daemon):
    """The status of `/health`, asked on a new connection."""
    return requests.get(daemon.url + "health", timeout=10, headers={"Connection": "close"}).status_code


def upload(daemon, content):
    headers = {"Content-Type": "a/b", "Connection": "close"}
    return requests.post(daemon.url, data=content, timeout=10, headers=headers)


def healthy(daemon):
    """Return whether all workers run and requests are answered."""
    return len(daemon.workers()) == 2 and health(daemon) == 200


@pytest.mark.needs("strace")
@pytest.mark.parametrize("error", ["EAGAIN", "ENOMEM"])
def test_workers_are_replaced_after_failed_forks(start_daemon, error):
    daemon = start_daemon("--workers", "2")
    with injected(daemon.pid, FORKS, f"error={error}"):
        for pid in daemon.workers():
            os.kill(pid, signal.SIGKILL)
        until(lambda: daemon.workers() == [], "both are dead")
        until(lambda: os.strerror(getattr(errno, error)) in daemon.log, "a fork has failed")
    until(lambda: len(daemon.workers()) == 2, "both workers are back")
    assert 200 == upload(daemon, b"x").status_code


def test_both_workers_killed_again_and_again_are_replaced_within_a_second(start_daemon):
    daemon = start_daemon("--workers", "2")
    for _ in range(7):
        served = daemon.log.count("has died")
        for pid in daemon.workers():
            os.kill(pid, signal.SIGKILL)
        until(lambda served=served: daemon.log.count("has died") == served + 2, "both deaths are noticed")
        until(lambda: healthy(daemon), "requests are answered again")
    pauses = [float(pause) for pause in re.findall(r"starts in ([0-9.]+) s", daemon.log)]
    assert 14 == len(pauses)
    assert max(pauses) <= 1.0


def test_a_hung_worker_is_killed_and_replaced_while_the_other_serves(start_daemon):
    daemon = start_daemon("--workers", "2")
    hung, other = daemon.workers()
    with daemon.notifications() as receiver:
        os.kill(hung, signal.SIGSTOP)
        until(lambda: hung not in daemon.workers(), "the hung worker is killed")
        assert "1 of 2 workers serve" in receiver.recv(1000).decode()
        assert "2 of 2 workers serve" in receiver.recv(1000).decode()
    assert other in daemon.workers()
    until(lambda: "does not answer and is killed" in daemon.log, "the kill is logged")
    assert 200 == upload(daemon, b"x").status_code


def test_worker_is_replaced_while_its_child_hangs(start_daemon):
    """A decoder holds the worker's stderr, the pipe to the supervisor."""
    daemon = start_daemon("--workers", "2")
    token = requests.get(daemon.url + "imageapi/generate-token/u/", timeout=10).json()["token"]
    image = {"file": ("x.png", png_of(1, 1))}
    answer = requests.post(f"{daemon.url}imageapi/token/{token}/upload-image/", files=image, timeout=30)
    assert 201 == answer.status_code
    worker, decoder = next((pid, children(pid)[0]) for pid in daemon.workers() if children(pid))
    os.kill(decoder, signal.SIGSTOP)
    try:
        os.kill(worker, signal.SIGKILL)
        until(lambda: worker not in daemon.workers() and len(daemon.workers()) == 2, "it is replaced")
    finally:
        os.kill(decoder, signal.SIGKILL)


@pytest.mark.needs("strace")
def test_an_error_of_the_disk_in_one_worker_suspends_writing_in_all_until_a_restart(start_daemon):
    daemon = start_daemon("--workers", "2")
    kept = upload(daemon, b"kept").text
    first, second = daemon.workers()
    with injected(first, FLUSHES, "error=EIO"):
        until(lambda: upload(daemon, os.urandom(100)).status_code == 500, "a flush of the first worker fails")
    until(lambda: {503} == {health(daemon) for _ in range(20)}, "all workers know")
    assert {503} == {upload(daemon, os.urandom(100)).status_code for _ in range(20)}
    assert {503} == {health(daemon) for _ in range(20)}
    assert b"kept" == requests.get(daemon.url + "files/" + kept, timeout=10).content
    for pid in (first, second):
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: pid not in daemon.workers() and len(daemon.workers()) == 2, "it is replaced")
    assert {503} == {health(daemon) for _ in range(20)}
    assert {503} == {upload(daemon, os.urandom(100)).status_code for _ in range(20)}
    daemon.end()
    again = start_daemon("--workers", "2")
    assert {200} == {health(again) for _ in range(20)}
    assert 200 == upload(again, b"new").status_code


@pytest.mark.needs("strace")
def test_store_and_images_on_one_disk_share_its_health(start_daemon):
    daemon = start_daemon("--workers", "1")
    with injected(daemon.pid, FLUSHES, "error=EIO"):
        assert 500 == upload(daemon, b"x").status_code
    assert 503 == requests.get(daemon.url + "imageapi/generate-token/u/", timeout=10).status_code


@pytest.mark.needs("strace")
def test_requests_are_refused_while_no_thread_can_be_started(start_daemon):
    daemon = start_daemon("--workers", "1")
    token = requests.get(daemon.url + "imageapi/generate-token/u/", timeout=10).json()["token"]

    def upload_image(number):
        url = f"{daemon.url}imageapi/token/{token}/upload-image/"
        return requests.post(url, files={"file": (f"{number}.png", png_of(1, 1))}, timeout=30).status_code

    with injected(daemon.pid, FORKS, "error=EAGAIN"):
        assert [503, 503] == [upload_image(number) for number in range(2)]
        assert {503} >= {upload(daemon, os.urandom(100_000)).status_code for _ in range(5)} - {200}
    assert [201, 201] == [upload_image(number) for number in range(2)]
    assert {200} == {upload(daemon, os.urandom(100_000)).status_code for _ in range(5)}
    daemon.end()
    assert "Traceback" not in daemon.log


# --- SIGUSR1 and SIGHUP at any time -------------------------------------------------------------


@contextmanager
def signalled(directory, number):
    """Send a signal to the daemon in `directory` and to its workers, from its pid file on, without end."""
    over = threading.Event()
    sent = []

    def send():
        while not over.wait(0.002):
            text = read(os.path.join(directory, "pid"))
            for pid in [int(text), *children(int(text))] if text else []:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
                sent.append(pid)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_to_reopen_logs_does_not_end_a_start(start_daemon, tmp_path, workers, number):
    with signalled(str(tmp_path), number) as sent:
        daemon = start_daemon("--workers", workers)
    assert {daemon.pid, *daemon.workers()} <= set(sent)
    assert "has died" not in daemon.log
    until(lambda: "log files reopened" in daemon.log, "the signal is obeyed")
