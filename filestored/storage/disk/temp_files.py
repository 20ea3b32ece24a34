"""Temp files: written without a name, made durable, then linked to their final name.

`TempFiles` opens files without a name (O_TMPFILE), so a process that dies leaves nothing behind. Where the
file system does not support that, files get a random name in ``tmp/`` and a lock (flock(2)) of their process;
`TempFiles.remove_stale` removes files of that form without a lock. The lock is shared, because the file is
also locked under its final name (`disk_expiry`).

Both kinds are linked through ``/proc/self/fd`` by linkat(2), which never replaces an existing name.

Rejected: ``rename``, which replaces; names with a process id, which are reused.
"""

import errno
import fcntl
import os
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from filestored.storage.disk.syscalls import CREATE_FLAGS, DIRECTORY_FLAGS, FILE_FLAGS, Syscalls, closed_after

TMP_DIR = "tmp"
"""Directory of temp files where O_TMPFILE is not supported."""

MODE = 0o440
"""Mode of a stored file: readable by the daemon's user and group, writable by none."""

WRITEBACK_BYTES = 8 * 1024 * 1024
"""Bytes after which writeback is started. Measured for 256 MiB: the fsync took 0.02 s instead of 0.13 s."""


class TempFile:
    """A temp file. Blocking; used by one thread at a time."""

    def __init__(self, descriptor: int, calls: Syscalls, name: str = "", directory: int = -1) -> None:
        self.descriptor = descriptor
        self._calls = calls
        self._name = name
        self._directory = directory
        self._size = 0
        self._begun = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append all of `data`, with as many writes as needed. Raises `OSError`."""
        rest = data
        while rest:
            written = self._calls.write(self.descriptor, rest)
            if not written:
                raise OSError(errno.EIO, "nothing was written")
            self._size += written
            if written == len(rest):
                break
            rest = memoryview(rest)[written:]
        if self._size - self._begun >= WRITEBACK_BYTES:
            self._begin_write_back()

    def seal(self, flush: bool = True, mode: int = MODE) -> None:
        """Set `mode`; fsync if `flush`. Raises `OSError`; the file must be discarded then."""
        self._calls.fchmod(self.descriptor, mode)
        if flush:
            self._calls.fsync(self.descriptor)

    def link(self, name: str, directory: int) -> None:
        """Link the file to a name in a directory. Raises `FileExistsError` or `OSError`."""
        path = f"/proc/self/fd/{self.descriptor}"
        self._calls.link(path, name, dst_dir_fd=directory, follow_symlinks=True)

    def discard(self) -> None:
        """Close the file; a linked name stays. Does not raise; idempotent."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor < 0:
            return
        if self._name:
            with suppress(OSError):
                self._calls.unlink(self._name, dir_fd=self._directory)
        with suppress(OSError):
            os.close(descriptor)

    def _begin_write_back(self) -> None:
        with suppress(OSError):  # the flush reports it
            self._calls.sync_file_range(self.descriptor, self._begun, self._size - self._begun)
        self._begun = self._size


class TempFiles:
    """Opens temp files of one store; `root` is the descriptor of its directory.

    A full or read-only disk does not tell whether it supports O_TMPFILE; then the next `open` probes again.
    """

    def __init__(self, root: int, calls: Syscalls) -> None:
        self._root = root
        self._calls = calls
        self._tmp: int | None = None  # -1 with O_TMPFILE, None while its support is unknown
        self._probe_lock = threading.Lock()
        with suppress(OSError):
            self._probe()

    def open(self) -> TempFile:
        """Open a new empty file. Raises `OSError`."""
        tmp = self._probe() if self._tmp is None else self._tmp
        if tmp < 0:
            return TempFile(self._calls.open(".", _UNNAMED, 0o600, dir_fd=self._root), self._calls)
        while True:
            try:
                temp_file = self._open_named(tmp)
            except FileNotFoundError:
                self._restore_tmp(tmp)
                temp_file = self._open_named(tmp)
            if temp_file:
                return temp_file

    @contextmanager
    def sealed(self, data: bytes) -> Iterator[TempFile]:
        """Open a sealed temp file with `data` for the context. Raises `OSError`."""
        temp_file = self.open()
        try:
            temp_file.write(data)
            temp_file.seal()
            yield temp_file
        finally:
            temp_file.discard()

    def remove_stale(self) -> None:
        """Remove unlocked files of `open` in ``tmp/``. Raises `OSError`."""
        for name, tmp in temp_names(self._root, self._calls):
            with suppress(OSError):  # it is removed at the next start
                remove_if_stale(name, tmp, self._calls)

    def close(self) -> None:
        """Close ``tmp/``, and forget the directory of the store."""
        tmp, self._tmp, self._root = self._tmp, -1, -1
        if tmp is not None and tmp >= 0:
            os.close(tmp)

    def _probe(self) -> int:
        """Return the descriptor of ``tmp/``; -1 where O_TMPFILE is supported. Raises `OSError`."""
        with self._probe_lock:
            if self._tmp is None:
                self._tmp = -1 if self._supports_unnamed() else self._open_tmp()
            return self._tmp

    def _supports_unnamed(self) -> bool:
        try:
            os.close(self._calls.open(".", _UNNAMED, 0o600, dir_fd=self._root))
        except OSError as error:
            if error.errno in _NO_TMPFILE:
                return False
            raise
        return True

    def _open_tmp(self) -> int:
        with suppress(FileExistsError):
            self._calls.mkdir(TMP_DIR, 0o700, dir_fd=self._root)
        return self._calls.open(TMP_DIR, DIRECTORY_FLAGS, dir_fd=self._root)

    def _restore_tmp(self, tmp: int) -> None:
        """Create ``tmp/`` again; dup2(2) keeps its descriptor number. Raises `OSError`."""
        with closed_after(self._open_tmp()) as replacement:
            os.dup2(replacement, tmp, inheritable=False)

    def _open_named(self, tmp: int) -> TempFile | None:
        """Open a locked file in ``tmp/``; None when it was removed before the lock."""
        name = secrets.token_hex(_NAME_BYTES)
        descriptor = self._calls.open(name, CREATE_FLAGS, 0o600, dir_fd=tmp)
        temp_file = TempFile(descriptor, self._calls, name, tmp)
        try:
            self._calls.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if self._calls.fstat(descriptor).st_nlink:
                return temp_file
        except BlockingIOError:
            pass
        except OSError:
            temp_file.discard()
            raise
        temp_file.discard()
        return None


def temp_names(root: int, calls: Syscalls) -> Iterator[tuple[str, int]]:
    """Yield the names in ``tmp/`` of the directory `root`, each with the open ``tmp/``. Raises `OSError`."""
    try:
        tmp = calls.open(TMP_DIR, DIRECTORY_FLAGS, dir_fd=root)
    except FileNotFoundError:
        return
    with closed_after(tmp):
        for name in filter(_NAME_PATTERN.fullmatch, os.listdir(tmp)):
            yield name, tmp


@contextmanager
def locked_if_stale(name: str, tmp: int, calls: Syscalls) -> Iterator[os.stat_result | None]:
    """Lock a temp file for the context, which is its status; None if its process runs, or if it is gone.

    Raises `OSError`.
    """
    try:
        descriptor = calls.open(name, FILE_FLAGS, dir_fd=tmp)
    except FileNotFoundError:
        yield None
        return
    with closed_after(descriptor):
        try:
            calls.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield calls.fstat(descriptor)


def remove_if_stale(name: str, tmp: int, calls: Syscalls) -> bool:
    """Remove a temp file whose process has ended; return whether it was removed. Raises `OSError`."""
    with locked_if_stale(name, tmp, calls) as status:
        if status is None:
            return False
        calls.unlink(name, dir_fd=tmp)
        return True


_UNNAMED = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
_NAME_BYTES = 16
_NAME_PATTERN = re.compile(f"[0-9a-f]{{{2 * _NAME_BYTES}}}")
_NO_TMPFILE = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}
