"""Faults of each system call of each operation: an error, and a crash of the process before the call.

An operation is repeated on a real store until it makes all its calls without the fault. After each fault no
success is false, no descriptor and no file is left, and the next operation works or reports the suspension.
"""

import errno
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred

from filestored.errors import NotFound, Overloaded, StorageFull, WritesSuspended
from filestored.interfaces import UploadResult
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import SHARD_NAMES, prepare
from filestored.storage.health import ReadFailed
from filestored.storage.store import Store
from tests.storage.contract import MD5, digest_of, files_below, outcome, put, read, watched, without_tmpfile
from tests.storage.fault_injection import Fault, descriptors, in_a_child

pytestmark = pytest.mark.slow

CORRUPT = b"these bytes have another digest"


def upload(store: Store, data: bytes) -> "Deferred[Any]":
    started = store.upload(length=len(data))
    started.write(data)
    return started.commit()


def delete(store: Store, data: bytes) -> "Deferred[Any]":
    return store.delete(digest_of(data))


def look(store: Store, data: bytes) -> "Deferred[Any]":
    return store.open(digest_of(data)).addCallback(lambda blob: blob.close())


@dataclass(frozen=True)
class Operation:
    """An operation on a store that has `before` in place of the content of `size` bytes."""

    name: str
    act: "Callable[[Store, bytes], Deferred[Any]]"
    before: str = "nothing"
    size: int = 100

    def content(self, number: int) -> bytes:
        """Return other content for each attempt."""
        return (b"%d " % number).ljust(self.size, b".")

    def arrange(self, disk: DiskBackend, data: bytes) -> None:
        """Store the content that exists before."""
        if self.before != "nothing":
            put(disk, data if self.before == "the same" else CORRUPT, name=digest_of(data))


OPERATIONS = (
    Operation("a small upload", upload),
    Operation("a large upload", upload, size=600_000),
    Operation("a small upload of what is there", upload, before="the same"),
    Operation("a large upload of what is there", upload, before="the same", size=600_000),
    Operation("an upload that heals", upload, before="corrupt"),
    Operation("a delete", delete, before="the same"),
    Operation("an open", look, before="the same"),
)
PASSING = {errno.ENOSPC: StorageFull, errno.EMFILE: Overloaded}
KINDS = ("O_TMPFILE", "named", "one flush for all")


def calls_with(fault: Fault, kind: str):
    return watched(fault, without_tmpfile() if kind == "named" else None)


def batch_flush_min(kind: str) -> int:
    """Return 1 for the kind that flushes each batch at once."""
    return 1 if kind == "one flush for all" else sys.maxsize


def holding(backend: DiskBackend, data: bytes) -> bytes | None:
    try:
        return read(backend, digest_of(data))
    except NotFound:
        return None


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EMFILE], ids=errno.errorcode.get)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_failed_call_is_reported_and_leaves_no_file(open_disk, place, operation, kind, code):
    def fail() -> None:
        raise OSError(code, os.strerror(code))

    fault = Fault(fail)
    disk, clean = open_disk(calls_with(fault, kind), batch_flush_min=batch_flush_min(kind)), open_disk()
    number = 0
    while True:
        data = operation.content(number)
        operation.arrange(clean, data)
        store = Store(disk, MD5, maybeDeferred)
        held = descriptors()

        fault.arm(number)
        result = outcome(operation.act(store, data))
        struck = fault.disarm()

        assert (held, 0) == (descriptors(), store.uploads_in_flight)
        check_result(operation, result, code, store, holding(clean, data), data)
        if struck == "unlink":
            prepare(place)  # removes stale temp files
        assert [] == [name for name in files_below(place) if name.startswith(("tmp/", "."))]
        following = outcome_of_next(store, b"next %d" % number)
        assert isinstance(following, WritesSuspended if store.degraded else UploadResult)
        if not struck:
            break
        number += 1
    assert number > 1


def outcome_of_next(store: Store, data: bytes) -> Any:
    try:
        return outcome(upload(store, data))
    except WritesSuspended as error:
        return error


def check_result(operation, result, code, store, held, data) -> None:
    """Fail unless the result is true and is that of this error."""
    if isinstance(result, Exception):
        expected = OSError if operation.act is look and code != errno.EMFILE else PASSING.get(code, OSError)
        assert isinstance(result, (expected, ReadFailed)) or "could not be flushed" in str(result)
        assert held in (None, data, CORRUPT)
        if isinstance(result, ReadFailed) or operation.act is look:
            assert store.degraded is None
        else:
            assert store.degraded or code != errno.EIO
    elif operation.act is delete:
        assert (True, None) == (result, held)
    elif operation.act is upload:
        assert (digest_of(data), data) == (result.digest, held)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_crash_before_any_call_loses_no_acknowledged_file(open_disk, place, operation, kind):
    fault = Fault(lambda: os._exit(9))
    disk, clean = open_disk(calls_with(fault, kind), batch_flush_min=batch_flush_min(kind)), open_disk()
    number, died = 0, True
    while died:
        data = operation.content(number)
        operation.arrange(clean, data)

        def act(data: bytes = data, number: int = number) -> bool:
            fault.arm(number)
            result = outcome(operation.act(Store(disk, MD5, maybeDeferred), data))
            return not isinstance(result, Exception)

        died, acknowledged = in_a_child(act)
        prepare(place)
        held = holding(clean, data)
        assert held in (None, data, CORRUPT)
        if operation.before == "the same" and operation.act is not delete:
            assert data == held
        if acknowledged:
            assert (None if operation.act is delete else data) == held
        assert [] == [name for name in files_below(place) if name.startswith(("tmp/", "."))]
        number += 1
    assert acknowledged


@pytest.mark.parametrize("kind", KINDS)
def test_crash_during_prepare_is_repaired_by_the_next_prepare(tmp_path, kind):
    number, died = 0, True
    while died:
        place = str(tmp_path / str(number))
        fault = Fault(lambda: os._exit(9))

        def act(number: int = number, place: str = place, fault: Fault = fault) -> bool:
            fault.arm(number)
            return prepare(place, "sha1", calls_with(fault, kind)).name == "sha1"

        died, ready = in_a_child(act)
        assert prepare(place, "sha1").name == "sha1"
        left = set(os.listdir(place)) - {*SHARD_NAMES, "FORMAT", "quarantine", "tmp"}
        assert set() == left
        assert [] == files_below(place)
        # The 256 shards are created in one loop: only the first and the last few are tested.
        number += 240 if number == 12 else 1
    assert ready


def test_false_acknowledgement_of_a_child_is_detected(open_disk):
    """An acknowledgement without a file must not pass the check above."""
    disk = open_disk()
    assert (False, True) == in_a_child(lambda: True)
    assert holding(disk, b"never stored") is None


def test_files_are_regular_and_read_only(open_disk, place):
    put(open_disk(), b"one")
    prepare(place)
    (name,) = files_below(place)
    assert stat.S_IFREG | 0o440 == os.stat(f"{place}/{name}").st_mode
