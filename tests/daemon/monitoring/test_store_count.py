"""Count of the store by a child process: its intervals, its output, its failures."""

import pytest
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from filestored.daemon.monitoring import store_count
from filestored.daemon.monitoring.store_count import (
    MIN_INTERVAL_SECONDS,
    MIN_REMOTE_INTERVAL_SECONDS,
    PAUSE_FACTOR,
    StoreCount,
)

NOW = 1_800_000_000.0


class Transport:
    """A child, as its parent sees it."""

    pid = 0x7FFFFFFF  # no process has it

    def __init__(self):
        self.signals = []

    def signalProcess(self, name):
        self.signals.append(name)


class Reactor(MemoryReactorClock):
    """Spawns nothing, and remembers it."""

    def __init__(self):
        super().__init__()
        self.commands, self.children, self.errors = [], [], []

    def spawnProcess(self, protocol, executable, args, env, childFDs):
        if self.errors:
            raise self.errors.pop()
        self.commands.append(args)
        self.children.append(protocol)
        protocol.makeConnection(Transport())

    def end(self, output, seconds=1.0, errors=b""):
        """Let the last child take so long, write this, and end."""
        self.advance(seconds)
        child = self.children[-1]
        child.childDataReceived(1, output)
        child.childDataReceived(2, errors)
        child.processEnded(Failure(ProcessTerminated(1) if errors else ProcessDone(0)))


class Counted:
    """A count that has begun."""

    def __init__(self, store="/store"):
        self.reactor = Reactor()
        self.count = StoreCount(self.reactor, store, lambda: NOW)
        self.count.start()

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
    assert ["-m", "filestored", "stat", "/store", "--json"] == counted.reactor.commands[0][2:]


def test_output_of_the_child_is_the_count(counted):
    assert (0, 0, 0.0) == counted.values
    counted.reactor.end(b'{"files": 3, "bytes": 4096, "more": "x"}\n')
    assert (3, 4096, NOW) == counted.values


def test_quick_count_is_repeated_after_the_minimum_interval(counted):
    counted.reactor.end(b'{"files": 3, "bytes": 4096}', seconds=0.5)
    counted.reactor.advance(MIN_INTERVAL_SECONDS - 1)
    assert 1 == len(counted.reactor.commands)
    counted.reactor.advance(1)
    assert 2 == len(counted.reactor.commands)


def test_slow_count_is_repeated_after_a_multiple_of_its_duration(counted):
    counted.reactor.end(b'{"files": 3, "bytes": 4096}', seconds=100)
    counted.reactor.advance(100 * PAUSE_FACTOR - 1)
    assert 1 == len(counted.reactor.commands)
    counted.reactor.advance(1)
    assert 2 == len(counted.reactor.commands)


def test_object_store_is_counted_less_often():
    counted = Counted("s3://bucket/prefix")
    counted.reactor.end(b'{"files": 3, "bytes": 4096}')
    counted.reactor.advance(MIN_REMOTE_INTERVAL_SECONDS - 1)
    assert 1 == len(counted.reactor.commands)
    counted.reactor.advance(1)
    assert 2 == len(counted.reactor.commands)


FAILURES = {"nothing": b"", "no JSON": b"Traceback", "no object": b"[]", "no number": b'{"files": null}'}


@pytest.mark.parametrize("case", FAILURES)
def test_failed_count_keeps_the_last_one_and_is_repeated(case, counted):
    counted.reactor.end(b'{"files": 3, "bytes": 4096}')
    counted.reactor.advance(MIN_INTERVAL_SECONDS)
    counted.reactor.end(FAILURES[case], errors=b"it failed\n")
    assert (3, 4096, NOW) == counted.values
    counted.reactor.advance(MIN_INTERVAL_SECONDS)
    assert 3 == len(counted.reactor.commands)


def test_first_of_several_failures_is_logged(counted, logged):
    counted.reactor.end(b"", errors=b"the disk is gone\n")
    counted.reactor.advance(MIN_INTERVAL_SECONDS)
    counted.reactor.end(b"", errors=b"the disk is gone\n")
    assert ["the disk is gone"] == logged


def test_child_that_cannot_be_started_is_tried_again(logged):
    reactor = Reactor()
    reactor.errors.append(OSError(11, "no process"))
    StoreCount(reactor, "/store").start()
    assert ["[Errno 11] no process"] == logged
    reactor.advance(MIN_INTERVAL_SECONDS)
    assert 1 == len(reactor.commands)


def test_stop_kills_the_child_and_starts_no_other_one(counted):
    counted.count.stop()
    assert ["KILL"] == counted.reactor.children[0].transport.signals
    counted.reactor.end(b"")
    counted.reactor.advance(10 * MIN_INTERVAL_SECONDS)
    assert 1 == len(counted.reactor.commands)


def test_stop_between_two_counts_starts_no_other_one(counted):
    counted.reactor.end(b'{"files": 3, "bytes": 4096}')
    counted.count.stop()
    assert [] == counted.reactor.getDelayedCalls()


def test_output_of_the_child_is_kept_within_bounds(counted):
    child = counted.reactor.children[0]
    for _ in range(3):
        child.childDataReceived(1, b"x" * store_count.MAX_OUTPUT_BYTES)
    assert store_count.MAX_OUTPUT_BYTES == len(child.output[1])
