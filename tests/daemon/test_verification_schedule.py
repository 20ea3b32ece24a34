"""Schedule of verification in the background: starts, order, events, failures, stop."""

import json
import signal

import pytest
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.logger import LogLevel, capturedLogs

from filestored.daemon.verification import schedule as module
from filestored.daemon.verification.schedule import (
    CHECK_CORRUPT_SECONDS,
    CHECK_SECONDS,
    KILL_AFTER_SECONDS,
    RETRY_SECONDS,
    START_SECONDS,
    VerificationSchedule,
)
from filestored.daemon.verification.status import MAX_NAMED_FILES
from filestored.daemon.verification.task import Task
from tests.daemon.spawned_processes import Reactor
from tests.storage.contract import outcome

FILES, IMAGES = (Task(store, 86_400.0, 1000, 10.0) for store in ("/store", "/images"))
STATE = {"event": "state", "due": 0, "finished": 0, "corrupt": 0, "corrupt_files": []}
BEGIN = {"event": "begin", "resumed": False}
END = {
    "event": "end",
    "due": 86_400,
    "finished": 77.0,
    "files": 9,
    "bytes": 90,
    "corrupt": 1,
    "unreadable": 0,
}


class Bench:
    """A schedule that has been started, and its reactor."""

    def __init__(self, *tasks):
        self.reactor = Reactor()
        self.schedule = VerificationSchedule(self.reactor, tasks)
        self.schedule.start()
        self.status = self.schedule.status

    @property
    def stores(self):
        """The stores of the children so far."""
        return [json.loads(each.said)["store"] for each in self.reactor.transports]

    def send(self, *events):
        """Let the last child send events."""
        lines = "".join(json.dumps(each) + "\n" for each in events)
        self.reactor.transports[-1].protocol.childDataReceived(1, lines.encode())

    def end(self, status=0):
        """Let the last child exit."""
        error = ProcessDone(0) if status == 0 else ProcessTerminated(status)
        self.reactor.transports[-1].end(error)


@pytest.fixture
def bench():
    """A schedule of one store whose child runs."""
    made = Bench((FILES, ""))
    made.reactor.advance(START_SECONDS)
    return made


def test_first_child_starts_some_seconds_after_the_daemon_with_its_task_on_stdin():
    bench = Bench((FILES, ""))
    bench.reactor.advance(START_SECONDS - 0.1)
    assert [] == bench.stores
    bench.reactor.advance(0.1)
    assert {"store": "/store", "every": 86_400.0, "rate": 1000, "timeout": 10.0} == json.loads(
        bench.reactor.transports[0].said
    )


def test_stores_are_verified_one_after_the_other():
    bench = Bench((FILES, ""), (IMAGES, "images/"))
    bench.reactor.advance(START_SECONDS)
    bench.send(STATE, BEGIN, END)
    bench.reactor.advance(100)
    assert ["/store"] == bench.stores
    bench.end()
    assert ["/store", "/images"] == bench.stores


@pytest.mark.parametrize(("due", "wait"), [(10, 10), (10**6, CHECK_SECONDS)])
def test_store_that_is_not_due_is_looked_at_again(bench, due, wait):
    bench.send({**STATE, "due": due})
    bench.end()
    bench.reactor.advance(wait - 0.1)
    assert 1 == len(bench.stores)
    bench.reactor.advance(0.2)
    assert 2 == len(bench.stores)


def test_healed_files_are_looked_for_more_often(bench):
    bench.send({**STATE, "due": 10**6, "corrupt": 2, "corrupt_files": ["ab", "cd"]})
    bench.end()
    assert (2, ["ab", "cd"]) == (bench.status.last_corrupt, bench.status.corrupt_files)
    bench.reactor.advance(CHECK_CORRUPT_SECONDS)
    bench.send({**STATE, "due": 10**6, "corrupt": 2, "corrupt_files": ["cd"]})
    assert ["cd"] == bench.status.corrupt_files


def test_events_change_the_status_whose_counters_never_go_back(bench):
    bench.send(STATE)
    assert not bench.status.running
    for number in (1, 2):
        with capturedLogs() as logged:
            bench.send(BEGIN)
            assert bench.status.running
            bench.send({"event": "progress", "files": 5, "bytes": 50})
            bench.send({"event": "corrupt", "name": "ab", "reason": "other bytes"})
            bench.send({"event": "unreadable", "name": "cd", "reason": "EIO"})
            bench.send(END)
        levels = [each["log_level"] for each in logged]
        assert [LogLevel.info, LogLevel.error, LogLevel.error, LogLevel.info] == levels
        status = bench.status
        assert (5 * number, 50 * number, number, number) == (
            status.files,
            status.bytes,
            status.corrupt,
            status.unreadable,
        )
        assert (77.0, 1, ["ab"]) == (status.last_finished, status.last_corrupt, status.corrupt_files)
        bench.end()
        assert not bench.status.running
        bench.reactor.advance(CHECK_SECONDS)


def test_status_of_two_stores_is_that_of_both():
    bench = Bench((FILES, ""), (IMAGES, "images/"))
    bench.reactor.advance(START_SECONDS)
    bench.send(STATE, BEGIN, {"event": "corrupt", "name": "ab", "reason": "x"}, END)
    bench.end()
    bench.send(STATE)
    assert 0 == bench.status.last_finished
    bench.send(BEGIN, {"event": "corrupt", "name": "cd", "reason": "x"}, {**END, "finished": 70.0})
    assert (70.0, 2, ["ab", "images/cd"]) == (
        bench.status.last_finished,
        bench.status.last_corrupt,
        bench.status.corrupt_files,
    )


def test_store_that_no_child_has_looked_at_does_not_count_as_never_verified():
    """The pass over the first one may take days, as after a restart of the daemon."""
    bench = Bench((FILES, ""), (IMAGES, "images/"))
    bench.reactor.advance(START_SECONDS)
    bench.send({**STATE, "finished": 50.0}, {**BEGIN, "resumed": True})
    assert 50.0 == bench.status.last_finished


def test_a_hundred_corrupt_files_are_named(bench):
    bench.send(STATE, BEGIN)
    bench.send(*({"event": "corrupt", "name": f"{number:04x}", "reason": "x"} for number in range(200)))
    assert (200, MAX_NAMED_FILES) == (bench.status.corrupt, len(bench.status.corrupt_files))


@pytest.mark.parametrize("events", [[], [STATE, BEGIN]])
@pytest.mark.parametrize("status", [0, 9])
def test_killed_or_stopped_child_is_followed_by_another_one_later(bench, status, events):
    bench.send(*events)
    bench.end(status)
    assert not bench.status.running
    bench.reactor.advance(RETRY_SECONDS - 0.1)
    assert 1 == len(bench.stores)
    bench.reactor.advance(0.2)
    assert 2 == len(bench.stores)


def test_signal_that_has_ended_the_child_is_logged(bench):
    with capturedLogs() as logged:
        bench.reactor.transports[-1].end(ProcessTerminated(signal=signal.SIGKILL))
    assert ["signal SIGKILL"] == [each["reason"] for each in logged]


@pytest.mark.parametrize(("running", "level"), [(True, LogLevel.info), (False, LogLevel.error)])
def test_failure_is_logged_once_and_tried_again(bench, running, level):
    with capturedLogs() as logged:
        bench.send({"event": "failed", "reason": "it is away", "running": running})
        bench.end(1)
    assert [level] == [each["log_level"] for each in logged]
    bench.reactor.advance(RETRY_SECONDS)
    assert 2 == len(bench.stores)


def test_process_that_cannot_be_started_is_tried_again():
    bench = Bench((FILES, ""))
    bench.reactor.errors.append(OSError("no memory"))
    with capturedLogs() as logged:
        bench.reactor.advance(START_SECONDS)
    assert 1 == len(logged)
    bench.reactor.advance(RETRY_SECONDS)
    assert ["/store"] == bench.stores


def test_other_output_is_a_warning_in_the_log(bench):
    with capturedLogs() as logged:
        for descriptor, text in (
            (1, b"{\n"),
            (1, b"[]\n"),
            (1, b'{"event": "other"}\n'),
            (2, b"Traceback\n"),
        ):
            bench.reactor.transports[0].protocol.childDataReceived(descriptor, text)
    assert [LogLevel.warn] * 4 == [each["log_level"] for each in logged]


def test_stop_closes_stdin_and_waits_for_the_end(bench):
    stopped = []
    bench.schedule.stop().addCallback(stopped.append)
    (child,) = bench.reactor.transports
    assert (True, []) == (child.close_control_pipe, stopped)
    bench.end()
    assert [None] == stopped
    assert [] == bench.reactor.getDelayedCalls()


def test_child_that_does_not_stop_is_killed(bench):
    bench.schedule.stop()
    bench.reactor.advance(KILL_AFTER_SECONDS)
    assert ["KILL"] == [str(number.name)[3:] for number in bench.reactor.transports[0].signals]


def test_stop_does_not_wait_for_a_killed_child_that_a_disk_keeps(bench):
    stopped = []
    bench.schedule.stop().addCallback(stopped.append)
    bench.reactor.advance(KILL_AFTER_SECONDS)
    assert [None] == stopped
    bench.end(9)
    assert [None] == stopped
    assert [] == bench.reactor.getDelayedCalls()


def test_stop_without_a_child_ends_at_once():
    bench = Bench((FILES, ""))
    assert outcome(bench.schedule.stop()) is None
    assert [] == bench.reactor.getDelayedCalls()


def test_abort_kills_the_child(bench):
    bench.schedule.abort()
    assert 1 == len(bench.reactor.transports[0].signals)


def test_every_event_has_a_handler():
    assert {*["state", "begin", "progress", "corrupt", "unreadable", "unrecorded", "end", "failed"]} == set(
        module._EVENTS
    )
