"""Image service: the composition of records, blobs, decoders and thumbnails, on a disk or an object store."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed

from filestored.digest import Digest
from filestored.errors import NotFound
from filestored.images.accounts import Accounts
from filestored.images.blob_ids import UNIQUE_SHA256
from filestored.images.decoder.pool import MAX_FILE_BYTES, DecoderPool, available
from filestored.images.decoder.resource_limits import ResourceLimits
from filestored.images.gzip_backend import GzipBackend
from filestored.images.image_store import ImageStore
from filestored.images.orphans.thread import OrphanCleanerThread, Sweep
from filestored.images.thumbnails.cache import ThumbnailCache
from filestored.images.thumbnails.thumbnails import Thumbnails
from filestored.interfaces import IBackend, IQuarantine, IRecords
from filestored.metrics.recorder import Recorder
from filestored.settings import MAX_PIXELS
from filestored.storage.admission import UploadSlots
from filestored.storage.health import Health
from filestored.storage.store import Store
from filestored.storage.threads import IOThreads


@dataclass(frozen=True, slots=True)
class ImageParts:
    """Records, blobs and thumbnails of accounts and images, opened by one process.

    `blobs` is also an `IQuarantine`. `thumbnails` is the directory of their cache.
    """

    records: IRecords
    accounts: Accounts
    blobs: IBackend
    thumbnails: str
    sweep: Sweep


class ImageService:
    """Accounts and images in `parts`, for one process.

    `max_size` in bytes and `max_uploads` are the limits of a `Store`; files that decoders do not read are too
    large as well. `max_pixels` is the limit of a frame, `reserve` that of `reserved_bytes` for thumbnails.
    `metrics` counts.
    """

    def __init__(
        self,
        reactor: Any,
        parts: ImageParts,
        threads: IOThreads,
        health: Health,
        *,
        max_size: int,
        max_uploads: int,
        max_pixels: int = MAX_PIXELS,
        reserve: int | None = None,
        metrics: Recorder | None = None,
    ) -> None:
        self._decoder, self.thumbnails = _make_decoder(reactor, parts, threads, max_pixels, reserve, metrics)
        self.images = ImageStore(
            parts.records,
            parts.accounts,
            _make_blobs(parts.blobs, threads, health, max_size, max_uploads, metrics),
            threads,
            health,
            self._decoder,
            self.thumbnails.forget if self.thumbnails else None,
            IQuarantine(parts.blobs).restore,
        )
        self._cleaner = OrphanCleanerThread(reactor, parts.records, parts.accounts, parts.blobs, parts.sweep)

    def stop(self) -> "Deferred[None]":
        """Stop the orphan cleaner and the decoder processes; fires when these have exited."""
        self._cleaner.stop()
        return self._decoder.stop() if self._decoder else succeed(None)


def _make_blobs(
    backend: IBackend,
    threads: IOThreads,
    health: Health,
    max_size: int,
    max_uploads: int,
    metrics: Recorder | None,
) -> Store:
    """Return the store of image files, none of which is larger than what a decoder reads."""
    return Store(
        GzipBackend(backend),
        UNIQUE_SHA256,
        threads,
        health=health,
        max_size=min(max_size, MAX_FILE_BYTES) if available() else max_size,
        slots=UploadSlots(max_uploads),
        metrics=metrics,
    )


def _make_decoder(
    reactor: Any,
    parts: ImageParts,
    threads: IOThreads,
    max_pixels: int,
    reserve: int | None,
    metrics: Recorder | None,
) -> tuple[DecoderPool | None, Thumbnails | None]:
    """Return a decoder pool and the thumbnails made by it, or None twice without Pillow."""
    if not available():
        return None, None
    limits = ResourceLimits.for_pixels(max_pixels)
    decoder = DecoderPool(reactor, deadline=6.0 * limits.seconds, limits=limits, metrics=metrics)
    cache = ThumbnailCache(parts.thumbnails, reserve=reserve)
    return decoder, Thumbnails(decoder, cache, threads, partial(_is_stored, IQuarantine(parts.blobs)))


def _is_stored(blobs: IQuarantine, digest: Digest) -> bool:
    """Return whether the image is stored. Raises `OSError`."""
    try:
        blobs.changed_at(digest)
    except NotFound:
        return False
    return True
