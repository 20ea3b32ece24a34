"""The store above any backend: admission, expected digests, errors, statistics, many at once."""

import errno
import os

import pytest
from twisted.internet.defer import maybeDeferred
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from filestored.digest import ALGORITHMS, algorithm
from filestored.errors import (
    DigestMismatch,
    LengthMismatch,
    NotFound,
    Overloaded,
    StorageFull,
    TooLarge,
    UploadRefused,
    WritesSuspended,
)
from filestored.interfaces import (
    IBlob,
    IFileBacked,
    IInMemory,
    INonBlockingOpen,
    IStore,
    IUpload,
    UploadResult,
)
from filestored.storage.admission import UploadSlots
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import prepare
from filestored.storage.memory import MemoryBackend
from filestored.storage.store import Store
from tests.storage.contract import HELLO, MD5, Workbench, digest_of, outcome, read, send, watched
from tests.storage.object_stores import LOCAL


@pytest.fixture
def store(backend):
    """A store above each backend."""
    return Store(backend, MD5, maybeDeferred)


def test_objects_provide_their_interfaces(store):
    upload = store.upload()
    assert verifyObject(IStore, store)
    assert verifyObject(IUpload, upload)
    upload.abort()
    outcome(send(store, HELLO))
    blob = outcome(store.open(digest_of(HELLO)))
    assert verifyObject(IBlob, blob)
    blob.close()


@pytest.mark.parametrize("backend", LOCAL, indirect=True)
def test_blob_that_is_read_at_once_was_opened_at_once(store):
    """A small object is in memory, too, but only after a request."""
    outcome(send(store, HELLO))
    blob = outcome(store.open(digest_of(HELLO)))
    at_once = IFileBacked.providedBy(blob) or IInMemory.providedBy(blob)
    assert at_once == INonBlockingOpen.providedBy(store._backend)
    blob.close()


def test_blob_of_a_file_has_a_descriptor(disk):
    store = Store(disk, MD5, maybeDeferred)
    outcome(send(store, HELLO))
    blob = outcome(store.open(digest_of(HELLO)))
    assert verifyObject(IFileBacked, blob)
    assert HELLO == os.pread(blob.fileno(), 100, 0)
    blob.close()


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 524_288, 2_000_000])
def test_upload_is_stored(store, backend, size):
    data = os.urandom(size)
    assert UploadResult(digest_of(data), size, True) == outcome(send(store, data, length=size))
    assert UploadResult(digest_of(data), size, False) == outcome(send(store, data))
    assert data == read(backend, digest_of(data))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_works_for_a_store(place, name):
    own = prepare(place, name) and algorithm(name)
    disk = DiskBackend(place, own, reserve=0)
    stored = outcome(send(Store(disk, own, maybeDeferred), HELLO))
    assert (digest_of(HELLO, own), HELLO) == (stored.digest, read(disk, stored.digest))
    assert [stored.digest] == disk.digests(None, 9)
    disk.close()


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [HELLO, b"x" * 600_000])
def test_expected_digests_of_any_algorithm_are_checked(store, data):
    expected = [digest_of(data, algorithm(name)) for name in ("sha256", "md5", "sha512")]
    assert outcome(send(store, data, expected=expected)).created
    for wrong in expected:
        refused = outcome(send(store, data + b"!", expected=[wrong]))
        assert isinstance(refused, DigestMismatch)
    assert [digest_of(data)] == outcome(store.digests())


@pytest.mark.parametrize("data", [HELLO, b"x" * 600_000])
@pytest.mark.parametrize("difference", [-1, 1])
def test_announced_length_must_match(store, data, difference):
    assert isinstance(outcome(send(store, data, length=len(data) + difference)), LengthMismatch)
    assert ([], 0) == (outcome(store.digests()), store.uploads_in_flight)


def test_an_announced_length_beyond_the_limit_is_refused_at_once(backend):
    store = Store(backend, MD5, maybeDeferred, max_size=10)
    with pytest.raises(TooLarge):
        store.upload(length=11)
    assert outcome(send(store, b"0123456789", length=10)).created
    assert 0 == store.uploads_in_flight


def test_bytes_beyond_the_limit_are_refused_as_soon_as_they_come(backend):
    store = Store(backend, MD5, maybeDeferred, max_size=600_000)
    upload = store.upload()
    upload.write(b"x" * 600_000)
    with pytest.raises(TooLarge):
        upload.write(b"x")
    upload.abort()
    assert ([], 0) == (outcome(store.digests()), store.uploads_in_flight)


def test_too_many_uploads_at_once_are_refused_until_one_ends(store):
    store = Store(MemoryBackend(MD5), MD5, maybeDeferred, slots=UploadSlots(3))
    uploads = [store.upload() for _ in range(3)]
    for upload in uploads:
        upload.write(b"x" * 20_000)
    with pytest.raises(Overloaded):
        store.upload(length=20_000)
    assert isinstance(outcome(send(store, HELLO)), Overloaded)
    uploads[0].abort()
    uploads[1].commit()
    assert 1 == store.uploads_in_flight
    assert outcome(send(store, HELLO)).created
    store.upload(length=20_000).abort()
    uploads[2].abort()
    assert 0 == store.uploads_in_flight


def test_length_beyond_the_free_space_is_refused_at_once():
    store = Store(MemoryBackend(MD5, capacity=100), MD5, maybeDeferred)
    with pytest.raises(StorageFull):
        store.upload(length=101)
    assert outcome(send(store, b"x" * 100, length=100)).created
    with pytest.raises(StorageFull):
        store.upload()
    assert outcome(store.delete(digest_of(b"x" * 100)))
    assert outcome(send(store, b"y" * 100)).created


def test_free_space_is_refreshed_after_a_refusal():
    backend = MemoryBackend(MD5, capacity=100)
    bench = Workbench()
    store = Store(backend, MD5, bench)
    backend.put(digest_of(b"x" * 100), b"x" * 100)
    assert store.upload(length=100).abort() is None
    answer = send(store, b"y")
    bench.do_all()
    assert isinstance(outcome(answer), StorageFull)
    backend.delete(digest_of(b"x" * 100))
    with pytest.raises(StorageFull):
        store.upload()
    bench.do_all()
    store.upload().abort()


@pytest.mark.parametrize("size", [100, 600_000])
def test_a_disk_that_runs_full_under_an_upload_refuses_it_and_recovers(size):
    backend = MemoryBackend(MD5, capacity=90)
    store = Store(backend, MD5, maybeDeferred)
    assert isinstance(outcome(send(store, b"x" * size)), StorageFull)
    assert (None, 0) == (store.degraded, store.uploads_in_flight)
    assert outcome(send(store, b"x" * 90)).created


# --- a dying disk ----------------------------------------------------------------------------


def failing(name, code):
    """Calls of which one fails for good."""

    def fail(called, args):
        if called == name:
            raise OSError(code, os.strerror(code))

    return watched(fail)


@pytest.mark.parametrize(("name", "code"), [("write", errno.EIO), ("fsync", errno.EIO), ("link", errno.EIO)])
@pytest.mark.parametrize("size", [10, 600_000])
def test_an_input_output_error_suspends_writing_and_nothing_else(open_disk, name, code, size):
    clean = Store(open_disk(), MD5, maybeDeferred)
    outcome(send(clean, HELLO))
    store = Store(open_disk(failing(name, code)), MD5, maybeDeferred)
    with capturedLogs() as logged:
        assert code == outcome(send(store, b"x" * size)).errno
        with pytest.raises(WritesSuspended):
            store.upload()
    assert 1 == len([event for event in logged if "suspended" in event.get("log_format", "")])
    assert isinstance(outcome(store.delete(digest_of(HELLO))), WritesSuspended)
    assert os.strerror(code) in store.degraded
    blob = outcome(store.open(digest_of(HELLO)))
    assert 5 == blob.size
    blob.close()


def test_a_flush_of_a_directory_that_fails_for_any_reason_suspends_writing(open_disk):
    flushes = []

    def fail_second(name, args):
        if name == "fsync":
            flushes.append(args)
            if len(flushes) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = Store(open_disk(watched(fail_second)), MD5, maybeDeferred)
    refused = outcome(send(store, HELLO))
    assert (True, False) == (isinstance(refused, OSError), isinstance(refused, UploadRefused))
    assert "the store could not be flushed" in store.degraded
    assert 2 == len(flushes)


def test_lack_of_descriptors_is_an_overload(open_disk):
    outcome(send(Store(open_disk(), MD5, maybeDeferred), HELLO))
    disk, codes = None, []

    def fail(name, args):
        if name == "open" and codes:
            raise OSError(codes.pop(), "out of descriptors")

    disk = open_disk(watched(fail))
    store = Store(disk, MD5, maybeDeferred)
    codes.append(errno.EMFILE)
    assert isinstance(outcome(store.open(digest_of(HELLO))), Overloaded)
    codes.append(errno.EIO)
    assert errno.EIO == outcome(store.open(digest_of(HELLO))).errno
    assert store.degraded is None


# --- reading, deleting, counting -------------------------------------------------------------


def test_missing_file_is_not_found(store):
    assert isinstance(outcome(store.open(digest_of(HELLO))), NotFound)
    assert isinstance(outcome(store.open(digest_of(HELLO, algorithm("sha256")))), NotFound)
    assert outcome(store.delete(digest_of(HELLO))) is False


def test_statistics_count_operations(store):
    for data in (HELLO, HELLO, b"world!"):
        outcome(send(store, data))
    outcome(send(store, b"x", length=2))
    outcome(store.open(digest_of(HELLO))).close()
    outcome(store.open(digest_of(b"?")))
    outcome(store.delete(digest_of(HELLO)))
    counted = store.statistics
    assert (3, 16, 2, 1) == (counted.uploads, counted.uploaded_bytes, counted.created, counted.failed_uploads)
    assert (1, 1, 1) == (counted.opened, counted.not_found, counted.deleted)


def test_100_000_crafted_names_are_refused(disk):
    store = Store(disk, MD5, maybeDeferred)
    missed = 0
    for number in range(100_000):
        name = MD5.parse(f"{number:032x}")
        missed += isinstance(outcome(store.open(name)), NotFound)
    assert 100_000 == missed
