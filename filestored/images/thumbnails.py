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
import time
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from filestored.digest import Digest
from filestored.errors import UnusableSize
from filestored.images.darkroom import box
from filestored.images.single_flight import SingleFlight
from filestored.interfaces import IBlob, IPictures, Thumbnail
from filestored.storage.jobs import Run

ROOM = 256 * 1024 * 1024
"""Bytes that all thumbnails together may take."""

SWEPT_AFTER = 16
"""A worker looks at the whole directory when it has written one part in so many of the room."""

KEPT = 0.75
"""The part of the room that is still taken after the oldest files went."""

TOUCHED_AFTER = 3600.0
"""Seconds after which using a file is noted again; to note each use would write for every reading."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_SUFFIXES = {"image/jpeg": ".jpg", "image/webp": ".webp"}
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_log = Logger()


class ThumbnailCache:
    """The directory, made when it is missing. Blocking: `get`, `put` and `forget` belong in I/O threads."""

    def __init__(self, directory: str, room: int = ROOM, now: Callable[[], float] = time.time) -> None:
        os.makedirs(directory, 0o700, exist_ok=True)
        self._directory = os.open(directory, _DIRECTORY)
        self._room = room
        self._now = now
        self._unswept = room  # what others left counts: the first file is a reason to look

    def get(self, name: str) -> Thumbnail | None:
        """The thumbnail of that name, if there is one. Raises `OSError`."""
        for media_type, suffix in _SUFFIXES.items():
            with suppress(FileNotFoundError):
                return Thumbnail(media_type, self._read(name + suffix))
        return None

    def put(self, name: str, thumbnail: Thumbnail) -> None:
        """Keep a thumbnail for a while. Raises `OSError`."""
        self._make_room(len(thumbnail.data))
        temporary = f".{secrets.token_hex(8)}"
        try:
            self._write(temporary, thumbnail.data)
            final = name + _SUFFIXES[thumbnail.content_type]
            os.rename(temporary, final, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError:
            self._remove(temporary)
            raise

    def forget(self, digest: Digest) -> None:
        """Remove what was made of an image. Raises `OSError`."""
        for name in os.listdir(self._directory):
            if name.startswith(prefix(digest)):
                self._remove(name)

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._directory)

    def _read(self, name: str) -> bytes:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._directory)
        with open(descriptor, "rb") as file:
            if self._now() - os.fstat(descriptor).st_mtime > TOUCHED_AFTER:
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


class Thumbnails:
    """Thumbnails of stored images: from `cache`, else made by `pictures`. `run` is for I/O threads.

    Identical requests share one job, which is cancelled when all of them are.
    """

    def __init__(self, pictures: IPictures, cache: ThumbnailCache, run: Run) -> None:
        self._pictures = pictures
        self._cache = cache
        self._run = run
        self._jobs: SingleFlight[Thumbnail] = SingleFlight()

    def make(self, blob: IBlob, width: int | None, height: int | None, owner: str) -> "Deferred[Thumbnail]":
        """See `IPictures.thumbnail`; `blob` is read only when it has to be, and closed in the end."""
        try:
            bounds = box(width, height)
        except UnusableSize:
            blob.close()
            return fail()
        name = prefix(blob.digest) + "{}x{}".format(*bounds)
        if name in self._jobs:
            blob.close()
        return self._jobs.run(name, lambda: Deferred.fromCoroutine(self._make(name, blob, *bounds, owner)))

    async def forget(self, digest: Digest) -> None:
        """Remove what was made of an image that is no more. Never fails."""
        await self._try(self._cache.forget, digest)

    async def _make(self, name: str, blob: IBlob, width: int, height: int, owner: str) -> Thumbnail:
        try:
            found = await self._try(self._cache.get, name)
            if found is None:
                found = await self._pictures.thumbnail(blob, width, height, owner)
                await self._try(self._cache.put, name, found)
            return found
        finally:
            blob.close()

    async def _try(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        try:
            return await self._run(function, *args, **kwargs)
        except OSError:
            _log.failure("the cache of thumbnails is of no use now")
            return None


def prefix(digest: Digest) -> str:
    """How the names of all thumbnails of an image begin."""
    return f"{digest.algorithm}-{digest.hex}-"
