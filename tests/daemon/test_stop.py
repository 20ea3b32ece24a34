"""Stop of a daemon: running requests finish within the drain timeout; a second signal stops at once."""

import hashlib
import os
import signal
from functools import partial

import pytest
from twisted.internet.task import Clock

from filestored.daemon.process_setup import StopEffect, StopSignals
from tests.daemon_process import read, until

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])
HALF = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 10\r\n\r\nhello"


def half_an_upload(daemon):
    """A connection in the midst of an upload, which the daemon has begun to read."""
    connection = daemon.connect()
    connection.sendall(HALF)
    with daemon.connect() as other:  # a whole request behind it in the same process or another
        other.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while other.recv(4096):
            pass
    return connection


@WORKERS
def test_a_running_upload_finishes_and_new_connections_are_refused(start_daemon, workers):
    daemon = start_daemon("--workers", workers)
    with half_an_upload(daemon) as connection:
        until(lambda: taken(daemon), "the upload is being read")
        daemon.kill(signal.SIGTERM)
        until(daemon.refuses, "the port is closed")
        assert not daemon.ended()
        connection.sendall(b"world")
        answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert hashlib.sha256(b"helloworld").hexdigest().encode() in answer + connection.recv(4096)
    until(daemon.ended, "it ends with its last request")
    assert -signal.SIGTERM == daemon.process.wait()
    assert not os.path.exists(os.path.join(daemon.directory, "pid"))


@WORKERS
def test_drain_timeout_closes_running_requests(start_daemon, workers):
    daemon = start_daemon("--workers", workers, "--drain", "0.2")
    with half_an_upload(daemon) as connection:
        until(lambda: taken(daemon), "the upload is being read")
        daemon.kill(signal.SIGTERM)
        until(daemon.ended, "it ends although a request has not")
        assert b"" == nothing_more(connection)


@WORKERS
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_stops_at_once(start_daemon, workers, second):
    daemon = start_daemon("--workers", workers, "--drain", "3600")
    with half_an_upload(daemon) as connection:
        until(lambda: taken(daemon), "the upload is being read")
        mine = daemon.workers()
        daemon.kill(signal.SIGTERM)
        until(daemon.refuses, "the port is closed")
        until(lambda: repeated(daemon, second), "a second signal ends it at once")
        assert b"" == nothing_more(connection)
    assert [] == [pid for pid in mine if os.path.exists(f"/proc/{pid}")]
    assert "ending at once" in daemon.log
    assert not os.path.exists(os.path.join(daemon.directory, "pid"))


def test_idle_connection_does_not_delay_a_stop(start_daemon):
    daemon = start_daemon("--workers", "1", "--drain", "3600")
    with daemon.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096)
        daemon.kill(signal.SIGTERM)
        until(daemon.ended, "it ends")


def test_interrupted_upload_is_not_stored(start_daemon):
    daemon = start_daemon("--workers", "1", "--drain", "0")
    with half_an_upload(daemon):
        until(lambda: taken(daemon), "the upload is being read")
        daemon.kill(signal.SIGTERM)
        until(daemon.ended, "it ends")
    shards = [name for name in os.listdir(daemon.store) if len(name) == 2]
    assert [] == [name for shard in shards for name in os.listdir(os.path.join(daemon.store, shard))]


def repeated(daemon, number):
    """Send a signal again, which has no effect shortly after the first one; return True when it has ended."""
    if not daemon.ended():
        daemon.kill(number)
    return daemon.ended()


def taken(daemon):
    """Return whether each socket of the port has an empty queue."""
    port = f":{daemon.port:04X}"
    rows = [line.split() for line in read("/proc/net/tcp").splitlines()[1:]]
    return all(
        row[4].endswith(":00000000") for row in rows if row[1].endswith(port) and row[3] in ("0A", "01")
    )


def nothing_more(connection):
    try:
        return connection.recv(4096)
    except ConnectionResetError:
        return b""


def test_stop_is_reported_to_systemd(daemon):
    with daemon.notifications() as receiver:
        daemon.kill(signal.SIGTERM)
        assert "STOPPING=1" in receiver.recv(1000).decode()


SINGLE_SIGNALS = [[signal.SIGTERM], [signal.SIGINT]]
SEVERAL_SIGNALS = [
    [signal.SIGTERM, signal.SIGTERM],
    [signal.SIGTERM, signal.SIGINT],
    [signal.SIGHUP, signal.SIGTERM, signal.SIGHUP],
]
GROUP = pytest.mark.parametrize("numbers", [*SINGLE_SIGNALS, *SEVERAL_SIGNALS])
SEVERAL = pytest.mark.parametrize("numbers", SEVERAL_SIGNALS)


@WORKERS
@GROUP
def test_signals_to_an_idle_process_group_stop_it_without_an_error(start_daemon, workers, numbers):
    daemon = start_daemon("--workers", workers, new_session=True)
    for number in numbers:
        os.killpg(daemon.pid, number)
    until(daemon.ended, "it ends")
    assert [] == [line for line in daemon.log.splitlines() if "ERROR" in line or "CRITICAL" in line]
    assert "ending at once" not in daemon.log
    assert "all requests have ended" in daemon.log


@WORKERS
@SEVERAL
def test_signals_to_a_process_group_at_the_same_time_let_an_upload_finish(start_daemon, workers, numbers):
    daemon = start_daemon("--workers", workers, "--drain", "3600", new_session=True)
    with half_an_upload(daemon) as connection:
        until(lambda: taken(daemon), "the upload is being read")
        for number in numbers:
            os.killpg(daemon.pid, number)
        until(daemon.refuses, "the port is closed")
        connection.sendall(b"world")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    until(daemon.ended, "it ends with its last request")
    assert -daemon.process.wait() in {*numbers} - {signal.SIGHUP}


@WORKERS
def test_a_daemon_that_was_started_with_blocked_signals_can_be_stopped(start_daemon, workers):
    blocked = partial(signal.pthread_sigmask, signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    daemon = start_daemon("--workers", workers, before_exec=blocked)
    daemon.kill(signal.SIGTERM)
    until(daemon.ended, "it ends")


def test_sigint_that_was_ignored_at_the_start_stays_ignored(start_daemon):
    ignored = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    daemon = start_daemon("--workers", "1", before_exec=ignored)
    daemon.kill(signal.SIGINT)
    with daemon.connect() as connection:
        connection.sendall(HALF + b"world")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    daemon.kill(signal.SIGTERM)
    until(daemon.ended, "it ends")


def test_a_signal_within_a_second_of_the_first_is_a_duplicate():
    clock = Clock()
    stop = StopSignals(clock.seconds)
    effects = [stop.received()]
    for seconds in (0.0, 0.5, 0.5, 3600.0):
        clock.advance(seconds)
        effects.append(stop.received())
    expected = [StopEffect.STOP, StopEffect.NONE, StopEffect.NONE, StopEffect.ABORT, StopEffect.ABORT]
    assert expected == effects
