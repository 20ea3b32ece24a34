"""The sweep behind the start: once, in the background, and of no cost to the first answer."""

import os
import shutil
import signal
import threading
import time
from functools import partial

import pytest
from twisted.internet.task import Clock

from filestored.images import directory as image_directory
from filestored.images.orphans import sweep_marker
from filestored.images.orphans import thread as orphans_thread
from filestored.images.orphans.thread import OrphanCleanerThread, Sweep
from filestored.images.service import ImageService
from filestored.storage.disk.records import DiskRecords
from filestored.storage.health import Health
from filestored.storage.threads import IOThreads
from tests.daemon_process import until
from tests.images.image_fixture import ImageFixture, done, in_child
from tests.images.missing_directories import api, fill, home_of, missing, swept

USERS = 30


class Reactor(Clock):
    """A clock that keeps what other threads want to be called."""

    def __init__(self):
        super().__init__()
        self.called = []

    def callFromThread(self, function, *args):
        self.called.append((function.__name__, args))


@pytest.fixture
def reads(monkeypatch):
    """The names of all records that are read, or listed."""
    found = []
    for verb in ("read", "read_all", "entries", "names", "held"):
        function = getattr(DiskRecords, verb)

        def watched(self, name, *args, function=function):
            found.append(name)
            return function(self, name, *args)

        monkeypatch.setattr(DiskRecords, verb, watched)
    return found


@pytest.fixture
def mark(place):
    """The mark of a place with accounts, none of which has its record in ``tokens/``; a sweep is due."""
    fixture = ImageFixture(place)
    for number in range(USERS):
        done(fixture.image_store.register(f"user_{number}"))
    fixture.close()
    shutil.rmtree(place + "/tokens")
    image_directory.request_sweep(place)
    return place + "/.sweep-due"


@pytest.fixture
def open_thread(place):
    """A function that opens a `OrphanCleanerThread`; all of them have ended when the test is over."""
    opened = []

    def open_it(reactor):
        fixture = ImageFixture(place)
        thread = OrphanCleanerThread(
            reactor,
            fixture.records,
            fixture.accounts,
            fixture.blobs,
            Sweep(partial(sweep_marker.claimed_sweep, place + "/.sweep-due")),
        )
        opened.append((thread, fixture))
        return thread

    yield open_it
    for thread, _ in opened:
        thread.stop()
    until(lambda: not running(), "the sweeps have ended")
    for _, fixture in opened:
        fixture.close()


def running():
    return [thread for thread in threading.enumerate() if thread.name == "filestored-sweep"]


def tokens(place):
    return len(os.listdir(place + "/tokens")) if os.path.isdir(place + "/tokens") else 0


def test_process_reads_no_account_before_it_serves(place, mark, reads):
    def start():
        reads.clear()
        reactor = Reactor()
        parts = image_directory.open_parts(place, pytest.fail)
        threads = IOThreads.of(lambda *_: None)
        service = ImageService(reactor, parts, threads, Health(), max_size=1, max_uploads=1)
        assert {"KEY"} == set(reads)
        assert [orphans_thread.DELAY_SECONDS] == [call.getTime() for call in reactor.getDelayedCalls()]
        service.stop()
        assert [] == reactor.getDelayedCalls()

    assert 0 == in_child(start)  # a process never closes its images


def test_requested_orphan_removal_runs_in_one_of_two_processes(place, mark, open_thread):
    reactors = [Reactor(), Reactor()]
    for reactor in reactors:
        open_thread(reactor)
        reactor.advance(1)
    until(lambda: not os.path.exists(mark) and not running(), "the sweep is over")
    assert USERS == tokens(place)
    (report,) = [call for reactor in reactors for call in reactor.called]
    assert "_report" == report[0]
    assert USERS == report[1][0].restored


def test_orphan_removal_without_a_marker_does_not_run(place, mark, open_thread, reads):
    os.unlink(mark)
    reactor = Reactor()
    open_thread(reactor)
    reads.clear()
    reactor.advance(1)
    until(lambda: not running(), "the thread has ended")
    assert [] == reads
    assert [] == reactor.called


def test_stopped_orphan_removal_keeps_the_marker(place, mark, open_thread, monkeypatch):
    monkeypatch.setattr(orphans_thread, "STEPS_PER_PAUSE", 1)
    monkeypatch.setattr(orphans_thread, "PAUSE_SECONDS", 0.05)
    reactor = Reactor()
    thread = open_thread(reactor)
    reactor.advance(1)
    until(lambda: tokens(place), "the sweep has begun")
    thread.stop()
    until(lambda: not running(), "the thread has ended")
    assert os.path.exists(mark)
    assert tokens(place) < USERS
    assert [] == reactor.called


def test_failed_orphan_removal_is_logged_and_keeps_the_marker(place, mark, open_thread, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("filestored.storage.disk.backend.DiskBackend.digests", fail)
    reactor = Reactor()
    open_thread(reactor)
    reactor.advance(1)
    until(lambda: not running(), "the thread has ended")
    ((name, args),) = reactor.called
    assert ("failure", "orphans of images could not be removed") == (name, args[0])
    assert OSError is args[1].type
    with sweep_marker.claimed_sweep(mark) as is_due:
        assert is_due


# --- a real daemon -----------------------------------------------------------------------------------


def test_replaced_workers_do_not_remove_orphans_again(start_daemon):
    daemon = start_daemon("--workers", "2")
    filled = fill(daemon, each=1)
    swept(daemon)
    shutil.rmtree(os.path.join(home_of(daemon), "tokens"))
    dead = daemon.workers()
    for pid in dead:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(set(daemon.workers()) - set(dead)) == 2, "they are replaced")
    assert 404 == api(daemon, "retrieve-token/nobody").status_code
    assert not os.path.exists(os.path.join(home_of(daemon), ".sweep-due"))
    time.sleep(3 * orphans_thread.DELAY_SECONDS)
    assert not os.path.exists(os.path.join(home_of(daemon), "tokens")), "no sweep has made it anew"
    daemon.end()
    again = start_daemon("--workers", "2")
    swept(again)
    assert [] == missing(again, filled)
