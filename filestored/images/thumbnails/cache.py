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
from collections.abc import Callable
from contextlib import suppress

from filestored.digest import Digest
from filestored.interfaces import Thumbnail
from filestored.storage.disk.backend import RESERVED_BYTES

ROOM = 256 * 1024 * 1024
"""Bytes that all thumbnails together may take."""

SWEPT_AFTER = 16
"""A worker looks at the whole directory when it has written one part in so many of the room."""

KEPT = 0.75
"""The part of the room that is still taken after the oldest files went."""

TOUCHED_AFTER = 3600.0
"""Seconds after which using a file is noted again; to note each use would write for every reading."""

_SUFFIXES = {"image/jpeg": ".jpg", "image/webp": ".webp"}
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class ThumbnailCache:
    """The directory, made when it is missing. Blocking: `get`, `put` and `forget` belong in I/O threads.

    Nothing is kept while the file system has no more than `RESERVED_BYTES` bytes left.
    """

    def __init__(self, directory: str, room: int = ROOM, now: Callable[[], float] = time.time) -> None:
        self._path = directory
        self._descriptor = -1
        self._opening = threading.Lock()
        self._room = room
        self._now = now
        self._unswept = room  # what others left counts: the first file is a reason to look
        with suppress(OSError):  # a full disk; the next use tries again
            self._open()

    def get(self, name: str) -> Thumbnail | None:
        """The thumbnail of that name, if there is one. Raises `OSError`."""
        for media_type, suffix in _SUFFIXES.items():
            with suppress(FileNotFoundError):
                return Thumbnail(media_type, self._read(name + suffix))
        return None

    def put(self, name: str, thumbnail: Thumbnail) -> None:
        """Keep a thumbnail for a while. Raises `OSError`."""
        self._make_room(len(thumbnail.data))
        space = os.fstatvfs(self._directory)
        if space.f_bavail * space.f_frsize <= RESERVED_BYTES:
            return
        try:
            self._store(name, thumbnail)
        except FileNotFoundError:
            self._restore()
            self._store(name, thumbnail)

    def _store(self, name: str, thumbnail: Thumbnail) -> None:
        temporary = f".{secrets.token_hex(8)}"
        try:
            self._write(temporary, thumbnail.data)
            final = name + _SUFFIXES[thumbnail.content_type]
            os.rename(temporary, final, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError:
            self._remove(temporary)
            raise

    def _restore(self) -> None:
        """Make the directory anew after it was removed; its descriptor keeps its number. Raises `OSError`."""
        with suppress(FileExistsError):
            os.mkdir(self._path, 0o700)
        replacement = os.open(self._path, _DIRECTORY)
        try:
            os.dup2(replacement, self._directory, inheritable=False)
        finally:
            os.close(replacement)

    def forget(self, digest: Digest) -> None:
        """Remove what was made of an image. Raises `OSError`."""
        for name in os.listdir(self._directory):
            if name.startswith(prefix(digest)):
                self._remove(name)

    def close(self) -> None:
        """Let go of the directory."""
        if self._descriptor >= 0:
            os.close(self._descriptor)

    @property
    def _directory(self) -> int:
        """The descriptor of the directory. Raises `OSError`."""
        return self._descriptor if self._descriptor >= 0 else self._open()

    def _open(self) -> int:
        with self._opening:
            if self._descriptor < 0:
                os.makedirs(self._path, 0o700, exist_ok=True)
                self._descriptor = os.open(self._path, _DIRECTORY)
            return self._descriptor

    def _read(self, name: str) -> bytes:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._directory)
        with open(descriptor, "rb") as file:
            if self._now() - os.fstat(descriptor).st_mtime > TOUCHED_AFTER:
                with suppress(OSError):  # a read-only disk
                    os.utime(descriptor)
            return file.read()

    def _write(self, name: str, data: bytes) -> None:
        with open(os.open(name, _NEW, 0o600, dir_fd=self._directory), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _make_room(self, size: int) -> None:
        """From time to time, remove the oldest files if all together are too large."""
        self._unswept += size
        if self._unswept * SWEPT_AFTER < self._room:
            return
        self._unswept = 0
        files = sorted(self._files())
        total = sum(taken for _, taken, _ in files) + size
        if total <= self._room:
            return
        for _, taken, name in files:
            if total <= self._room * KEPT:
                return
            self._remove(name)
            total -= taken

    def _files(self) -> list[tuple[float, int, str]]:
        """Date of modification, size and name of each file."""
        found = []
        with os.scandir(self._directory) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # another worker made room, too
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime, status.st_size, entry.name))
        return found

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._directory)


def prefix(digest: Digest) -> str:
    """How the names of all thumbnails of an image begin."""
    return f"{digest.algorithm}-{digest.hex}-"
