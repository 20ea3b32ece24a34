"""Thumbnails of stored images, from the cache or a decoder process.

In: the open blob of an image and validated bounds. Out: a `Thumbnail`. Identical requests share one job.

An unreadable or read-only cache costs time, not responses: errors of the disk are logged, and the thumbnail
is made again.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from filestored.digest import Digest
from filestored.errors import InvalidThumbnailSize
from filestored.images.thumbnails.cache import ThumbnailCache, prefix
from filestored.images.thumbnails.single_flight import SingleFlight
from filestored.interfaces import IBlob, IImageDecoder, IThumbnails, Thumbnail
from filestored.storage.thread_pool import Run
from filestored.storage.threads import IOThreads

MAX_SIDE_PIXELS = 2048
"""Maximum width and height of a thumbnail."""

MAX_CONCURRENT_WRITES = 2
"""Maximum number of thumbnails that one worker writes at once; others are not cached."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_log = Logger()


@implementer(IThumbnails)
class Thumbnails:
    """Thumbnails from `cache`, else made by `decoder`. `run` runs blocking work in I/O threads.

    `is_stored` returns whether an image is stored (blocking; raises `OSError`): the thumbnail of one that was
    deleted meanwhile is not kept, whichever worker deleted it. Identical requests share one job, which is
    cancelled when all of them are. Responses do not wait until a new thumbnail is flushed to the cache.
    """

    def __init__(
        self,
        decoder: IImageDecoder,
        cache: ThumbnailCache,
        run: Run | IOThreads,
        is_stored: Callable[[Digest], bool],
    ) -> None:
        self._is_stored = is_stored
        self._decoder = decoder
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
        """Remove the cached thumbnails of a deleted image. Never fails."""
        await self._try(self._threads.write, self._cache.forget, digest)

    async def _make(self, name: str, blob: IBlob, bounds: tuple[int, int], owner: str) -> Thumbnail:
        try:
            found = await self._try(self._threads.read, self._cache.get, name)
            if found is None:
                found = await self._decoder.thumbnail(blob, bounds, owner)
                if self._storing < MAX_CONCURRENT_WRITES:
                    Deferred.fromCoroutine(self._store(name, blob.digest, found))
            return found
        finally:
            blob.close()

    async def _store(self, name: str, digest: Digest, thumbnail: Thumbnail) -> None:
        self._storing += 1
        try:
            await self._try(self._threads.record, self._put, name, digest, thumbnail)
        finally:
            self._storing -= 1

    def _put(self, name: str, digest: Digest, thumbnail: Thumbnail) -> None:
        self._cache.put(name, thumbnail)
        if not self._is_stored(digest):  # a deletion after this check removes the thumbnail itself
            self._cache.forget(digest)

    async def _try(
        self, run: Run, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T | None:
        try:
            return await run(function, *args, **kwargs)
        except OSError:
            _log.failure("the thumbnail cache cannot be used")
            return None


def thumbnail_bounds(width: int | None, height: int | None) -> tuple[int, int]:
    """Return validated bounds; a side that is None is bounded by `MAX_SIDE_PIXELS` only.

    Raises `InvalidThumbnailSize` when no side is given or one is out of range.
    """
    if width is None and height is None:
        raise InvalidThumbnailSize
    width, height = (MAX_SIDE_PIXELS if side is None else side for side in (width, height))
    if not (1 <= width <= MAX_SIDE_PIXELS and 1 <= height <= MAX_SIDE_PIXELS):
        raise InvalidThumbnailSize
    return width, height
