"""Thumbnail cache: a directory of small files, shared by all workers, bounded in size.

A file is named by the digest of the image and the bounds of the thumbnail, as in
``sha256-apart-e3b0c…-300x2048.jpg``, so an entry never becomes stale. It is written under a temporary name,
flushed and renamed. The modification time is that of the last use, to an hour. When the directory exceeds its
maximum size, the oldest files are removed, temporary files of a crash among them.

The directory can be deleted at any time.

Rejected: an index of the files; the directory is the only index that workers share.
"""

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from filestored.digest import Digest
from filestored.interfaces import Thumbnail
from filestored.storage.admission import free_bytes
from filestored.storage.disk.syscalls import closed_after

MAX_CACHE_BYTES = 256 * 1024 * 1024
"""Maximum size of all thumbnails together."""

EVICT_CHECK_FRACTION = 16
"""A worker checks the whole directory after writing 1/16 of the maximum size."""

EVICT_TO = 0.75
"""Share of the maximum size that eviction leaves."""

TOUCH_INTERVAL_SECONDS = 3600.0
"""Minimum time between two updates of a modification time; each read would write otherwise."""

_SUFFIXES = {"image/jpeg": ".jpg", "image/webp": ".webp"}
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class ThumbnailCache:
    """The cache directory, created if missing. Blocking: call `get`, `put` and `forget` in I/O threads.

    Nothing is stored while only the reserve is free: `reserve` in bytes, see `reserved_bytes`.
    """

    def __init__(
        self,
        directory: str,
        max_bytes: int = MAX_CACHE_BYTES,
        now: Callable[[], float] = time.time,
        reserve: int | None = None,
    ) -> None:
        self._path = directory
        self._descriptor = -1
        self._opening = threading.Lock()
        self._max_bytes = max_bytes
        self._now = now
        self._reserve = reserve
        self._unchecked_bytes = max_bytes  # the first write checks the files of former processes
        with suppress(OSError):  # full disk; the next use tries again
            self._open()

    def get(self, name: str) -> Thumbnail | None:
        """Return the thumbnail of that name, if cached. Raises `OSError`."""
        for media_type, suffix in _SUFFIXES.items():
            with suppress(FileNotFoundError):
                return Thumbnail(media_type, self._read(name + suffix))
        return None

    def put(self, name: str, thumbnail: Thumbnail) -> None:
        """Store a thumbnail, unless space is short. Raises `OSError`."""
        try:
            self._store(name, thumbnail)
        except FileNotFoundError:
            self._recreate()
            self._store(name, thumbnail)

    def _store(self, name: str, thumbnail: Thumbnail) -> None:
        self._evict(len(thumbnail.data))
        if not free_bytes(os.fstatvfs(self._directory), self._reserve):
            return
        temporary = f".{secrets.token_hex(8)}"
        try:
            self._write(temporary, thumbnail.data)
            final = name + _SUFFIXES[thumbnail.content_type]
            os.rename(temporary, final, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError:
            self._remove(temporary)
            raise

    def _recreate(self) -> None:
        """Recreate a removed directory; its descriptor keeps its number. Raises `OSError`."""
        with suppress(FileExistsError):
            os.mkdir(self._path, 0o700)
        replacement = os.open(self._path, _DIRECTORY_FLAGS)
        try:
            os.dup2(replacement, self._directory, inheritable=False)
        finally:
            os.close(replacement)

    def forget(self, *digests: Digest) -> None:
        """Remove all thumbnails of these images. Raises `OSError`."""
        prefixes = {prefix(digest) for digest in digests}
        with suppress(FileNotFoundError), self._scan() as entries:  # of a removed directory
            names = [entry.name for entry in entries if _prefix_of(entry.name) in prefixes]
            for name in names:
                self._remove(name)

    def close(self) -> None:
        """Close the directory."""
        if self._descriptor >= 0:
            os.close(self._descriptor)

    @property
    def _directory(self) -> int:
        """Return the descriptor of the directory. Raises `OSError`."""
        return self._descriptor if self._descriptor >= 0 else self._open()

    def _open(self) -> int:
        with self._opening:
            if self._descriptor < 0:
                os.makedirs(self._path, 0o700, exist_ok=True)
                self._descriptor = os.open(self._path, _DIRECTORY_FLAGS)
            return self._descriptor

    def _read(self, name: str) -> bytes:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._directory)
        with open(descriptor, "rb") as file:
            if self._now() - os.fstat(descriptor).st_mtime > TOUCH_INTERVAL_SECONDS:
                with suppress(OSError):  # a read-only disk
                    os.utime(descriptor)
            return file.read()

    def _write(self, name: str, data: bytes) -> None:
        with open(os.open(name, _CREATE_FLAGS, 0o600, dir_fd=self._directory), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _evict(self, size: int) -> None:
        """Remove the oldest files when the cache is too large; checked from time to time."""
        self._unchecked_bytes += size
        if self._unchecked_bytes * EVICT_CHECK_FRACTION < self._max_bytes:
            return
        self._unchecked_bytes = 0
        files = sorted(self._files())
        total = sum(taken for _, taken, _ in files) + size
        if total <= self._max_bytes:
            return
        for _, taken, name in files:
            if total <= self._max_bytes * EVICT_TO:
                return
            self._remove(name)
            total -= taken

    def _files(self) -> list[tuple[float, int, str]]:
        """Return modification time, size and name of each file."""
        found = []
        with self._scan() as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # evicted by another worker
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime, status.st_size, entry.name))
        return found

    @contextmanager
    def _scan(self) -> "Iterator[Iterator[os.DirEntry[str]]]":
        """List the directory through a new descriptor: threads would share the position of the other one."""
        descriptor = os.open(".", _DIRECTORY_FLAGS, dir_fd=self._directory)
        with closed_after(descriptor), os.scandir(descriptor) as entries:
            yield entries

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._directory)


def prefix(digest: Digest) -> str:
    """Return the prefix of the names of all thumbnails of an image."""
    return f"{digest.algorithm}-{digest.hex}-"


def _prefix_of(name: str) -> str:
    """Return the part of the name of a file that is `prefix` of its image."""
    return name[: name.rfind("-") + 1]
