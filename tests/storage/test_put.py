"""Content that arrived whole: `Store.put` ends as an upload with one write does."""

import pytest
from twisted.internet.task import Clock

from filestored.digest import algorithm
from filestored.errors import DigestMismatch, Overloaded, StorageFull, TooLarge, WritesSuspended
from filestored.interfaces import UploadResult
from filestored.storage.admission import UploadSlots
from filestored.storage.health import FlushFailed
from filestored.storage.memory import MemoryBackend
from filestored.storage.store import Store
from tests.storage.contract import HELLO, MD5, Workbench, digest_of, outcome, read, send

PIECE = b"p" * 100_000


@pytest.fixture
def bench():
    return Workbench()


@pytest.fixture
def store(disk, bench):
    return Store(disk, MD5, bench)


def test_put_content_is_stored_by_one_job_of_the_group_commit(store, disk, bench):
    answer = store.put(HELLO)
    assert (1, 1) == (len(bench.jobs), store.uploads_in_flight)
    bench.do_one()
    assert UploadResult(digest_of(HELLO), 5, True) == outcome(answer)
    assert HELLO == read(disk, digest_of(HELLO))
    assert (0, 1, 5, 1) == (
        store.uploads_in_flight,
        store.statistics.uploads,
        store.statistics.uploaded_bytes,
        store.statistics.created,
    )


def test_put_content_is_not_done_before_its_flush(store, bench):
    first, second = store.put(b"a"), store.put(b"b")
    bench.do_one()
    assert (False, False) == (first.called, second.called)
    bench.do_one()
    assert (True, True) == (outcome(first).created, outcome(second).created)


def test_put_content_must_have_the_expected_digests(store, bench):
    right = [digest_of(HELLO), algorithm("sha256").digest(HELLO)]
    answer = store.put(HELLO, right)
    bench.do_all()
    assert digest_of(HELLO) == outcome(answer).digest
    for wrong in (digest_of(b"x"), algorithm("sha256").digest(b"x")):
        with pytest.raises(DigestMismatch):
            store.put(HELLO, [*right, wrong])
    assert (0, 2) == (store.uploads_in_flight, store.statistics.failed_uploads)


def test_put_is_refused_by_admission_control(disk, bench):
    store = Store(disk, MD5, bench, max_size=4)
    with pytest.raises(TooLarge):
        store.put(HELLO)
    full = Store(MemoryBackend(MD5, capacity=0), MD5, bench)
    with pytest.raises(StorageFull):
        full.put(HELLO)
    assert (0, 0) == (store.uploads_in_flight, full.uploads_in_flight)


def test_put_needs_a_slot_until_its_end(disk, bench):
    store = Store(disk, MD5, bench, slots=UploadSlots(1))
    waiting = store.put(b"a")
    with pytest.raises(Overloaded):
        store.put(b"b")
    with pytest.raises(Overloaded):
        store.upload(length=len(PIECE))
    assert (1, 1) == (store.uploads_in_flight, store.statistics.failed_uploads)
    bench.do_all()
    assert outcome(waiting).created
    again = store.put(b"b")
    bench.do_all()
    assert outcome(again).created


def test_put_evicts_the_slowest_upload(disk, bench):
    clock = Clock()
    store = Store(disk, MD5, bench, slots=UploadSlots(1, clock.seconds))
    slow = store.upload()
    slow.write(b"x" * 30_000)
    clock.advance(2)
    answer = store.put(HELLO)
    with pytest.raises(Overloaded):
        slow.write(b"y")
    slow.abort()
    bench.do_all()
    assert outcome(answer).created


def test_put_content_fails_with_its_batch_and_suspends_writes(bench):
    class Unflushed(MemoryBackend):
        def flush_names(self, digests):
            raise OSError(5, "Input/output error")

    store = Store(Unflushed(MD5), MD5, bench)
    answer = store.put(HELLO)
    bench.do_all()
    assert FlushFailed is type(outcome(answer))
    with pytest.raises(WritesSuspended):
        store.put(HELLO)
    assert (0, 1) == (store.uploads_in_flight, store.statistics.failed_uploads)


def test_put_and_upload_of_the_same_content_store_it_once(store, bench):
    answers = [store.put(HELLO), send(store, HELLO), store.put(HELLO)]
    bench.do_all()
    assert [True, False, False] == [outcome(answer).created for answer in answers]
