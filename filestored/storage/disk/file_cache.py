"""File cache: the bytes of small files read recently, validated by stat(2).

Stored files never change, but a name may be removed or replaced, also by another process. A hit costs one
stat(2) instead of open, fstat, read and close: inode and ctime must be unchanged. So a deleted, quarantined
or replaced file is noticed at once.

Files are hashed when they are read: 10 us for `MAX_FILE_BYTES`, once. A corrupt file is an error and is not
cached; the next upload of its content moves it to quarantine. Later changes are noticed by stat(2), unless
the disk itself corrupts the bytes.

Rejected: open descriptors, which keep the space of deleted files; validation by name only.
"""

import os
from threading import Lock

from zope.interface import implementer

from filestored.bounded_cache import BoundedCache
from filestored.interfaces import IInMemory, IStoredFile

MAX_FILE_BYTES = 16 * 1024
"""Maximum size of a cached file."""

MAX_FILES = 1024
"""Maximum number of cached files; the oldest is evicted."""


@implementer(IStoredFile, IInMemory)
class CachedFile:
    """A cached file: `data`, its `size` in bytes, its `shard`, and its `inode` and ctime when it was read."""

    __slots__ = ("changed", "data", "inode", "shard", "size")

    def __init__(self, data: bytes, shard: str, status: os.stat_result) -> None:
        self.data = data
        self.size = len(data)
        self.shard = shard
        self.inode = status.st_ino
        self.changed = status.st_ctime_ns

    def read(self, offset: int, count: int) -> bytes:
        """Return a slice of `data`."""
        return self.data[offset : offset + count]

    def close(self) -> None:
        """Do nothing: no descriptor is held."""


class FileCache(BoundedCache[str, CachedFile]):
    """Recently read files of one store by name. Thread-safe. The caller validates what it gets."""

    def __init__(self, max_files: int = MAX_FILES) -> None:
        super().__init__(max_files)
        self._lock = Lock()  # files are opened in threads while the disk is slow

    def add(self, name: str, file: CachedFile) -> None:
        """Cache a file."""
        with self._lock:
            super().add(name, file)

    def evict(self, name: str) -> None:
        """Evict a file."""
        with self._lock:
            self.pop(name, None)
