"""An open byte string: ranges, pauses, and everything that may happen in between."""

import errno
import os

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from filestored.errors import Overloaded
from filestored.storage.blob import CLOSE_IN_THREAD_MIN_BYTES, Blob
from filestored.storage.health import Health, ReadFailed
from filestored.storage.store import Store
from tests.storage.contract import MD5, Workbench, digest_of, outcome, put, watched
from tests.storage.recording_consumer import RecordingConsumer

DATA = bytes(range(256)) * 4097
"""Content that no backend holds in memory: it is read as a stream."""

NAME = digest_of(DATA)


@pytest.fixture
def bench():
    return Workbench()


@pytest.fixture
def open_blob(backend):
    """A function that opens the data of this module."""
    put(backend, DATA)

    def open_it(run=maybeDeferred):
        answer = Store(backend, MD5, run).open(NAME)
        if not answer.called:
            run.do_all()
        return outcome(answer)

    return open_it


@pytest.mark.parametrize(
    ("start", "stop"), [(0, len(DATA)), (0, 0), (0, 1), (5, 500_000), (len(DATA) - 1, len(DATA)), (9, 9)]
)
def test_a_range_is_produced(open_blob, start, stop):
    blob, consumer = open_blob(), RecordingConsumer()
    assert outcome(blob.produce(consumer, start, stop)) is None
    assert (DATA[start:stop], None) == (consumer.data, consumer.producer)
    blob.close()


def test_one_range_after_the_other_is_produced(open_blob):
    blob, consumer = open_blob(), RecordingConsumer()
    for start in (0, 100):
        outcome(blob.produce(consumer, start, start + 10))
    assert DATA[0:10] + DATA[100:110] == consumer.data
    blob.close()


def test_paused_producer_neither_reads_nor_writes(open_blob, bench):
    blob, consumer = open_blob(bench), RecordingConsumer()
    answer = blob.produce(consumer, 0, len(DATA))
    assert verifyObject(IPushProducer, consumer.producer)
    consumer.producer.pauseProducing()
    bench.do_all()
    assert (b"", 0) == (consumer.data, len(bench.jobs))
    consumer.producer.resumeProducing()
    consumer.producer.resumeProducing()
    assert DATA[: len(consumer.data)] == consumer.data != b""
    bench.do_all()
    assert (None, DATA) == (outcome(answer), consumer.data)
    blob.close()
    bench.do_all()


def test_a_consumer_may_pause_and_resume_at_each_piece(open_blob):
    blob = open_blob()

    def hiccup():
        consumer.producer.pauseProducing()
        consumer.producer.resumeProducing()

    consumer = RecordingConsumer(hiccup)
    assert outcome(blob.produce(consumer, 0, len(DATA))) is None
    assert DATA == consumer.data
    blob.close()


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("end", ["stop", "close", "cancel"])
def test_stopped_producer_ends(open_blob, bench, paused, end):
    blob, consumer = open_blob(bench), RecordingConsumer()
    answer = blob.produce(consumer, 0, len(DATA))
    bench.do_one()
    written = len(consumer.data)
    if paused:
        consumer.producer.pauseProducing()
        bench.do_all()
    {"stop": consumer.producer.stopProducing, "close": blob.close, "cancel": answer.cancel}[end]()
    bench.do_all()
    assert (CancelledError, None) == (type(outcome(answer)), consumer.producer)
    assert written == len(consumer.data)
    blob.close()
    blob.close()
    bench.do_all()


def test_closing_while_a_piece_is_written_is_safe(open_blob):
    blob = open_blob()
    consumer = RecordingConsumer(lambda: blob.close())
    assert isinstance(outcome(blob.produce(consumer, 0, len(DATA))), CancelledError)
    assert DATA.startswith(consumer.data)


def test_a_descriptor_is_not_closed_under_a_read(disk, bench):
    put(disk, DATA)
    blob = outcome(Store(disk, MD5, bench).open(NAME))
    blob.produce(RecordingConsumer(), 0, len(DATA)).addErrback(lambda failure: None)
    blob.close()
    assert len(DATA) == os.fstat(blob.fileno()).st_size
    bench.do_all()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(blob.fileno())


def test_descriptor_is_not_closed_under_the_second_of_two_reads(disk, bench):
    """Several downloads of a cached response read one blob."""
    put(disk, DATA)
    store = Store(disk, MD5, bench)
    blob = store.open_sync(NAME)
    reads = [Deferred.fromCoroutine(blob.read(start, start + 10)) for start in (0, 20)]
    blob.close()
    bench.do_one()
    assert len(DATA) == os.fstat(blob.fileno()).st_size
    bench.do_all()
    assert [DATA[:10], DATA[20:30]] == [outcome(read) for read in reads]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(blob.fileno())


def test_file_is_current_while_its_name_leads_to_it(disk):
    put(disk, DATA)
    store = Store(disk, MD5, maybeDeferred)
    blob = store.open_sync(NAME)
    assert blob.is_current()
    disk.delete(NAME)
    assert not blob.is_current()
    put(disk, DATA)
    assert not blob.is_current()
    again = store.open_sync(NAME)
    assert again.is_current()
    blob.close()
    again.close()


def test_file_is_not_current_while_the_disk_is_slow(disk):
    put(disk, DATA)
    store = Store(disk, MD5, maybeDeferred)
    blob = store.open_sync(NAME)
    blob.record_latency(1.0)
    assert store.slow
    assert not blob.is_current()
    blob.close()


def test_truncated_file_is_an_error(disk, place):
    put(disk, DATA)
    blob, consumer = outcome(Store(disk, MD5, maybeDeferred).open(NAME)), RecordingConsumer()
    path = f"{place}/{NAME.shard}/{NAME.hex}"
    os.chmod(path, 0o600)
    os.truncate(path, 300_000)
    assert errno.EIO == outcome(blob.produce(consumer, 0, len(DATA))).errno
    assert (300_000, None) == (len(consumer.data), consumer.producer)
    blob.close()


def test_a_read_error_is_reported_with_the_digest_counted_and_suspends_nothing(open_disk):
    def fail(name, args):
        if name == "pread" and args[1] > 1:  # of the file, and not of FORMAT
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk = open_disk(watched(fail))
    put(disk, DATA)
    health = Health()
    store = Store(disk, MD5, maybeDeferred, health=health)
    blob = outcome(store.open(NAME))
    with capturedLogs() as logged:
        failure = outcome(blob.produce(RecordingConsumer(), 0, 2))
    assert (errno.EIO, ReadFailed, True) == (failure.errno, type(failure), NAME.hex in str(failure))
    assert ["unreadable" in event["log_format"] and NAME.hex in event["reason"] for event in logged] == [True]
    assert (None, 1) == (store.degraded, health.unreadable)
    blob.close()


@pytest.mark.parametrize(("deleted", "size", "jobs"), [(False, 1 << 20, 0), (True, 1 << 20, 1), (True, 9, 0)])
def test_only_large_deleted_files_are_closed_in_a_thread(disk, bench, deleted, size, jobs):
    put(disk, b"x" * size)
    name = digest_of(b"x" * size)
    blob = Store(disk, MD5, bench).open_sync(name)
    if deleted:
        disk.delete(name)
    blob.close()
    assert jobs == len(bench.jobs)
    bench.do_all()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(blob.fileno())


class ReadingList:
    """A stored file that notes the offsets at which it is read."""

    def __init__(self, file):
        self.size = file.size
        self.close = file.close
        self.offsets = []
        self._file = file

    def read(self, offset, count):
        self.offsets.append(offset)
        return self._file.read(offset, count)


@pytest.mark.parametrize("leave", ["stop", "close", "cancel"])
def test_queued_read_of_a_stopped_producer_is_skipped(backend, bench, leave):
    put(backend, DATA)
    opened = []
    answer = Store(backend, MD5, bench).open(NAME, lambda file: opened.append(ReadingList(file)) or opened[0])
    bench.do_all()
    blob, consumer = outcome(answer), RecordingConsumer()
    produced = blob.produce(consumer, 0, len(DATA))
    {"stop": lambda: consumer.producer.stopProducing(), "close": blob.close, "cancel": produced.cancel}[
        leave
    ]()
    bench.do_all()
    assert isinstance(outcome(produced), CancelledError)
    assert (opened[0].offsets, consumer.data) == ([], b"")
    blob.close()
    bench.do_all()


def test_file_is_closed_synchronously_when_no_thread_can_be_started(disk, bench):
    large = b"x" * CLOSE_IN_THREAD_MIN_BYTES
    put(disk, large)
    file = disk.open(digest_of(large))
    blob = Blob(digest_of(large), file, lambda *_: fail(Overloaded()), Health())
    blob.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file.fileno())
