"""Usage ledger on a disk: the file ``usage`` in the directory of a bucket, shared by all processes.

It holds a mark and two counters of 64 bits. Each change reads and writes them under an exclusive lock
(flock(2)), so that any number of processes keep one quota. A reader needs no lock.

Each process with an open ledger has a shared lock on ``usage.lock``. A process that gets the exclusive one is
alone, and counts all files before it goes on; others wait meanwhile. So the figure is exact after a restart,
whatever was killed before, and nothing has to be durable. The mark is missing during a count: if its process
dies, the next one counts.

Rejected: a memory map, which kills the process after an error of the disk.
"""

import errno
import fcntl
import os
import secrets
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from twisted.logger import Logger

from filestored.errors import StoreMissing
from filestored.interfaces import BucketLimits, IBackend, Usage
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.health import ReadFailed
from filestored.storage.limits.ledger import check_fits, total
from filestored.storage.limits.usage_count import count_usage

USAGE = "usage"
"""File of the counters."""

LOCK = "usage.lock"
"""File on which each process with an open ledger has a lock."""

MAX_RETRY_SECONDS = 0.02
"""Maximum time after which a process tries again to be alone, if a count was not completed."""

_COUNTED = b"counted\n"
_UNCOUNTED = bytes(8)
_MAX_COUNT = 1 << 60
_FORMAT = struct.Struct("<8sqq")
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC


class DiskUsage:
    """The ledger in the directory `path`, of the files in `backend`; see `Ledger`."""

    is_fresh = True
    _log = Logger()

    def __init__(self, path: str, backend: IBackend, calls: Syscalls | None = None) -> None:
        self.is_open = False
        self._path = path
        self._backend = backend
        self._calls = calls or Syscalls()
        self._opening = threading.Lock()
        self._lock = threading.Lock()
        self._closed = False
        self._descriptor = -1
        self._opened = ExitStack()
        self._owed = Usage(0, 0)

    def open(self) -> None:
        """Open both files; count if this process is alone."""
        if self.is_open:
            return
        with self._opening:
            if self.is_open or self._closed:
                return
            with ExitStack() as opened:
                self._descriptor = self._open_file(USAGE, opened)
                self._join(self._open_file(LOCK, opened))
                self._opened = opened.pop_all()
            self.is_open = True

    def close(self) -> None:
        """Close both files."""
        with self._opening, self._lock:
            self.is_open = False
            self._closed = True
            self._opened.close()

    def cached(self) -> Usage:
        """Read the counters by one pread(2) of a cached page, without a lock."""
        return self._read()

    def current(self, max_age: float = 0.0) -> Usage:
        """Read the counters; they are always those of now."""
        with self._lock:
            return self._read() if self.is_open else Usage(0, 0)

    def reserve(self, size: int, limits: BucketLimits) -> None:
        """Add a file under the lock."""
        with self._lock:
            if self.is_open:
                self._change(Usage(1, size), partial(check_fits, size=size, limits=limits))

    def add(self, change: Usage) -> None:
        """Add under the lock; after an error the change is made with the next one."""
        with self._lock:
            if not self.is_open:
                return
            try:
                self._change(change)
            except OSError as error:
                self._owed = total(self._owed, change)
                self._log.error("the usage of a bucket was not recorded: {reason}", reason=str(error))

    def _open_file(self, name: str, opened: ExitStack) -> int:
        try:
            descriptor = self._calls.open(os.path.join(self._path, name), _FLAGS, 0o600)
        except FileNotFoundError:
            raise StoreMissing from None
        opened.callback(os.close, descriptor)
        return descriptor

    def _join(self, presence: int) -> None:
        """Lock the presence (shared), with counters that are complete. Waits for the count of another."""
        while True:
            if self._is_alone(presence):
                self._write(_UNCOUNTED, Usage(0, 0))
                self._write(_COUNTED, count_usage(self._backend))
                self._calls.flock(presence, fcntl.LOCK_SH)
                return
            self._calls.flock(presence, fcntl.LOCK_SH)
            if self._is_counted():
                return
            self._calls.flock(presence, fcntl.LOCK_UN)
            time.sleep(MAX_RETRY_SECONDS * secrets.randbelow(100) / 100)

    def _is_alone(self, presence: int) -> bool:
        try:
            self._calls.flock(presence, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _change(self, change: Usage, check: Callable[[Usage], None] = lambda _: None) -> None:
        """Change the counters if `check` accepts the present ones. Raises what that raises, or `OSError`."""
        self._calls.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            usage = total(self._read(), self._owed)
            check(usage)
            self._write(_COUNTED, total(usage, change))
            self._owed = Usage(0, 0)
        finally:
            self._calls.flock(self._descriptor, fcntl.LOCK_UN)

    def _is_counted(self) -> bool:
        """Return whether the last count was completed."""
        return self._calls.pread(self._descriptor, len(_COUNTED), 0) == _COUNTED

    def _read(self) -> Usage:
        """Return the counters. Raises `OSError`."""
        data = self._calls.pread(self._descriptor, _FORMAT.size, 0)
        if len(data) == _FORMAT.size:
            mark, files, size = _FORMAT.unpack(data)
            if mark == _COUNTED and max(abs(files), abs(size)) <= _MAX_COUNT:
                return Usage(files, size)
        raise ReadFailed(errno.EBADMSG, f"{self._path}/{USAGE} is damaged; a restart counts the files")

    def _write(self, mark: bytes, usage: Usage) -> None:
        self._calls.pwrite(self._descriptor, _FORMAT.pack(mark, *usage), 0)


class UncountedDiskUsage(DiskUsage):
    """The same ledger for a process that only removes files, and counts none if it is alone.

    Then it keeps the exclusive lock: other processes wait for its end, and count. So it should end soon.
    """

    _alone = False

    def add(self, change: Usage) -> None:
        """Add as `DiskUsage.add`; nothing has to be recorded before a count."""
        if not self._alone:
            super().add(change)

    def _join(self, presence: int) -> None:
        self._alone = self._is_alone(presence)
        if self._alone:
            self._write(_UNCOUNTED, Usage(0, 0))
        else:
            super()._join(presence)
