"""Expiry on a disk: renewal and deletion of stored files by modification time, under locks (flock(2)).

The time of the last upload is the modification time. It is set under a shared lock of the file, and an
expired file is unlinked under the exclusive one::

    upload                             sweep
    open, lock (shared)                open, lock (exclusive, if it is free)
    does the name lead to the file?    does the name lead to the file, and is it old?
    set the time, flush it             unlink
    unlock                             unlock

Each lock comes before the look at the name. So no acknowledged upload is lost:

- the sweep has the lock first: the upload finds another file or none, and is published again
- the upload has the lock first: the sweep finds a new time. That is on disk before the upload is acknowledged

`DiskBackend.delete` and `DiskSink` hold the shared lock, too, while they remove a name. So a name cannot lead
to a new file between the look of a sweep and its unlink(2), and a new file needs no renewal.

The deletions are not flushed. A flush by the sweep could consume an error that the flush of an upload has to
see. After a power failure an expired file may be back until the next sweep.
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager

from filestored.storage.disk.syscalls import FILE_FLAGS, Syscalls, closed_after
from filestored.storage.health import LACKING

SWEEP_FILE = ".expiry"
"""File in a store that is locked by the process that sweeps; its modification time is that of the sweep."""

_SWEEP_FILE_FLAGS = FILE_FLAGS | os.O_CREAT


def renew(name: str, shard: int, calls: Syscalls) -> bool:
    """Set the time of a file to now, durably; return False if it was removed. Raises `OSError`."""
    try:
        descriptor = calls.open(name, FILE_FLAGS, dir_fd=shard)
    except FileNotFoundError:
        return False
    with closed_after(descriptor):
        calls.flock(descriptor, fcntl.LOCK_SH)
        if not _leads_to(name, shard, calls.fstat(descriptor), calls):
            return False
        calls.utime(descriptor)
        calls.fsync(descriptor)
        return True


def unlink_expired(name: str, shard: int, before: float, calls: Syscalls) -> bool:
    """Unlink a file if its time is `before` that; return whether it was. Raises `OSError`.

    A file whose lock is held is left for the next sweep.
    """
    try:
        descriptor = calls.open(name, FILE_FLAGS, dir_fd=shard)
    except FileNotFoundError:
        return False
    with closed_after(descriptor):
        try:
            calls.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        status = calls.fstat(descriptor)
        is_old = stat.S_ISREG(status.st_mode) and status.st_mtime < before
        if is_old and _leads_to(name, shard, status, calls):
            calls.unlink(name, dir_fd=shard)
            return True
        return False


@contextmanager
def locked_name(name: str, shard: int, calls: Syscalls) -> Iterator[None]:
    """Hold the shared lock of a file while its name is removed.

    Without a lock, if the file cannot be opened: no sweep can open it either. Raises `FileNotFoundError`, or
    `OSError` for lack of descriptors.
    """
    while (descriptor := _open_to_remove(name, shard, calls)) is not None:
        with closed_after(descriptor):
            calls.flock(descriptor, fcntl.LOCK_SH)
            if _leads_to(name, shard, calls.fstat(descriptor), calls):
                yield
                return
    yield


@contextmanager
def claimed_sweep(root: int, interval: float, calls: Syscalls) -> Iterator[float | None]:
    """Lock `SWEEP_FILE` for the context, which is the time of the file system; see `IExpiringBackend`.

    Raises `OSError`.
    """
    with closed_after(calls.open(SWEEP_FILE, _SWEEP_FILE_FLAGS, 0o600, dir_fd=root)) as descriptor:
        try:
            calls.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        if abs(time.time() - calls.fstat(descriptor).st_mtime) < interval:
            yield None
            return
        calls.utime(descriptor)
        yield calls.fstat(descriptor).st_mtime


def _open_to_remove(name: str, shard: int, calls: Syscalls) -> int | None:
    """Open a file; None if that is impossible. Raises as `locked_name`."""
    try:
        return calls.open(name, FILE_FLAGS, dir_fd=shard)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in LACKING:
            raise
        return None


def _leads_to(name: str, shard: int, opened: os.stat_result, calls: Syscalls) -> bool:
    """Return whether the name leads to the open file. Raises `OSError`."""
    try:
        return os.path.samestat(opened, calls.stat(name, dir_fd=shard, follow_symlinks=False))
    except FileNotFoundError:
        return False
