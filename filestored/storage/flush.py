"""One flush for everything: `syncfs(2)`, where its word can be trusted.

An `fsync` makes one file durable and costs a commit of the journal; `syncfs` makes a whole
file system durable and costs not much more. A batch of small uploads needs two flushes per file:
of its bytes, and of the directory with its name. For a crowd, `syncfs` takes the place of them all.

Its result must be as good as that of `fsync`. Linux reports failed write-back of any file since 5.8,
once to each descriptor through which one asks (so the store keeps one open from start to end);
errors of the file system's own flush, such as that of a journal, only since 5.17. Older
kernels are not asked. Nor are file systems other than those in `TRUSTED`: on FUSE, for one, the call succeeds
without a word to whoever keeps the bytes.

The price: what others have written to the same file system is flushed along. So a few files are
still flushed one by one.

Rejected: ``sync_file_range`` and then `fsync` (it flushes the disk once per file all the
same); many threads that call `fsync` at once (a third of the speed, five times the processor's time).
"""

import ctypes
import os
import re

TRUSTED = frozenset({"ext4", "xfs", "tmpfs"})
"""File systems that write everything and report every error when they are asked to.

After a shutdown each of them also fails every read of a regular file, which `root` relies on.
"""

SINCE = (5, 17)
"""The first Linux whose `syncfs` reports all errors that it meets."""


def syncfs(descriptor: int) -> None:
    """Make all of the file system durable on which `descriptor` is open. Blocking; raises `OSError`."""
    if _libc.syncfs(ctypes.c_int(descriptor)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def begin_write_back(descriptor: int, offset: int, count: int) -> None:
    """Have the disk begin to write a part of a file by `sync_file_range(2)`. A hint; raises `OSError`.

    An error that the disk meets then is not lost: only the flush at the end reports it.
    """
    arguments = ctypes.c_int(descriptor), ctypes.c_int64(offset), ctypes.c_int64(count)
    if _libc.sync_file_range(*arguments, ctypes.c_uint(_SYNC_FILE_RANGE_WRITE)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def can_be_trusted(device: int, release: str | None = None, mounts: str | None = None) -> bool:
    """Whether `syncfs` keeps what `fsync` promises on `device`, as `stat` numbers it.

    `release` is the kernel's, `mounts` the text of ``/proc/self/mountinfo`` (proc_pid_mountinfo(5)).
    """
    if _version(os.uname().release if release is None else release) < SINCE:
        return False
    if mounts is None:
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
                mounts = file.read()
        except OSError:
            return False
    return _kind_of(device, mounts) in TRUSTED


def _version(release: str) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", release)
    return tuple(map(int, found.groups())) if found else ()


def _kind_of(device: int, mounts: str) -> str | None:
    """The type of a mounted file system, None when it isn't listed under this number (as with btrfs)."""
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2:3] == [number]:
            return source.split()[0] if source else None
    return None


_SYNC_FILE_RANGE_WRITE = 2
_libc = ctypes.CDLL(None, use_errno=True)
"""A `CDLL` lets go of the interpreter's lock while it calls; a `PyDLL` would not."""
