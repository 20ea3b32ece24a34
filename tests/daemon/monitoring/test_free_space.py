"""Free space of the store: read in a thread, and waited for within bounds."""

import os

import pytest
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.task import Clock

from filestored.daemon.monitoring.free_space import MAX_WAIT_SECONDS, FreeSpace

STATUS = os.statvfs_result((4096, 1024, 100, 60, 50, 0, 0, 0, 0, 255))


class Disk:
    """A disk that answers when it is told to; `run` stands in for a thread."""

    def __init__(self):
        self.clock = Clock()
        self.calls = []
        self.space = FreeSpace(self.clock, "/store", self.run)

    def run(self, function, *args):
        self.calls.append(Deferred())
        return self.calls[-1]

    @property
    def values(self):
        return self.space.free, self.space.size


@pytest.fixture
def disk():
    return Disk()


def test_values_are_known_once_the_disk_has_answered(disk):
    done = disk.space.refresh()
    assert not done.called
    disk.calls[0].callback(STATUS)
    assert done.called
    assert (50 * 1024, 100 * 1024) == disk.values
    assert [] == disk.clock.getDelayedCalls()


def test_hanging_disk_is_waited_for_within_bounds(disk):
    done = disk.space.refresh()
    disk.clock.advance(MAX_WAIT_SECONDS)
    assert done.called
    assert (None, None) == disk.values


def test_hanging_disk_is_not_asked_again(disk):
    disk.space.refresh()
    disk.clock.advance(MAX_WAIT_SECONDS)
    assert disk.space.refresh().called
    assert 1 == len(disk.calls)


def test_values_of_before_are_unknown_while_the_disk_hangs(disk):
    disk.space.refresh()
    disk.calls[0].callback(STATUS)
    disk.space.refresh()
    disk.clock.advance(MAX_WAIT_SECONDS)
    disk.space.refresh()
    assert (None, None) == disk.values


def test_second_scrape_during_a_call_keeps_the_values_of_before(disk):
    disk.space.refresh()
    disk.calls[0].callback(STATUS)
    disk.space.refresh()
    disk.clock.advance(MAX_WAIT_SECONDS / 2)
    assert disk.space.refresh().called
    assert (50 * 1024, 100 * 1024) == disk.values
    assert 2 == len(disk.calls)


def test_disk_that_answers_late_is_asked_again(disk):
    disk.space.refresh()
    disk.clock.advance(MAX_WAIT_SECONDS)
    disk.calls[0].callback(STATUS)
    disk.space.refresh()
    assert 2 == len(disk.calls)
    disk.clock.advance(MAX_WAIT_SECONDS)


def test_disk_that_fails_has_unknown_values():
    clock = Clock()
    space = FreeSpace(clock, "/store", lambda function, *args: fail(OSError(5, "broken")))
    assert space.refresh().called
    assert (None, None) == (space.free, space.size)


def test_free_space_of_a_directory(tmp_path):
    space = FreeSpace(Clock(), str(tmp_path), maybeDeferred)
    assert space.refresh().called
    assert 0 < space.free <= space.size
