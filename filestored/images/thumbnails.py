"""Thumbnails that were made once: a directory of small files, shared by all workers, bounded in size.

In: a blob and the size asked for. Out: a `Thumbnail`, from the directory or fresh from the darkroom.

A file is named by the digest of the image and the bounds of the thumbnail, as in
``sha256-apart-e3b0c…-300x2048.jpg``, so nothing in here ever turns false. It is written under another name,
flushed and renamed: whoever sees it sees all of it. What was used last has the youngest date of
modification; when the directory grows over its room the oldest files go, and what a crash has left with
them.

A cache that can't be read or written costs time, not answers: errors of the disk are logged, and the
thumbnail is made again. It can be deleted at any time.

Rejected: an index of what is there; the directory is one, and the only one that workers share.
"""

import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from filestored.digest import Digest
from filestored.errors import UnusableSize
from filestored.images.single_flight import SingleFlight
from filestored.interfaces import IBlob, IPictures, IThumbnails, Thumbnail
from filestored.storage.disk import RESERVE
from filestored.storage.jobs import IOThreads, Run

MAX_SIDE_PIXELS = 2048
"""Maximum width and height of a thumbnail."""

ROOM = 256 * 1024 * 1024
"""Bytes that all thumbnails together may take."""

SWEPT_AFTER = 16
"""A worker looks at the whole directory when it has written one part in so many of the room."""

KEPT = 0.75
"""The part of the room that is still taken after the oldest files went."""

TOUCHED_AFTER = 3600.0
"""Seconds after which using a file is noted again; to note each use would write for every reading."""

MAX_STORING = 2
"""Thumbnails that are written at once by one worker; more are answered, and not kept."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_SUFFIXES = {"image/jpeg": ".jpg", "image/webp": ".webp"}
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_log = Logger()


class ThumbnailCache:
    """The directory, made when it is missing. Blocking: `get`, `put` and `forget` belong in I/O threads.

    Nothing is kept while the file system has no more than `RESERVE` bytes left.
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
        if space.f_bavail * space.f_frsize <= RESERVE:
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


@implementer(IThumbnails)
class Thumbnails:
    """Thumbnails of stored images: from `cache`, else made by `pictures`. `run` is for I/O threads.

    Identical requests share one job, which is cancelled when all of them are. The answer does not wait until
    a new thumbnail is flushed to the cache.
    """

    def __init__(self, pictures: IPictures, cache: ThumbnailCache, run: Run | IOThreads) -> None:
        self._pictures = pictures
        self._cache = cache
        self._threads = IOThreads.of(run)
        self._storing = 0
        self._jobs: SingleFlight[Thumbnail] = SingleFlight()

    def get(self, blob: IBlob, bounds: tuple[int, int], owner: str) -> "Deferred[Thumbnail]":
        """See `IThumbnails.get`. `blob` is only read when the thumbnail is not cached."""
        name = prefix(blob.digest) + "{}x{}".format(*bounds)
        if name in self._jobs:
            blob.close()
        return self._jobs.run(name, lambda: Deferred.fromCoroutine(self._make(name, blob, bounds, owner)))

    async def forget(self, digest: Digest) -> None:
        """Remove what was made of an image that is no more. Never fails."""
        await self._try(self._threads.write, self._cache.forget, digest)

    async def _make(self, name: str, blob: IBlob, bounds: tuple[int, int], owner: str) -> Thumbnail:
        try:
            found = await self._try(self._threads.read, self._cache.get, name)
            if found is None:
                found = await self._pictures.thumbnail(blob, bounds, owner)
                if self._storing < MAX_STORING:
                    Deferred.fromCoroutine(self._store(name, found))
            return found
        finally:
            blob.close()

    async def _store(self, name: str, thumbnail: Thumbnail) -> None:
        self._storing += 1
        try:
            await self._try(self._threads.record, self._cache.put, name, thumbnail)
        finally:
            self._storing -= 1

    async def _try(
        self, run: Run, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T | None:
        try:
            return await run(function, *args, **kwargs)
        except OSError:
            _log.failure("the cache of thumbnails is of no use now")
            return None


def prefix(digest: Digest) -> str:
    """How the names of all thumbnails of an image begin."""
    return f"{digest.algorithm}-{digest.hex}-"


def thumbnail_bounds(width: int | None, height: int | None) -> tuple[int, int]:
    """Return validated bounds; a side that is None is bounded by `MAX_SIDE_PIXELS` only.

    Raises `UnusableSize` when no side is given or one is out of range.
    """
    if width is None and height is None:
        raise UnusableSize
    width, height = (MAX_SIDE_PIXELS if side is None else side for side in (width, height))
    if not (1 <= width <= MAX_SIDE_PIXELS and 1 <= height <= MAX_SIDE_PIXELS):
        raise UnusableSize
    return width, height
