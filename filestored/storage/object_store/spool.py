"""Spool: the content of an upload until it is sent to the object store. Blocking.

Content of up to `MAX_MEMORY_BYTES` stays in memory, as long as all uploads of the process together hold no
more than `MAX_TOTAL_MEMORY_BYTES`. Other content is written to a file without a name (O_TMPFILE), which
leaves nothing behind when its process dies. It is sent from a memory map, so it is not copied.
"""

import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from filestored.errors import EngineError, UnusableStore
from filestored.storage.admission import free_bytes
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.disk.temp_files import TempFile
from filestored.storage.health import FULL, LACKING

MAX_MEMORY_BYTES = 1024 * 1024
"""Maximum size of content that is kept in memory."""

MAX_TOTAL_MEMORY_BYTES = 16 * 1024 * 1024
"""Maximum size of all content in memory, in one process."""

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

    def open(self) -> "SpooledContent":
        """Return new, empty content."""
        return SpooledContent(self)

    def free_space(self) -> int:
        """Return the free space of the directory in bytes, less the reserve. Raises `OSError`."""
        return free_bytes(os.statvfs(self.directory), self._reserve)

    def open_file(self) -> TempFile:
        """Return a new file without a name. Raises `OSError`."""
        return TempFile(self._calls.open(self.directory, _UNNAMED, 0o600), self._calls)

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
        self.size += count

    def buffer(self) -> bytes | mmap.mmap:
        """Return all bytes, or a map of the file. Raises as `write`."""
        if self._file is None:
            if len(self._pieces) != 1:
                self._pieces = [b"".join(self._pieces)]
            return self._pieces[0]
        with self._spool.errors():
            return mmap.mmap(self._file.descriptor, self.size, prot=mmap.PROT_READ)

    def discard(self) -> None:
        """Free memory and file. Does not raise; idempotent."""
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
