"""Files that have no name yet: written first, made durable, and only then linked to a name.

A `TempFile` is such a file. It comes from a `TempFiles`, which asks the file system for files
without any name (``O_TMPFILE``): a process that dies leaves nothing behind then. Where that
does not work, files get a random name in ``tmp/`` and a lock (`flock`) that lives as long as
their owner; `TempFiles.remove_stale` removes those without a lock, and no file with a name of another form.

Both kinds get their final name through ``/proc/self/fd``, by `linkat(2)`, which never
replaces what has that name already.

Rejected: ``rename``, which replaces; names with the owner's process id, which come round.
"""

import errno
import fcntl
import os
import re
import secrets
import threading
from contextlib import suppress

from filestored.storage.disk.syscalls import Syscalls

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a directory is opened that must be one itself, and not a link to one."""

TMP_DIR = "tmp"
"""The name of the directory for files that cannot do without a name."""

MODE = 0o440
"""The mode of a stored file: read by the daemon's user and group, written by nobody."""

WRITEBACK_BYTES = 8 * 1024 * 1024
"""Bytes that are worth telling the disk to begin. Measured: of 256 MiB, the flush took 0.02 s, not 0.13 s."""


class TempFile:
    """A file on its way to a name. Blocking; used by one thread at a time."""

    def __init__(self, descriptor: int, calls: Syscalls, name: str = "", directory: int = -1) -> None:
        self.descriptor = descriptor
        self._calls = calls
        self._name = name
        self._directory = directory
        self._size = 0
        self._begun = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append all of `data`, however short the writes are that the system makes."""
        rest = memoryview(data)
        while rest:
            written = self._calls.write(self.descriptor, rest)
            if not written:
                raise OSError(errno.EIO, "nothing was written")
            rest = rest[written:]
            self._size += written
        self._begin_write_back()

    def seal(self, mode: int = MODE, *, flush: bool = True) -> None:
        """Allow no more than `mode`, and make the bytes durable if `flush` says so.

        After a failure the file is of no use.
        """
        self._calls.fchmod(self.descriptor, mode)
        if flush:
            self._calls.fsync(self.descriptor)

    def link(self, name: str, directory: int) -> None:
        """Give the file a name in a directory; raises `FileExistsError` when that is taken."""
        path = f"/proc/self/fd/{self.descriptor}"
        self._calls.link(path, name, dst_dir_fd=directory, follow_symlinks=True)

    def discard(self) -> None:
        """Let go of the file; what was linked stays. Never raises; also allowed twice."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor < 0:
            return
        if self._name:
            with suppress(OSError):
                self._calls.unlink(self._name, dir_fd=self._directory)
        with suppress(OSError):
            os.close(descriptor)

    def _begin_write_back(self) -> None:
        """Leave the flush at the end little to do."""
        if self._size - self._begun >= WRITEBACK_BYTES:
            with suppress(OSError):  # the flush will tell
                self._calls.sync_file_range(self.descriptor, self._begun, self._size - self._begun)
            self._begun = self._size


class TempFiles:
    """Where the scratch files of one store come from. `root` is the descriptor of its directory.

    A full or read-only disk does not say whether it has ``O_TMPFILE``; then the next `open` asks again.
    """

    def __init__(self, root: int, calls: Syscalls) -> None:
        self._root = root
        self._calls = calls
        self._tmp: int | None = None  # -1 where files do without a name, None while that is unknown
        self._probe_lock = threading.Lock()
        with suppress(OSError):
            self._probe()

    def open(self) -> TempFile:
        """A new empty file. Raises `OSError`."""
        tmp = self._probe() if self._tmp is None else self._tmp
        if tmp < 0:
            return TempFile(self._open_unnamed(), self._calls)
        while True:
            try:
                temp_file = self._open_named(tmp)
            except FileNotFoundError:
                self._restore_tmp(tmp)
                temp_file = self._open_named(tmp)
            if temp_file:
                return temp_file

    def remove_stale(self) -> None:
        """Remove the files in ``tmp/`` that are named as by `open` and not locked. Raises `OSError`."""
        try:
            tmp = self._calls.open(TMP_DIR, DIRECTORY_FLAGS, dir_fd=self._root)
        except FileNotFoundError:
            return
        try:
            for name in filter(_NAME_PATTERN.fullmatch, os.listdir(tmp)):
                self._remove_if_stale(name, tmp)
        finally:
            os.close(tmp)

    def close(self) -> None:
        """Let go of ``tmp/``."""
        tmp, self._tmp = self._tmp, -1
        if tmp is not None and tmp >= 0:
            os.close(tmp)

    def _probe(self) -> int:
        """The descriptor of ``tmp/``, -1 where files do without a name. Raises `OSError`."""
        with self._probe_lock:
            if self._tmp is None:
                self._tmp = -1 if self._supports_unnamed() else self._open_tmp()
            return self._tmp

    def _supports_unnamed(self) -> bool:
        try:
            os.close(self._open_unnamed())
        except OSError as error:
            if error.errno in _NO_TMPFILE:
                return False
            raise
        return True

    def _open_unnamed(self) -> int:
        return self._calls.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=self._root)

    def _open_tmp(self) -> int:
        with suppress(FileExistsError):
            self._calls.mkdir(TMP_DIR, 0o700, dir_fd=self._root)
        return self._calls.open(TMP_DIR, DIRECTORY_FLAGS, dir_fd=self._root)

    def _restore_tmp(self, tmp: int) -> None:
        """Make ``tmp/`` anew after it was removed; its descriptor keeps its number. Raises `OSError`."""
        replacement = self._open_tmp()
        try:
            os.dup2(replacement, tmp, inheritable=False)
        finally:
            os.close(replacement)

    def _open_named(self, tmp: int) -> TempFile | None:
        """A locked file in ``tmp/``, or None when a sweep was faster than our lock."""
        name = secrets.token_hex(_NAME_BYTES)
        descriptor = self._calls.open(name, _CREATE, 0o600, dir_fd=tmp)
        temp_file = TempFile(descriptor, self._calls, name, tmp)
        try:
            self._calls.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._calls.fstat(descriptor).st_nlink:
                return temp_file
        except BlockingIOError:
            pass
        except OSError:
            temp_file.discard()
            raise
        temp_file.discard()
        return None

    def _remove_if_stale(self, name: str, tmp: int) -> None:
        try:
            descriptor = self._calls.open(name, _INSPECT, dir_fd=tmp)
        except OSError:
            return
        try:
            self._calls.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._calls.unlink(name, dir_fd=tmp)
        except OSError:
            pass  # it has a living owner, or the next start will remove it
        finally:
            os.close(descriptor)


_NAME_BYTES = 16
_NAME_PATTERN = re.compile(f"[0-9a-f]{{{2 * _NAME_BYTES}}}")
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_INSPECT = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_TMPFILE = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}
