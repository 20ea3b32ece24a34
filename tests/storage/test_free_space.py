"""The reserve is kept while uploads are written, whatever length they announced."""

import dataclasses
import errno
import os

import pytest
from twisted.internet.defer import maybeDeferred

from filestored.errors import StorageFull
from filestored.images.blob_ids import UNIQUE_SHA256
from filestored.images.gzip_backend import GzipBackend
from filestored.interfaces import UploadResult
from filestored.storage.admission import CHECK_INTERVAL_BYTES
from filestored.storage.store import Store
from tests.storage.contract import MD5, files_below, outcome, watched

PIECE = os.urandom(1024 * 1024)
UPLOADS = 6
ROOM = 32 * len(PIECE)
RESERVED_BYTES = 64 * len(PIECE)


class SmallDisk:
    """A file system of `ROOM` and `RESERVED_BYTES` bytes. What was written once stays taken."""

    def __init__(self):
        self.written = 0
        self.broken = False
        self.calls = dataclasses.replace(watched(self._watch), fstatvfs=self._fstatvfs)

    def _watch(self, name, args):
        if name == "write":
            self.written += len(args[1])

    def _fstatvfs(self, descriptor):
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        free = max(0, ROOM + RESERVED_BYTES - self.written)
        return os.statvfs_result((1, 1, ROOM + RESERVED_BYTES, free, free, 0, 0, 0, 0, 255))


@pytest.fixture
def small():
    return SmallDisk()


def upload_at_once(store, lengths, pieces=20):
    """Write to several uploads in turn, then commit each: the outcomes."""
    uploads = [store.upload(length=length) for length in lengths]
    for _ in range(pieces):
        for upload in uploads:
            upload.write(PIECE)
    return [outcome(upload.commit()) for upload in uploads]


@pytest.mark.parametrize("pack", [lambda disk: disk, GzipBackend], ids=["files", "images"])
def test_uploads_of_unknown_length_keep_the_reserve_free(open_disk, place, small, pack):
    store = Store(pack(open_disk(small.calls, reserve=RESERVED_BYTES)), UNIQUE_SHA256, maybeDeferred)
    answers = upload_at_once(store, [None] * UPLOADS)
    assert {StorageFull} == set(map(type, answers))
    assert ROOM <= small.written <= ROOM + CHECK_INTERVAL_BYTES + UPLOADS * len(PIECE)
    assert ([], None) == (files_below(place), store.degraded)


def test_the_bytes_of_a_refused_upload_are_freed_before_its_end(open_disk, place, small):
    store = Store(open_disk(small.calls, reserve=RESERVED_BYTES), MD5, maybeDeferred)
    upload = store.upload()
    held = len(os.listdir("/proc/self/fd"))
    for _ in range(60):
        upload.write(PIECE)
    assert held == len(os.listdir("/proc/self/fd"))
    assert isinstance(outcome(upload.commit()), StorageFull)


def test_upload_continues_after_space_was_freed(open_disk, small):
    store = Store(open_disk(small.calls, reserve=RESERVED_BYTES), MD5, maybeDeferred)
    assert isinstance(upload_at_once(store, [None], 60)[0], StorageFull)
    small.written = 0
    with pytest.raises(StorageFull):
        store.upload()  # the last figure counts, and has a new one made
    assert isinstance(upload_at_once(store, [None])[0], UploadResult)


def test_announced_length_reserves_no_space(open_disk, small):
    store = Store(open_disk(small.calls, reserve=RESERVED_BYTES), MD5, maybeDeferred)
    slow = [store.upload(length=ROOM) for _ in range(UPLOADS)]
    assert isinstance(upload_at_once(store, [20 * len(PIECE)])[0], UploadResult)
    for each in slow:
        each.abort()
    assert 0 == store.uploads_in_flight


def test_error_of_the_free_space_check_fails_the_upload(open_disk, small, place):
    store = Store(open_disk(small.calls, reserve=RESERVED_BYTES), MD5, maybeDeferred)
    small.broken = True
    assert errno.EIO == upload_at_once(store, [None])[0].errno
    assert [] == files_below(place)
