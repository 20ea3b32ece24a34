"""Count of the store by a child process: its intervals, its output, its failures."""

import signal

import pytest
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.logger import globalLogPublisher

from filestored.daemon.monitoring import store_count
from filestored.daemon.monitoring.store_count import (
    MIN_INTERVAL_SECONDS,
    MIN_REMOTE_INTERVAL_SECONDS,
    PAUSE_FACTOR,
    START_SECONDS,
    StoreCount,
)
from filestored.daemon.process_setup import REOPEN_SIGNALS
from tests.daemon import spawned_processes

NOW = 1_800_000_000.0


class Reactor(spawned_processes.Reactor):
    """A reactor whose children write something and end."""

    def end(self, output, seconds=1.0, errors=b""):
        """Let the last child take so long, write this, and end."""
        self.advance(seconds)
        child = self.transports[-1]
        child.protocol.childDataReceived(1, output)
        child.protocol.childDataReceived(2, errors)
        child.end(ProcessTerminated(1) if errors else ProcessDone(0))


class Counted:
    """A count that has begun."""

    def __init__(self, store="/store"):
        self.reactor = Reactor()
        self.count = StoreCount(self.reactor, store, lambda: NOW)
        self.count.start()
        self.reactor.advance(START_SECONDS)

    @property
    def values(self):
        return self.count.files, self.count.bytes, self.count.counted_at


@pytest.fixture
def counted():
    return Counted()


@pytest.fixture
def logged():
    """Lines that are logged in the test."""
    lines = []
    observer = lambda event: lines.append(event.get("reason"))  # noqa: E731
    globalLogPublisher.addObserver(observer)
    yield lines
    globalLogPublisher.removeObserver(observer)


def test_child_runs_the_command_stat(counted):
    assert ["-m", "filestored", "stat", "/store", "--json"] == counted.reactor.args[2:]
    assert {1: "r", 2: "r"} == counted.reactor.descriptors


def test_signals_that_reopen_logs_are_blocked_in_the_child(counted):
    """They may be sent to all processes of a service, and would end it."""
    assert set(REOPEN_SIGNALS) <= counted.reactor.blocked
    assert not counted.reactor.blocked & signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_output_of_the_child_is_the_count(counted):
    assert (0, 0, 0.0) == counted.values
    counted.reactor.end(b'{"files": 3, "bytes": 4096, "more": "x"}\n')
    assert (3, 4096, NOW) == counted.values


def test_quick_count_is_repeated_after_the_minimum_interval(counted):
    counted.reactor.end(b'{"files": 3, "bytes": 4096}', seconds=0.5)
    counted.reactor.advance(MIN_INTERVAL_SECONDS - 1)
    assert 1 == len(counted.reactor.transports)
    counted.reactor.advance(1)
    assert 2 == len(counted.reactor.transports)


def test_slow_count_is_repeated_after_a_multiple_of_its_duration(counted):
    counted.reactor.end(b'{"files": 3, "bytes": 4096}', seconds=100)
    counted.reactor.advance(100 * PAUSE_FACTOR - 1)
    assert 1 == len(counted.reactor.transports)
    counted.reactor.advance(1)
    assert 2 == len(counted.reactor.transports)


def test_object_store_is_counted_less_often():
    counted = Counted("s3://bucket/prefix")
    counted.reactor.end(b'{"files": 3, "bytes": 4096}')
    counted.reactor.advance(MIN_REMOTE_INTERVAL_SECONDS - 1)
    assert 1 == len(counted.reactor.transports)
    counted.reactor.advance(1)
    assert 2 == len(counted.reactor.transports)


FAILURES = {"nothing": b"", "no JSON": b"Traceback", "no object": b"[]", "no number": b'{"files": null}'}


@pytest.mark.parametrize("case", FAILURES)
def test_failed_count_keeps_the_last_one_and_is_repeated(case, counted):
    counted.reactor.end(b'{"files": 3, "bytes": 4096}')
    counted.reactor.advance(MIN_INTERVAL_SECONDS)
    counted.reactor.end(FAILURES[case], errors=b"it failed\n")
    assert (3, 4096, NOW) == counted.values
    counted.reactor.advance(MIN_INTERVAL_SECONDS)
    assert 3 == len(counted.reactor.transports)


def test_first_of_several_failures_is_logged(counted, logged):
    counted.reactor.end(b"", errors=b"the disk is gone\n")
    counted.reactor.advance(MIN_INTERVAL_SECONDS)
    counted.reactor.end(b"", errors=b"the disk is gone\n")
    assert ["the disk is gone"] == logged


def test_signal_that_has_ended_the_child_is_logged(counted, logged):
    counted.reactor.transports[-1].end(ProcessTerminated(signal=signal.SIGKILL))
    assert ["signal SIGKILL"] == logged


def test_child_that_cannot_be_started_is_tried_again(logged):
    reactor = Reactor()
    reactor.errors.append(OSError(11, "no process"))
    StoreCount(reactor, "/store").start()
    reactor.advance(START_SECONDS)
    assert ["[Errno 11] no process"] == logged
    reactor.advance(MIN_INTERVAL_SECONDS)
    assert 1 == len(reactor.transports)


def test_stop_kills_the_child_and_starts_no_other_one(counted):
    counted.count.stop()
    assert ["KILL"] == counted.reactor.transports[0].signals
    counted.reactor.end(b"")
    counted.reactor.advance(10 * MIN_INTERVAL_SECONDS)
    assert 1 == len(counted.reactor.transports)


def test_stop_before_the_first_count_starts_none():
    reactor = Reactor()
    count = StoreCount(reactor, "/store")
    count.start()
    count.stop()
    assert [] == reactor.getDelayedCalls()


def test_stop_between_two_counts_starts_no_other_one(counted):
    counted.reactor.end(b'{"files": 3, "bytes": 4096}')
    counted.count.stop()
    assert [] == counted.reactor.getDelayedCalls()


def test_output_of_the_child_is_kept_within_bounds(counted):
    child = counted.reactor.transports[0].protocol
    for _ in range(3):
        child.childDataReceived(1, b"x" * store_count.MAX_OUTPUT_BYTES)
    assert store_count.MAX_OUTPUT_BYTES == len(child.output[1])
