"""The pump: back-pressure, small bodies, and uploads that end in every other way."""

import errno
import threading
import tracemalloc

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, maybeDeferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from filestored.errors import Overloaded, StorageFull
from filestored.storage.memory import MemoryBackend, MemorySink
from filestored.storage.store import Store
from filestored.storage.thread_pool import ThreadPool, in_threads
from tests.storage.contract import MD5, Workbench, digest_of, files_below, outcome, read

PIECE = b"p" * 65536


@implementer(IPushProducer)
class Tap:
    """A producer that only remembers whether it may run."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def pauseProducing(self) -> None:
        self.log.append("pause")

    def resumeProducing(self) -> None:
        self.log.append("resume")

    def stopProducing(self) -> None:
        self.log.append("stop")


@pytest.fixture
def bench():
    return Workbench()


@pytest.fixture
def store(disk, bench):
    return Store(disk, MD5, bench)


def test_small_upload_starts_no_job_before_its_commit(store, bench):
    upload = store.upload()
    upload.write(PIECE)
    assert 0 == len(bench.jobs)
    answer = upload.commit()
    assert 1 == len(bench.jobs)
    bench.do_one()
    assert digest_of(PIECE) == outcome(answer).digest


def test_upload_runs_at_most_one_job(store, bench):
    upload = store.upload()
    for _ in range(100):
        upload.write(PIECE)
    assert 1 == len(bench.jobs)
    answer = upload.commit()
    while bench.jobs:
        assert 1 == len(bench.jobs)
        bench.do_one()
    assert digest_of(PIECE * 100) == outcome(answer).digest


def test_producer_is_paused_while_the_disk_is_slower(store, bench):
    tap, upload = Tap(), store.upload()
    upload.registerProducer(tap, True)
    written = 0
    while not tap.log:
        upload.write(PIECE)
        written += len(PIECE)
    assert (["pause"], True) == (tap.log, written <= 1024 * 1024)
    bench.do_one()
    assert (["pause", "resume"], 1) == (tap.log, len(bench.jobs))
    upload.unregisterProducer()
    answer = upload.commit()
    bench.do_all()
    assert digest_of(b"p" * written) == outcome(answer).digest


@pytest.mark.slow
def test_two_byte_writes_are_joined(store):
    upload = store.upload()
    tracemalloc.start()
    for number in range(400_000):
        upload.write(b"%02d" % (number % 100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    upload.abort()
    assert peak < 2 * 1024 * 1024


def test_a_pull_producer_is_refused(store):
    upload = store.upload()
    with pytest.raises(ValueError, match="push producers only"):
        upload.registerProducer(Tap(), False)
    upload.abort()


def test_a_second_producer_is_refused(store):
    upload = store.upload()
    upload.registerProducer(Tap(), True)
    with pytest.raises(RuntimeError):
        upload.registerProducer(Tap(), True)
    upload.abort()


# --- other ends ------------------------------------------------------------------------------


def test_an_abort_during_a_job_waits_for_its_end(store, bench, place):
    tap, upload = Tap(), store.upload()
    upload.registerProducer(tap, True)
    while not tap.log:
        upload.write(PIECE)
    upload.abort()
    upload.abort()
    assert (1, 1, ["pause", "resume"]) == (store.uploads_in_flight, len(bench.jobs), tap.log)
    upload.write(PIECE)
    bench.do_all()
    assert (0, []) == (store.uploads_in_flight, files_below(place))
    assert 1 == store.statistics.failed_uploads


@pytest.mark.parametrize("size", [0, 10, 600_000, 3_000_000])
def test_abort_discards_everything(store, bench, place, size):
    upload = store.upload()
    upload.write(b"x" * size)
    bench.do_all()
    upload.abort()
    bench.do_all()
    assert (0, []) == (store.uploads_in_flight, files_below(place))


def test_an_abort_after_commit_while_bytes_are_still_written_ends_it(store, bench, place):
    upload = store.upload()
    upload.write(PIECE * 10)
    answer = upload.commit()
    upload.abort()
    bench.do_all()
    assert (CancelledError, 0, []) == (type(outcome(answer)), store.uploads_in_flight, files_below(place))


@pytest.mark.parametrize("jobs_before", [0, 1])
@pytest.mark.parametrize("size", [0, 10, 600_000])
def test_aborted_upload_cannot_be_committed_and_ends_once(store, bench, place, size, jobs_before):
    upload = store.upload()
    upload.write(b"x" * size)
    upload.abort()
    for _ in range(min(jobs_before, len(bench.jobs))):
        bench.do_one()
    answer = upload.commit()
    bench.do_all()
    assert (CancelledError, 0, []) == (type(outcome(answer)), store.uploads_in_flight, files_below(place))
    assert 1 == store.statistics.failed_uploads


@pytest.mark.parametrize("size", [10, 600_000])
def test_abort_during_the_commit_has_no_effect(store, bench, size):
    upload = store.upload()
    upload.write(b"x" * size)
    answer = upload.commit()
    while len(bench.jobs) and not store.statistics.uploads:
        bench.do_one()
        upload.abort() if size == 10 else None
    upload.abort()
    assert (True, 0) == (outcome(answer).created, store.uploads_in_flight)


@pytest.mark.parametrize("jobs", range(4))
def test_cancelled_commit_completes(store, bench, jobs):
    upload = store.upload()
    upload.write(b"x" * 600_000)
    answer = upload.commit()
    for _ in range(min(jobs, len(bench.jobs))):
        bench.do_one()
    if not answer.called:
        answer.cancel()
        assert isinstance(outcome(answer), CancelledError)
    bench.do_all()
    assert 0 == store.uploads_in_flight


def test_bytes_after_an_error_are_dropped_and_the_producer_resumed(bench):
    store = Store(MemoryBackend(MD5, capacity=100_000), MD5, bench)
    tap, upload = Tap(), store.upload()
    upload.registerProducer(tap, True)
    while not tap.log:
        upload.write(PIECE)
    bench.do_one()
    for _ in range(100):
        upload.write(PIECE)
    assert (["pause", "resume"], 0) == (tap.log, len(bench.jobs))
    answer = upload.commit()
    bench.do_all()
    assert isinstance(outcome(answer), StorageFull)
    assert 0 == store.uploads_in_flight


@pytest.mark.parametrize("size", [10, 600_000])
@pytest_twisted.ensureDeferred
async def test_upload_without_a_thread_is_refused_and_blocks_no_other(size, monkeypatch):
    def no_thread(self):
        raise RuntimeError("can't start new thread")

    pool = ThreadPool("test", 1)
    pool.start()
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    store = Store(MemoryBackend(MD5), MD5, in_threads(reactor, pool))
    for _ in range(2):
        upload = store.upload()
        upload.write(b"x" * size)
        with pytest.raises(Overloaded):
            await upload.commit()
        assert 0 == store.uploads_in_flight
    monkeypatch.undo()
    upload = store.upload()
    upload.write(b"x" * size)
    assert digest_of(b"x" * size) == (await upload.commit()).digest
    pool.stop()


class Failing(MemorySink):
    """A sink on a full disk."""

    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")


class Ending(Tap):
    """A producer that has come to its end, and says so as soon as it may go on."""

    def __init__(self, end):
        super().__init__()
        self.end = end

    def resumeProducing(self):
        self.end()


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("commits", [True, False])
def test_upload_aborted_on_an_error_releases_its_slot_once(bench, begins, commits):
    backend = MemoryBackend(MD5)
    store = Store(backend, MD5, bench)
    upload = store.upload()

    def begin():
        if begins:
            return Failing(backend)
        raise OSError(errno.EMFILE, "Too many open files")

    def end():
        upload.unregisterProducer()
        if commits:
            upload.commit().addErrback(lambda _: upload.abort())
        else:
            upload.abort()

    backend.begin = begin
    upload.registerProducer(Ending(end), True)
    upload.write(PIECE * 4)
    upload.write(PIECE * 4)
    bench.do_all()
    assert (0, 1) == (store.uploads_in_flight, store.statistics.failed_uploads)


class Clinging(MemorySink):
    """A sink that does not let go."""

    def discard(self):
        raise OSError(errno.EIO, "Input/output error")


class ClingingBackend(MemoryBackend):
    def begin(self):
        return Clinging(self)


def test_upload_that_cannot_be_discarded_releases_its_slot(bench):
    store = Store(ClingingBackend(MD5), MD5, bench)
    upload = store.upload()
    upload.write(PIECE * 10)
    bench.do_all()
    upload.abort()
    bench.do_all()
    assert (0, 1) == (store.uploads_in_flight, store.statistics.failed_uploads)


@given(st.lists(st.binary(max_size=200).map(lambda data: data * 997), max_size=12))
def test_any_split_of_the_bytes_is_the_same_content(pieces):
    backend = MemoryBackend(MD5)
    upload = Store(backend, MD5, maybeDeferred).upload()
    for piece in pieces:
        upload.write(piece)
    whole = b"".join(pieces)
    assert (digest_of(whole), len(whole)) == (lambda stored: (stored.digest, stored.size))(
        outcome(upload.commit())
    )
    assert whole == read(backend, digest_of(whole))
