"""Every system call of every operation fails once; and the process dies once before each of them.

An operation is done on a real store until it has made all its calls without the fault. After
each fault: no success that is none, no descriptor lost, nothing left behind, and the next
operation works, or says that writing is suspended.
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
    """Something done to a store that has `before` in place of the content, of `size` bytes."""

    name: str
    act: "Callable[[Store, bytes], Deferred[Any]]"
    before: str = "nothing"
    size: int = 100

    def content(self, number: int) -> bytes:
        """Another content for each try."""
        return (b"%d " % number).ljust(self.size, b".")

    def arrange(self, disk: DiskBackend, data: bytes) -> None:
        """Put there what is there before."""
        if self.before != "nothing":
            put(disk, data if self.before == "the same" else CORRUPT, name=digest_of(data))


OPERATIONS = (
    Operation("a small upload", upload),
    Operation("a large upload", upload, size=600_000),
    Operation("a small upload of what is there", upload, before="the same"),
    Operation("a large upload of what is there", upload, before="the same", size=600_000),
    Operation("an upload that heals", upload, before="rotten"),
    Operation("a delete", delete, before="the same"),
    Operation("an open", look, before="the same"),
)
PASSING = {errno.ENOSPC: StorageFull, errno.EMFILE: Overloaded}
MEDIA_TYPES = ("O_TMPFILE", "named", "one flush for all")


class Fault:
    """Does something before the call with the number `at`; counts from the moment it is armed."""

    def __init__(self, do: Callable[[], None]) -> None:
        self.do = do
        self.at = self.count = -1
        self.struck = ""

    def arm(self, at: int) -> None:
        self.at, self.count, self.struck = at, 0, ""

    def __call__(self, name: str, args: tuple[Any, ...]) -> None:
        if self.at >= 0:
            self.count += 1
            if self.count == self.at + 1:
                self.struck = name
                self.do()

    def disarm(self) -> str:
        """The name of the call that was struck, if the operation got as far as that."""
        self.at = -1
        return self.struck


def calls_with(fault: Fault, kind: str):
    return watched(fault, without_tmpfile() if kind == "named" else None)


def crowd_of(kind: str) -> int:
    """One is a crowd where the flush for all is to be tried."""
    return 1 if kind == "one flush for all" else sys.maxsize


def holding(backend: DiskBackend, data: bytes) -> bytes | None:
    try:
        return read(backend, digest_of(data))
    except NotFound:
        return None


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EMFILE], ids=errno.errorcode.get)
@pytest.mark.parametrize("kind", MEDIA_TYPES)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_call_that_fails_is_reported_and_leaves_nothing_behind(open_disk, place, operation, kind, code):
    def fail() -> None:
        raise OSError(code, os.strerror(code))

    fault = Fault(fail)
    disk, clean = open_disk(calls_with(fault, kind), batch_flush_min=crowd_of(kind)), open_disk()
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
        judge(operation, result, code, store, holding(clean, data), data)
        if struck == "unlink":
            prepare(place)  # what could not be unlinked goes with the next start
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


def judge(operation, result, code, store, held, data) -> None:
    """Fail unless this answer is true, and the one for this error."""
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


@pytest.mark.parametrize("kind", MEDIA_TYPES)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_death_before_any_call_loses_nothing_that_was_acknowledged(open_disk, place, operation, kind):
    fault = Fault(lambda: os._exit(9))
    disk, clean = open_disk(calls_with(fault, kind), batch_flush_min=crowd_of(kind)), open_disk()
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


@pytest.mark.parametrize("kind", MEDIA_TYPES)
def test_a_death_before_any_call_of_the_start_is_mended_by_the_next_start(tmp_path, kind):
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
        # Of the 256 shards, made in one loop, the first and the last few stand for all.
        number += 240 if number == 12 else 1
    assert ready


def in_a_child(act: Callable[[], bool]) -> tuple[bool, bool]:
    """Whether a child process that does it dies of the fault, and whether it said that it had done it."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if act() else 1)
        except BaseException:
            os._exit(2)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9, status == 0


def test_a_child_that_only_says_it_has_stored_something_would_be_found_out(open_disk):
    """The twin: an acknowledgement without a file must not pass the check above."""
    disk = open_disk()
    assert (False, True) == in_a_child(lambda: True)
    assert holding(disk, b"never stored") is None


def test_files_are_regular_and_read_only_after_every_start(open_disk, place):
    put(open_disk(), b"one")
    prepare(place)
    (name,) = files_below(place)
    assert stat.S_IFREG | 0o440 == os.stat(f"{place}/{name}").st_mode
