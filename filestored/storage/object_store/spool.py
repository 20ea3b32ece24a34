"""Spool: the content of an upload until it is sent to the object store. Blocking.

Content of up to `MAX_MEMORY_BYTES` stays in memory, as long as all uploads of a `Spool` together hold no more
than `MAX_TOTAL_MEMORY_BYTES`. Other content is written to a file without a name (O_TMPFILE), which
leaves nothing behind when its process dies. It is sent from a memory map, so it is not copied. While files
are mapped, a thread drops their pages from the memory of the process now and then: they count as its memory,
though the kernel could take them back.
"""

import errno
import mmap
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from filestored.errors import EngineError, UnusableStore
from filestored.storage.admission import CHECK_INTERVAL_BYTES, free_bytes
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.disk.temp_files import TempFile
from filestored.storage.health import FULL, LACKING
from filestored.storage.thread_pool import DaemonThread

MAX_MEMORY_BYTES = 1024 * 1024
"""Maximum size of content that is kept in memory."""

MAX_TOTAL_MEMORY_BYTES = 8 * 1024 * 1024
"""Maximum size of all content in memory, in one `Spool`; files and images have one each."""

DROP_INTERVAL_SECONDS = 0.1
"""Interval at which mapped pages are dropped."""

_UNNAMED = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC


def check(directory: str) -> None:
    """Raise `UnusableStore` unless files without a name can be made in `directory`."""
    try:
        os.close(os.open(directory, _UNNAMED, 0o600))
    except OSError as error:
        raise UnusableStore(
            f"--spool: no temporary file can be made in {directory}: {error.strerror}; name another directory"
        ) from None


class Spool:
    """Opens `SpooledContent` in `directory`; `reserve` as for `free_bytes`. Thread-safe."""

    def __init__(self, directory: str, reserve: int | None = None, calls: Syscalls | None = None) -> None:
        self.directory = directory
        self._reserve = reserve
        self._calls = calls or Syscalls()
        self._lock = threading.Lock()
        self._in_memory = 0
        self._mapped: set[mmap.mmap] = set()
        self._is_dropping = False

    def open(self) -> "SpooledContent":
        """Return new, empty content."""
        return SpooledContent(self)

    def free_space(self) -> int:
        """Return the free space of the directory in bytes, less the reserve. Raises `EngineError`."""
        with self.errors():
            return free_bytes(os.statvfs(self.directory), self._reserve)

    def check_space(self) -> None:
        """Raise `OSError` (ENOSPC) when only the reserve is free."""
        if not self.free_space():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open_file(self) -> TempFile:
        """Return a new file without a name. Raises `OSError`."""
        self.check_space()
        return TempFile(self._calls.open(self.directory, _UNNAMED, 0o600), self._calls)

    def map_file(self, descriptor: int, size: int) -> mmap.mmap:
        """Return a map of a file, for `unmap`. Raises `OSError`."""
        mapped = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
        with self._lock:
            self._mapped.add(mapped)
            if not self._is_dropping:
                DaemonThread(target=self._drop_pages, name="filestored-spool").start()
                self._is_dropping = True
        return mapped

    def unmap(self, mapped: mmap.mmap) -> None:
        """Forget a map; it ends with the last reference to it."""
        with self._lock:
            self._mapped.discard(mapped)

    def _drop_pages(self) -> None:
        """Drop mapped pages from memory until no file is mapped."""
        while True:
            time.sleep(DROP_INTERVAL_SECONDS)
            with self._lock:
                for mapped in self._mapped:
                    mapped.madvise(mmap.MADV_DONTNEED)
                if not self._mapped:
                    self._is_dropping = False
                    return

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Convert errors of a faulty disk within the context: the object store is not the cause."""
        try:
            yield
        except OSError as error:
            if error.errno in FULL or error.errno in LACKING:
                raise
            raise EngineError(f"the spool {self.directory} failed: {error.strerror}") from None

    def hold(self, count: int) -> bool:
        """Count bytes of content in memory, if they are few enough; return whether they are."""
        with self._lock:
            if self._in_memory + count > MAX_TOTAL_MEMORY_BYTES:
                return False
            self._in_memory += count
            return True

    def release(self, count: int) -> None:
        """Count bytes that are no longer in memory."""
        with self._lock:
            self._in_memory -= count


class SpooledContent:
    """The content of one upload, `size` bytes. Used by one thread at a time."""

    def __init__(self, spool: Spool) -> None:
        self.size = 0
        self._spool = spool
        self._pieces: list[bytes] = []
        self._file: TempFile | None = None
        self._map: mmap.mmap | None = None
        self._unchecked = 0

    @property
    def in_memory(self) -> bool:
        """True if there is no file."""
        return self._file is None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`. Raises `EngineError`, or `OSError` when space or descriptors are lacking."""
        count = len(data)
        if self._file is None and self.size + count <= MAX_MEMORY_BYTES and self._spool.hold(count):
            self._pieces.append(bytes(data))
        else:
            with self._spool.errors():
                (self._file or self._move_to_file()).write(data)
                self._check_space(count)
        self.size += count

    def buffer(self) -> bytes | mmap.mmap:
        """Return all bytes, or a map of the file. Raises as `write`."""
        if self._file is None:
            if len(self._pieces) != 1:
                self._pieces = [b"".join(self._pieces)]
            return self._pieces[0]
        if self._map is None:
            with self._spool.errors():
                self._map = self._spool.map_file(self._file.descriptor, self.size)
        return self._map

    def _check_space(self, count: int) -> None:
        """Check the free space once in `CHECK_INTERVAL_BYTES`. Raises `OSError`."""
        self._unchecked += count
        if self._unchecked >= CHECK_INTERVAL_BYTES:
            self._unchecked = 0
            self._spool.check_space()

    def discard(self) -> None:
        """Free memory and file. Does not raise; idempotent."""
        if self._map is not None:
            self._spool.unmap(self._map)
            self._map = None
        if self._file is not None:
            self._file.discard()
        else:
            self._spool.release(self.size)
        self.size, self._pieces = 0, []

    def _move_to_file(self) -> TempFile:
        """Open the file, and write what is in memory to it. Raises `OSError`."""
        file = self._spool.open_file()
        try:
            for piece in self._pieces:
                file.write(piece)
        except OSError:
            file.discard()
            raise
        self._spool.release(self.size)
        self._file, self._pieces = file, []
        return file
