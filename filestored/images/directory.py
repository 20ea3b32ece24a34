"""What serves images, put together: the other half of the composition root.

In: the directory for images, and what the service has already. Out: an `ImageDirectory`, from which the
site gets its images and thumbnails. Below the directory are the records, ``blobs/`` with the bytes of
images, and ``thumbnails/``, which can be deleted at any time.

One process of the service sweeps the directory in the background, once for each start (`orphans_thread`).
"""

import os
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed

from filestored.images import orphans_thread
from filestored.images.accounts import read_key
from filestored.images.blob_ids import UNIQUE_SHA256, lookup
from filestored.images.decoder.pool import DecoderPool, available
from filestored.images.gzip_backend import GzipBackend
from filestored.images.image_store import ImageStore
from filestored.images.orphans_thread import OrphanCleanerThread
from filestored.images.thumbnails.cache import ThumbnailCache
from filestored.images.thumbnails.thumbnails import Thumbnails
from filestored.storage.disk import layout, records
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.directory import Report, error_context
from filestored.storage.disk.records import DiskRecords
from filestored.storage.health import DeviceHealth
from filestored.storage.recovery import Recovery
from filestored.storage.store import Store
from filestored.storage.threads import IOThreads

CONTENTS = "images"
"""What the ``FORMAT`` of the directory says that it is for."""


def check(path: str) -> None:
    """Look, without touching, whether `path` can be the directory for images. Raises `FilestoredError`."""
    records.check(path, CONTENTS)


def prepare(path: str, report: Report | None = None, must_exist: bool = False) -> None:
    """Make `path` the directory for images. Blocking. Raises `FilestoredError` or `OSError`.

    `report` is called when a directory that exists can be read and not written to; None makes that an error.
    A directory that `must_exist` is not created.
    """
    records.prepare(path, CONTENTS, report=report, must_exist=must_exist)
    layout.prepare(_blobs(path), UNIQUE_SHA256.name, lookup=lookup, report=report, must_exist=must_exist)
    kept = DiskRecords(path)
    try:
        with error_context(path, "directory"):
            read_key(kept)
    finally:
        kept.close()


def repair(path: str) -> None:
    """Make what is missing in the directory for images, and probe it. Blocking. Raises `UnusableStore`."""
    records.repair(path)
    layout.repair(_blobs(path))


def request_sweep(path: str) -> None:
    """Have one process of the service sweep the directory for images. Called once as the service starts."""
    orphans_thread.request_sweep(_mark(path))


class ImageDirectory:
    """The images below `path`, in this process.

    `threads` take blocking work; `devices` has the health of the disk; `recovery` tries again later what a
    full or faulty disk does not allow now; `max_size` in bytes and `max_uploads` are the limits of a `Store`;
    `must_exist` is that of `prepare`.
    Blocking, but reads no account and no image. Raises `FilestoredError` or `OSError`.
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
        must_exist: bool = False,
    ) -> None:
        health = devices.of(path)
        prepare(path, recovery.add(health, partial(repair, path)), must_exist)
        kept = DiskRecords(path)
        key = read_key(kept)
        disk = DiskBackend(_blobs(path), UNIQUE_SHA256)
        blobs = Store(
            GzipBackend(disk),
            UNIQUE_SHA256,
            threads,
            max_size=max_size,
            max_uploads=max_uploads,
            health=health,
        )
        self.thumbnails: Thumbnails | None = None
        self._darkroom: DecoderPool | None = None
        if available():
            self._darkroom = DecoderPool(reactor)
            self.thumbnails = Thumbnails(
                self._darkroom, ThumbnailCache(os.path.join(path, "thumbnails")), threads
            )
        gone = self.thumbnails.forget if self.thumbnails else None
        self.images = ImageStore(
            kept, key, blobs, threads, health, self._darkroom, gone, recover=disk.restore
        )
        self._sweep = OrphanCleanerThread(reactor, _mark(path), kept, key, disk)

    def stop(self) -> "Deferred[None]":
        """End the sweep and the processes that decode images; fires when these are gone."""
        self._sweep.stop()
        return self._darkroom.stop() if self._darkroom else succeed(None)


def _blobs(path: str) -> str:
    return os.path.join(path, "blobs")


def _mark(path: str) -> str:
    """The file that says that a sweep is due."""
    return os.path.join(path, ".sweep-due")
