"""Image directory: the composition of records, blobs, decoders and thumbnails.

In: the path given as ``--images`` and the parts that the service shares. Out: an `ImageDirectory`. The
directory holds the records, ``blobs/`` with the bytes of images, and ``thumbnails/``, which can be deleted at
any time.

One process of the service removes orphans in the background, once for each start (`orphans_thread`).
"""

import os
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed

from filestored.digest import Digest
from filestored.errors import NotFound
from filestored.images import orphans_thread
from filestored.images.accounts import read_key
from filestored.images.blob_ids import UNIQUE_SHA256, find_algorithm
from filestored.images.decoder.pool import MAX_FILE_BYTES, DecoderPool, available
from filestored.images.decoder.resource_limits import ResourceLimits
from filestored.images.gzip_backend import GzipBackend
from filestored.images.image_store import ImageStore
from filestored.images.orphans_thread import OrphanCleanerThread
from filestored.images.thumbnails.cache import ThumbnailCache
from filestored.images.thumbnails.thumbnails import Thumbnails
from filestored.settings import MAX_PIXELS
from filestored.storage.disk import layout, records
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.directory import Report, error_context
from filestored.storage.disk.records import DiskRecords
from filestored.storage.health import DeviceHealth, Health
from filestored.storage.recovery import Recovery
from filestored.storage.store import Store
from filestored.storage.threads import IOThreads

FORMAT_NAME = "images"
"""The text that ``FORMAT`` of the directory must hold."""


def check(path: str) -> None:
    """Check without writing that `path` can be the image directory. Raises `FilestoredError`."""
    records.check(path, FORMAT_NAME)


def prepare(path: str, report: Report | None = None, must_exist: bool = False) -> None:
    """Create the image directory, or check an existing one. Blocking. Raises `FilestoredError` or `OSError`.

    `report` is called when an existing directory is read-only; None makes that an error. A
    directory that `must_exist` is not created.
    """
    records.prepare(path, FORMAT_NAME, report=report, must_exist=must_exist)
    layout.prepare(
        _blobs(path), UNIQUE_SHA256.name, lookup=find_algorithm, report=report, must_exist=must_exist
    )
    kept = DiskRecords(path)
    try:
        with error_context(path, "directory"):
            read_key(kept)
    finally:
        kept.close()


def repair(path: str) -> None:
    """Recreate missing parts of the image directory and probe it. Blocking. Raises `UnusableStore`."""
    records.repair(path)
    layout.repair(_blobs(path))


def request_sweep(path: str) -> None:
    """Request one removal of orphans. Called once as the service starts."""
    orphans_thread.request_sweep(_marker(path))


class ImageDirectory:
    """The image directory `path`, opened by this process.

    `recovery` repairs the directory later when the disk is full or faulty now. `max_size` in bytes and
    `max_uploads` are the limits of a `Store`; files that decoders do not read are too large as well.
    `max_pixels` is the limit of a frame, `reserve` that of `reserved_bytes`; `must_exist` is that of
    `prepare`. Blocking, but reads no account and no image. Raises `FilestoredError` or `OSError`.
    """

    def __init__(
        self,
        reactor: Any,
        path: str,
        threads: IOThreads,
        devices: DeviceHealth,
        recovery: Recovery,
        *,
        max_size: int,
        max_uploads: int,
        max_pixels: int = MAX_PIXELS,
        must_exist: bool = False,
        reserve: int | None = None,
    ) -> None:
        health = devices.of(path)
        prepare(path, recovery.add(health, partial(repair, path)), must_exist)
        kept = DiskRecords(path)
        key = read_key(kept)
        disk = DiskBackend(_blobs(path), UNIQUE_SHA256, reserve=reserve)
        blobs = _make_blobs(disk, threads, health, max_size, max_uploads)
        self._decoder, self.thumbnails = _make_decoder(reactor, path, threads, disk, max_pixels, reserve)
        forget = self.thumbnails.forget if self.thumbnails else None
        self.images = ImageStore(kept, key, blobs, threads, health, self._decoder, forget, disk.restore)
        self._cleaner = OrphanCleanerThread(reactor, _marker(path), kept, key, disk)

    def stop(self) -> "Deferred[None]":
        """Stop the orphan cleaner and the decoder processes; fires when these have exited."""
        self._cleaner.stop()
        return self._decoder.stop() if self._decoder else succeed(None)


def _make_blobs(
    disk: DiskBackend, threads: IOThreads, health: Health, max_size: int, max_uploads: int
) -> Store:
    """Return the store of image files, none of which is larger than what a decoder reads."""
    return Store(
        GzipBackend(disk),
        UNIQUE_SHA256,
        threads,
        health=health,
        max_size=min(max_size, MAX_FILE_BYTES) if available() else max_size,
        max_uploads=max_uploads,
    )


def _make_decoder(
    reactor: Any, path: str, threads: IOThreads, disk: DiskBackend, max_pixels: int, reserve: int | None
) -> tuple[DecoderPool | None, Thumbnails | None]:
    """Return a decoder pool and the thumbnails made by it, or None twice without Pillow."""
    if not available():
        return None, None
    limits = ResourceLimits.for_pixels(max_pixels)
    decoder = DecoderPool(reactor, deadline=6.0 * limits.seconds, limits=limits)
    cache = ThumbnailCache(os.path.join(path, "thumbnails"), reserve=reserve)
    return decoder, Thumbnails(decoder, cache, threads, partial(_is_stored, disk))


def _is_stored(disk: DiskBackend, digest: Digest) -> bool:
    """Return whether the image is stored. Raises `OSError`."""
    try:
        disk.changed_at(digest)
    except NotFound:
        return False
    return True


def _blobs(path: str) -> str:
    return os.path.join(path, "blobs")


def _marker(path: str) -> str:
    """Return the path of the marker file that requests a removal of orphans."""
    return os.path.join(path, ".sweep-due")
