"""Small files that were read a moment ago, with their bytes.

A file of the store never changes, so its bytes may be kept; what can change is what its name leads
to, by the hand of another process, too. So they count only while the name leads to the same inode and that
has not been touched since: one `stat(2)` in place of open, fstat, read and close. A file that was deleted,
moved to quarantine or replaced is noticed at once.

They were hashed as they were read: 10 us for `MAX_FILE_BYTES` bytes, once. A file whose bytes do not have the digest
of its name is an error and is not kept; it stays where it is, and the next upload of its content moves it to
quarantine. Later changes of the bytes are noticed by `stat(2)`, unless the disk itself has made them.

Rejected: keeping descriptors open, which keeps the space of deleted files taken; trusting the name alone.
"""

import os
from threading import Lock

from zope.interface import implementer

from filestored.interfaces import IInMemory, IStoredFile

MAX_FILE_BYTES = 16 * 1024
"""Bytes of the largest file that is kept."""

MAX_FILES = 1024
"""How many files are kept; the one that came first goes first."""


@implementer(IStoredFile, IInMemory)
class CachedFile:
    """A file whose bytes are here: `data`, of `size` bytes."""

    __slots__ = ("_changed", "_inode", "data", "size")

    def __init__(self, data: bytes, status: os.stat_result) -> None:
        self.data = data
        self.size = len(data)
        self._inode = status.st_ino
        self._changed = status.st_ctime_ns

    def is_unchanged(self, status: os.stat_result) -> bool:
        """Whether `status` is that of the file that was read, untouched since."""
        return self._inode == status.st_ino and self._changed == status.st_ctime_ns

    def read(self, offset: int, count: int) -> bytes:
        """A piece of `data`."""
        return self.data[offset : offset + count]

    def close(self) -> None:
        """Nothing is held but memory."""


class FileCache:
    """The files of one store that were read last, by name."""

    def __init__(self, max_files: int = MAX_FILES) -> None:
        self._max_files = max_files
        self._files: dict[str, CachedFile] = {}
        self._lock = Lock()  # files are opened in threads while the disk is slow

    def get(self, name: str) -> CachedFile | None:
        """What was read under `name`, to be compared with what is there now."""
        return self._files.get(name)

    def add(self, name: str, file: CachedFile) -> None:
        """Keep a file that was just read."""
        with self._lock:
            if len(self._files) >= self._max_files:
                self._files.pop(next(iter(self._files)), None)
            self._files[name] = file

    def drop(self, name: str) -> None:
        """Forget a file that is not what it was."""
        with self._lock:
            self._files.pop(name, None)
