"""Upload slots: which uploads need one, and eviction of slow uploads when all are held."""

import pytest
from twisted.internet.task import Clock

from filestored.errors import Overloaded
from filestored.request_context import call_for_request, current_request_id
from filestored.storage.admission import MAX_BYTES_WITHOUT_SLOT, MIN_RATE, UploadSlots
from filestored.storage.memory import MemoryBackend
from filestored.storage.store import Store
from tests.storage.contract import MD5, Workbench, digest_of, files_below, outcome

UNPLACED = b"u" * MAX_BYTES_WITHOUT_SLOT
PLACED = MAX_BYTES_WITHOUT_SLOT + 1
"""Bytes of an upload that needs a slot."""

PIECE = b"p" * 300_000


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def bench():
    return Workbench()


@pytest.fixture
def store(disk, bench, clock):
    """A store on disk with two slots."""
    return Store(disk, MD5, bench, slots=UploadSlots(2, clock.seconds))


def started(store, size=PLACED):
    """An upload that holds a slot."""
    upload = store.upload()
    upload.write(b"x" * size)
    return upload


def stored(store, bench, data=b"hello"):
    upload = store.upload(length=len(data))
    upload.write(data)
    answer = upload.commit()
    bench.do_all()
    return outcome(answer)


def test_any_number_of_uploads_may_have_few_bytes_without_a_slot(store, bench):
    waiting = [store.upload() for _ in range(100)]
    for upload in waiting:
        upload.write(UNPLACED)
    assert digest_of(PIECE) == stored(store, bench, PIECE).digest
    answer = waiting[0].commit()
    bench.do_all()
    assert digest_of(UNPLACED) == outcome(answer).digest
    for upload in waiting:
        upload.abort()
    bench.do_all()
    assert 0 == store.uploads_in_flight


@pytest.mark.parametrize("data", [b"hello", PIECE])
def test_the_slowest_upload_is_evicted_for_another(store, bench, clock, data):
    slow, slower = started(store, 40_000), started(store, 30_000)
    clock.advance(2)
    assert digest_of(data) == stored(store, bench, data).digest
    slow.write(b"y")
    with pytest.raises(Overloaded):
        slower.write(b"y")
    slow.abort()
    slower.abort()
    bench.do_all()
    assert (0, 2) == (store.uploads_in_flight, store.statistics.failed_uploads)


def test_an_evicted_upload_cannot_be_committed(store, bench, clock):
    slow = [started(store), started(store)]
    clock.advance(2)
    stored(store, bench)
    answers = [upload.commit() for upload in slow]
    bench.do_all()
    assert 1 == sum(isinstance(outcome(answer), Overloaded) for answer in answers)
    assert 0 == store.uploads_in_flight


def test_an_evicted_upload_leaves_no_file_and_no_descriptor(store, bench, clock, place):
    slow = [started(store, len(PIECE)), started(store, len(PIECE))]
    bench.do_all()
    clock.advance(60)
    another = started(store)
    bench.do_all()
    begun_files = [upload for upload in slow if upload._writer.started]
    assert 1 == len(begun_files)
    for upload in (*slow, another):
        upload.abort()
    bench.do_all()
    assert (0, []) == (store.uploads_in_flight, files_below(place))


def test_fast_uploads_keep_their_slots(store, bench, clock):
    fast = [started(store), started(store)]
    for _ in range(10):
        clock.advance(1)
        for upload in fast:
            upload.write(b"x" * MIN_RATE)
        bench.do_all()
    with pytest.raises(Overloaded):
        store.upload(length=PLACED)
    assert isinstance(stored(store, bench), Overloaded)
    for upload in fast:
        upload.abort()
    bench.do_all()


def test_new_upload_is_not_slow(store, bench, clock):
    new = [started(store), started(store)]
    clock.advance(1.9)
    assert isinstance(stored(store, bench), Overloaded)
    for upload in new:
        upload.abort()
    bench.do_all()


def test_time_of_a_slow_disk_does_not_count_for_the_client(store, bench, clock):
    waiting = [started(store, len(PIECE)), started(store, len(PIECE))]
    clock.advance(100)
    with pytest.raises(Overloaded):
        store.upload(length=len(PIECE))
    bench.do_all()
    with pytest.raises(Overloaded):
        store.upload(length=len(PIECE))
    clock.advance(2)
    store.upload(length=len(PIECE)).abort()
    for upload in waiting:
        upload.abort()
    bench.do_all()


def test_uploads_that_are_being_committed_are_not_evicted(store, bench, clock):
    answers = [started(store).commit() for _ in range(2)]
    clock.advance(100)
    with pytest.raises(Overloaded):
        started(store)
    bench.do_all()
    assert all(outcome(answer).size == PLACED for answer in answers)


def test_new_upload_slower_than_all_others_is_refused(store, bench, clock):
    newcomer = store.upload()
    newcomer.write(b"x" * 1_000)
    clock.advance(1)
    slow = [started(store, 40_000), started(store, 40_000)]
    clock.advance(2)
    with pytest.raises(Overloaded):
        newcomer.write(UNPLACED)
    for upload in (newcomer, *slow):
        upload.abort()
    bench.do_all()


def test_a_slot_is_released_once_however_an_upload_ends(clock):
    store = Store(MemoryBackend(MD5, capacity=100), MD5, bench := Workbench(), slots=UploadSlots(1))
    for _ in range(3):
        upload = started(store)
        answer = upload.commit()
        upload.abort()
        bench.do_all()
        assert answer.called
        outcome(answer)
    started(store).abort()
    started(store).abort()


@pytest.mark.parametrize(
    ("elapsed", "size", "rate"),
    [(1.9, 900, float("inf")), (2.0, 900, 450.0), (10.0, 0, 0.0), (4.0, 400, 100.0)],
)
def test_rate_of_a_client_is_bytes_over_the_time_of_the_window(store, clock, elapsed, size, rate):
    upload = store.upload()
    upload.write(b"x" * size)
    assert rate == upload.rate(clock.seconds() + elapsed)
    upload.abort()


class SlowUpload:
    """A holder of a slot, which keeps the id of the request on whose behalf it was evicted."""

    evicted_for = None

    def rate(self, now):
        return 0.0

    def evict(self):
        self.evicted_for = current_request_id.get()


def test_eviction_is_on_behalf_of_no_request(clock):
    """It serves another request than the upload that takes the slot."""
    slots, slow, fast = UploadSlots(1, clock.seconds), SlowUpload(), SlowUpload()
    fast.rate = lambda now: MIN_RATE + 1.0
    slots.acquire(slow)
    call_for_request(b"fast", slots.acquire, fast)
    assert b"" == slow.evicted_for
