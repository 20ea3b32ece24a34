"""State of the daemon: reasons why it is not ready, lines about it, and values of its metrics."""

from dataclasses import dataclass, field

import pytest

from filestored.daemon.monitoring.state import MAX_NAMED_FILES, DaemonState
from filestored.daemon.verification.status import VerificationStatus
from filestored.metrics.blocks import SharedBlocks
from filestored.metrics.recorder import Recorder
from filestored.metrics.table import BUILD_INFO, OF_DAEMON, SUSPENDED
from filestored.metrics.totals import Totals


@dataclass
class Runner:
    """A supervisor with so many workers."""

    number: int = 2
    restarts: int = 0
    answers: bool = True

    def alive(self):
        return self.answers

    def serving(self):
        return self.number


@dataclass
class Count:
    """A count of the store."""

    files: int = 0
    bytes: int = 0
    counted_at: float = 0.0


@dataclass
class Space:
    """Free space of a disk."""

    free: int | None = None
    size: int | None = None


@dataclass
class Monitored:
    """A state, and its parts."""

    verification: VerificationStatus | None = None
    space: Space | None = field(default_factory=Space)

    def __post_init__(self):
        shared = SharedBlocks.create(2, shared=False)
        self.first, self.second = map(Recorder, shared.blocks)
        self.count, self.runner = Count(), Runner()
        self.state = DaemonState(Totals(shared.blocks), 2, self.count, self.space, self.verification)
        self.state.runner = self.runner


@pytest.fixture
def monitored():
    return Monitored()


def test_daemon_that_serves_is_alive_and_ready(monitored):
    assert monitored.state.is_alive()
    assert [] == monitored.state.problems()
    assert ["workers: 2 of 2 serve"] == monitored.state.description()


def test_daemon_that_has_not_started_is_neither(monitored):
    monitored.state.runner = None
    assert not monitored.state.is_alive()
    assert ["no worker serves"] == monitored.state.problems()
    assert ["workers: 0 of 2 serve"] == monitored.state.description()


def test_daemon_without_an_answering_worker_is_not_alive(monitored):
    monitored.runner.answers = False
    assert not monitored.state.is_alive()


def test_daemon_with_one_of_two_workers_is_ready(monitored):
    monitored.runner.number = 1
    assert [] == monitored.state.problems()
    assert ["workers: 1 of 2 serve"] == monitored.state.description()


def test_daemon_without_workers_is_not_ready(monitored):
    monitored.runner.number = 0
    assert ["no worker serves"] == monitored.state.problems()


def test_stopping_daemon_is_not_ready(monitored):
    monitored.state.stopping = True
    assert ["stopping"] == monitored.state.problems()


def test_suspension_of_any_worker_is_a_problem_until_all_have_recovered(monitored):
    monitored.first.suspended(True, False)
    monitored.second.suspended(True, True)
    assert [
        "writes are suspended; the log has the reason",
        "the object store is away; the log has the reason",
    ] == monitored.state.problems()
    monitored.second.suspended(False, False)
    assert ["writes are suspended; the log has the reason"] == monitored.state.problems()
    monitored.first.suspended(False, False)
    assert [] == monitored.state.problems()


def test_last_verification_is_described():
    status = VerificationStatus(last_finished=1_795_694_400.0, last_corrupt=0)
    assert (
        "verify: last finished 2026-11-26T12:00:00Z, 0 corrupt" == Monitored(status).state.description()[-1]
    )


def test_verification_that_never_finished_is_described():
    assert "verify: not finished yet" == Monitored(VerificationStatus()).state.description()[-1]


def test_corrupt_files_are_named_and_do_not_make_the_daemon_unready():
    status = VerificationStatus(last_finished=1.0, last_corrupt=2, corrupt_files=["ab", "builds/cd"])
    state = Monitored(status).state
    assert ["corrupt: ab", "corrupt: builds/cd"] == state.description()[-2:]
    assert [] == state.problems()


def test_more_corrupt_files_than_the_maximum_are_counted():
    names = [f"{number:064x}" for number in range(MAX_NAMED_FILES)]
    status = VerificationStatus(last_finished=1.0, last_corrupt=103, corrupt_files=names)
    lines = Monitored(status).state.description()
    assert MAX_NAMED_FILES == sum(line.startswith("corrupt: ") for line in lines)
    assert "and 3 more" == lines[-1]


def test_all_values_are_metrics_of_the_table(monitored):
    monitored.count.counted_at = 1.0
    monitored.space.free, monitored.space.size = 1, 2
    others = {BUILD_INFO.name, SUSPENDED.name}
    assert {metric.name for metric in OF_DAEMON} - others == set(monitored.state.values())


def test_values_of_parts_are_passed_on():
    monitored = Monitored(VerificationStatus(True, 1, 2, 3, 4, 5.0, 6))
    monitored.count.files, monitored.count.bytes, monitored.count.counted_at = 7, 8, 9.0
    monitored.space.free, monitored.space.size = 10, 11
    monitored.runner.restarts = 12
    values = monitored.state.values()
    assert (7, 8, 9.0) == tuple(
        values[f"filestored_store_{name}"] for name in ("files", "bytes", "counted_timestamp_seconds")
    )
    assert (10, 11) == (values["filestored_store_free_bytes"], values["filestored_store_size_bytes"])
    assert (12, 2, 2) == tuple(
        values[f"filestored_worker{name}"] for name in ("_restarts_total", "s", "s_serving")
    )
    assert (True, 1, 2, 3, 4, 5.0, 6) == tuple(
        values[f"filestored_verify_{name}"]
        for name in (
            *("running", "files_total", "bytes_total", "corrupt_files_total", "unreadable_files_total"),
            *("last_finished_timestamp_seconds", "last_corrupt_files"),
        )
    )


def test_store_has_no_values_before_the_first_count(monitored):
    assert not [name for name in monitored.state.values() if name.startswith("filestored_store_")]


def test_object_store_has_no_free_space():
    assert "filestored_store_free_bytes" not in Monitored(space=None).state.values()
