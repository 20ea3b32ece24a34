"""System calls of the disk backend as one replaceable value: the seam for fault injection.

The disk backend reaches the file system through `Syscalls` alone (except ``close``, which changes nothing).
Tests replace a field to fail a call, to stop the process behind it, or to check the order of calls. The flags
of open(2) are here, and `regular_status`, which tells a regular file from others.

Names on disk are UTF-8, whatever the locale: `encode_name` and `decode_name` convert them.

`syncfs` flushes a whole file system with one call; `syncfs_is_reliable` tells where it reports every error.

Rejected: patching `os` in tests, which also affects the calls of pytest.
"""

import ctypes
import errno
import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from filestored.errors import NotFound
from filestored.metrics.timing import OnDuration, timed

FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Flags for opening a regular file: follow no link, do not block on a FIFO."""

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags for opening a directory; follow no link."""

CREATE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags for creating a regular file; never opens an existing one."""

NO_FILE_ERRNOS = frozenset({errno.ENOENT, errno.ELOOP, errno.ENXIO})
"""Errors of open(2): missing; a symbolic link; a socket, or a device without a driver."""

RELIABLE_FILE_SYSTEMS = frozenset({"ext4", "xfs", "tmpfs"})
"""File systems that write everything and report every error when they are asked to.

After a shutdown each of them also fails every read of a regular file, which `StoreRoot.flush` relies on.
"""

MIN_KERNEL = (5, 17)
"""The first Linux whose `syncfs` reports all errors that it meets."""

_SYNC_FILE_RANGE_WRITE = 2
_libc = ctypes.CDLL(None, use_errno=True)
"""A `CDLL` releases the GIL during a call; a `PyDLL` does not."""


def syncfs(descriptor: int) -> None:
    """Make all of the file system durable on which `descriptor` is open. Blocking; raises `OSError`."""
    if _libc.syncfs(ctypes.c_int(descriptor)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def sync_file_range(descriptor: int, offset: int, count: int) -> None:
    """Start writing a range of a file to the disk (sync_file_range(2)). A hint; raises `OSError`.

    An error of the disk is reported by the flush at the end, not here.
    """
    arguments = ctypes.c_int(descriptor), ctypes.c_int64(offset), ctypes.c_int64(count)
    if _libc.sync_file_range(*arguments, ctypes.c_uint(_SYNC_FILE_RANGE_WRITE)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@dataclass(frozen=True, slots=True)
class Syscalls:
    """One function per system call; each is called, and raises `OSError`, as the original."""

    open: Callable[..., int] = os.open
    write: Callable[..., int] = os.write
    pread: Callable[..., bytes] = os.pread
    preadv: Callable[..., int] = os.preadv
    pwrite: Callable[..., int] = os.pwrite
    fstat: Callable[..., os.stat_result] = os.fstat
    stat: Callable[..., os.stat_result] = os.stat
    fstatvfs: Callable[..., os.statvfs_result] = os.fstatvfs
    scandir: Callable[..., Any] = os.scandir
    fchmod: Callable[..., None] = os.fchmod
    utime: Callable[..., None] = os.utime
    fsync: Callable[..., None] = os.fsync
    ftruncate: Callable[..., None] = os.ftruncate
    syncfs: Callable[[int], None] = syncfs
    sync_file_range: Callable[[int, int, int], None] = sync_file_range
    link: Callable[..., None] = os.link
    rename: Callable[..., None] = os.rename
    unlink: Callable[..., None] = os.unlink
    mkdir: Callable[..., None] = os.mkdir
    flock: Callable[..., None] = fcntl.flock


def with_timed_flushes(record: OnDuration) -> Syscalls:
    """Return the system calls, of which `record` receives the durations of each fsync and syncfs."""
    return Syscalls(fsync=timed(record, os.fsync), syncfs=timed(record, syncfs))


def encode_name(name: str) -> str:
    """Return the string that `os` writes to disk as the UTF-8 of `name`. Raises `ValueError` for surrogates.

    In a UTF-8 locale that is `name` itself.
    """
    return os.fsdecode(name.encode("utf-8"))


def decode_name(name: str) -> str | None:
    """Return the text of a name that `os` has read from disk; None if it is not UTF-8 there."""
    try:
        return os.fsencode(name).decode("utf-8")
    except UnicodeDecodeError:
        return None


@contextmanager
def closed_after(descriptor: int) -> Iterator[int]:
    """Close `descriptor` at the end of the context."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def regular_status(descriptor: int, calls: Syscalls) -> os.stat_result:
    """Return the status of a regular file just opened. Raises `NotFound` or `OSError` and closes it."""
    try:
        status = calls.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotFound
    except BaseException:
        os.close(descriptor)
        raise
    return status


def syncfs_is_reliable(device: int, release: str | None = None, mounts: str | None = None) -> bool:
    """Return whether `syncfs` promises as much as `fsync` on `device`, which is an st_dev.

    `release` is the kernel's, `mounts` the text of ``/proc/self/mountinfo`` (proc_pid_mountinfo(5)).
    """
    if _version(os.uname().release if release is None else release) < MIN_KERNEL:
        return False
    if mounts is None:
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
                mounts = file.read()
        except OSError:
            return False
    return _kind_of(device, mounts) in RELIABLE_FILE_SYSTEMS


def _version(release: str) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", release)
    return tuple(map(int, found.groups())) if found else ()


def _kind_of(device: int, mounts: str) -> str | None:
    """Return the type of a mounted file system; None when this number is not listed (as with btrfs)."""
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2:3] == [number]:
            return source.split()[0] if source else None
    return None
