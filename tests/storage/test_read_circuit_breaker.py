"""The circuit breaker for reads in the reactor's thread, and the store that obeys it."""

import os
import threading
import time

import pytest
from twisted.internet.defer import maybeDeferred

from filestored.errors import NotFound
from filestored.interfaces import IFileSource, IInMemory
from filestored.storage.disk.file_cache import FileCache
from filestored.storage.read_circuit_breaker import (
    MAX_READ_SECONDS,
    MAX_RECOVERY_SECONDS,
    MIN_RECOVERY_SECONDS,
    RECOVERY_READS,
    ReadCircuitBreaker,
)
from filestored.storage.store import Store
from tests.storage.contract import MD5, Workbench, digest_of, outcome, put, watched

SLOW, FAST = MAX_READ_SECONDS * 1.1, MAX_READ_SECONDS / 1000


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now

    def read(self, breaker, seconds, times=1):
        """Make a read that takes so long."""
        for _ in range(times):
            breaker.call(self.advance, seconds)

    def advance(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return ReadCircuitBreaker(clock)


# --- the breaker ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "slow"), [(0.0, False), (FAST, False), (SLOW, True), (1.0, True)])
def test_one_slow_read_trips_the_breaker(breaker, clock, seconds, slow):
    breaker.record(seconds)
    assert slow == breaker.slow
    other = ReadCircuitBreaker(clock)
    clock.read(other, seconds)
    assert slow == other.slow


def test_a_read_that_fails_slowly_is_slow(breaker, clock):
    def fail():
        clock.advance(SLOW)
        raise NotFound

    with pytest.raises(NotFound):
        breaker.call(fail)
    assert breaker.slow


@pytest.mark.parametrize(
    ("seconds", "reads", "slow"),
    [
        (MIN_RECOVERY_SECONDS, RECOVERY_READS, False),
        (MIN_RECOVERY_SECONDS, RECOVERY_READS - 1, True),
        (MIN_RECOVERY_SECONDS * 0.9, RECOVERY_READS, True),
        (MIN_RECOVERY_SECONDS * 1000, 0, True),
    ],
)
def test_recovery_takes_time_and_fast_reads(breaker, clock, seconds, reads, slow):
    breaker.record(SLOW)
    clock.advance(seconds)
    clock.read(breaker, 0, reads)
    assert slow == breaker.slow


def test_a_slow_read_among_many_cached_ones_prevents_recovery(breaker, clock):
    breaker.record(SLOW)
    for _ in range(10):
        clock.advance(MIN_RECOVERY_SECONDS / 2)
        clock.read(breaker, FAST, 2 * RECOVERY_READS)
        clock.read(breaker, SLOW)
        assert breaker.slow
    clock.advance(MIN_RECOVERY_SECONDS)
    clock.read(breaker, FAST, RECOVERY_READS)
    assert not breaker.slow
    breaker.record(SLOW)
    assert breaker.slow


def test_recovery_takes_twice_as_long_each_time_that_the_disk_is_slow_again_soon(breaker, clock):
    record_latency = []
    for _ in range(8):
        breaker.record(SLOW)
        began = clock.now
        while breaker.slow:
            clock.advance(MIN_RECOVERY_SECONDS / 4)
            clock.read(breaker, 0, RECOVERY_READS)
        record_latency.append(clock.now - began)
    assert [1, 2, 4, 8, 16, 16, 16, 16] == record_latency
    clock.advance(MAX_RECOVERY_SECONDS)
    breaker.record(SLOW)
    clock.advance(MIN_RECOVERY_SECONDS)
    clock.read(breaker, 0, RECOVERY_READS)
    assert not breaker.slow


def test_a_read_that_hangs_prevents_recovery(breaker, clock):
    breaker.record(SLOW)
    started, go_on = threading.Event(), threading.Event()

    def hang():
        started.set()
        go_on.wait(20)

    thread = threading.Thread(target=breaker.call, args=(hang,))
    thread.start()
    try:
        assert started.wait(20)
        clock.advance(MIN_RECOVERY_SECONDS)
        clock.read(breaker, FAST, 2 * RECOVERY_READS)
        assert breaker.slow
    finally:
        go_on.set()
        thread.join()
    clock.advance(MIN_RECOVERY_SECONDS)
    clock.read(breaker, FAST, RECOVERY_READS)
    assert not breaker.slow


# --- the store --------------------------------------------------------------------------------------

SMALL, LARGE = b"a small file", bytes(range(256)) * 512


class SlowDisk:
    """Makes each call of a name in `slow` take longer than the reactor's thread may wait; notes who waits."""

    def __init__(self):
        self.slow = set()
        self.calls = []

    def __call__(self, name, args):
        self.calls.append(name)
        if name in self.slow:
            time.sleep(SLOW)


@pytest.fixture
def slow_disk():
    return SlowDisk()


@pytest.fixture
def disk(open_disk, slow_disk):
    made = open_disk(watched(slow_disk), file_cache=FileCache())
    for data in (SMALL, LARGE):
        put(made, data)
    return made


@pytest.mark.parametrize(
    ("call", "data"), [("open", SMALL), ("open", LARGE), ("fstat", SMALL), ("pread", SMALL), ("stat", SMALL)]
)
def test_after_a_slow_open_files_are_opened_in_threads(disk, slow_disk, call, data):
    bench = Workbench()
    store = Store(disk, MD5, bench)
    if call == "stat":
        store.open_sync(digest_of(data)).close()
    assert not store.slow
    slow_disk.slow = {call}
    store.open_sync(digest_of(data)).close()
    assert store.slow
    bench.do_all()
    slow_disk.calls.clear()
    opening = store.open(digest_of(data))
    with pytest.raises(BlockingIOError):
        store.reopen(digest_of(data))
    assert (1, []) == (len(bench.jobs), slow_disk.calls)
    bench.do_all()
    outcome(opening).close()
    bench.do_all()


def test_slow_open_of_a_missing_file_counts(disk, slow_disk):
    store = Store(disk, MD5, maybeDeferred)
    slow_disk.slow = {"open"}
    with pytest.raises(NotFound):
        store.open_sync(digest_of(b"nowhere"))
    assert store.slow
    assert isinstance(outcome(store.open(digest_of(b"nowhere"))), NotFound)
    assert 2 == store.statistics.not_found


def test_a_store_is_read_in_the_reactors_thread_again_when_its_disk_is_fast_again(
    disk, slow_disk, monkeypatch
):
    monkeypatch.setattr("filestored.storage.read_circuit_breaker.MIN_RECOVERY_SECONDS", 0.01)
    bench = Workbench()
    store = Store(disk, MD5, bench)
    slow_disk.slow = {"open"}
    store.open_sync(digest_of(LARGE)).close()
    bench.do_all()
    slow_disk.slow = set()
    time.sleep(0.02)
    for _ in range(RECOVERY_READS):
        assert store.slow
        opening = store.open(digest_of(LARGE))
        bench.do_all()
        outcome(opening).close()
        bench.do_all()
    assert not store.slow
    assert store.open(digest_of(SMALL)).called
    assert IInMemory.providedBy(store.reopen(digest_of(SMALL)))


def test_a_blob_measures_its_reads_and_is_read_in_threads_while_they_are_slow(disk, slow_disk):
    bench = Workbench()
    store = Store(disk, MD5, bench)
    blob = store.open_sync(digest_of(LARGE))
    assert (True, False) == (IFileSource.providedBy(blob), blob.slow)
    blob.record_latency(FAST)
    assert not store.slow
    blob.record_latency(SLOW)
    assert (True, True) == (blob.slow, store.slow)
    closed = blob.fileno()
    blob.close()
    assert os.fstat(closed)
    bench.do_all()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(closed)


def test_a_slow_read_in_a_thread_counts(disk, slow_disk):
    store = Store(disk, MD5, maybeDeferred)
    blob = store.open_sync(digest_of(LARGE))
    slow_disk.slow = {"pread"}
    outcome(maybeDeferred(lambda: blob.read(0, 10)))
    assert store.slow
    blob.close()


def test_file_cache_is_thread_safe(place):
    recent = FileCache(max_files=4)
    failed = []

    def work():
        try:
            for number in range(3000):
                recent.add(str(number % 9), number)
                recent.evict(str(number % 7))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == failed
