"""What serves images, put together: the other half of the composition root.

In: the directory for images, and what the service has already. Out: an `ImageService`, from which the
site gets its images and thumbnails. Below the directory are the records, ``blobs/`` with the bytes of
images, and ``thumbnails/``, which can be deleted at any time.

One process of the service sweeps the directory in the background, once for each start (`sweep_thread`).
"""

import os
from typing import Any

from twisted.internet.defer import Deferred, succeed

from filestored.images.accounts import read_key
from filestored.images.apart import APART, lookup
from filestored.images.darkroom import Darkroom, available
from filestored.images.packing import PackingBackend
from filestored.images.room import ImageRoom
from filestored.images.sweep_thread import SweepThread
from filestored.images.thumbnails import ThumbnailCache, Thumbnails
from filestored.storage import layout, once, records
from filestored.storage.disk import DiskBackend
from filestored.storage.health import Health
from filestored.storage.jobs import Run
from filestored.storage.records import DiskRecords
from filestored.storage.store import Store

CONTENTS = "images"
"""What the ``FORMAT`` of the directory says that it is for."""


def inspect(path: str) -> None:
    """Look, without touching, whether `path` can be the directory for images. Raises `FilestoredError`."""
    records.inspect(path, CONTENTS)


def prepare(path: str) -> None:
    """Make `path` the directory for images. Blocking. Raises `FilestoredError` or `OSError`."""
    records.prepare(path, CONTENTS)
    layout.prepare(_blobs(path), APART.name, lookup=lookup)
    kept = DiskRecords(path)
    try:
        read_key(kept)
    finally:
        kept.close()


def request_sweep(path: str) -> None:
    """Have one process of the service sweep the directory for images. Called once as the service starts."""
    once.request(_mark(path))


class ImageService:
    """The images below `path`, in this process.

    `run` takes blocking work to an I/O thread, and `read` the reading of listings; `max_size` in bytes and
    `max_uploads` are the limits of a `Store`. Blocking, but reads no account and no image. Raises
    `FilestoredError` or `OSError`.
    """

    def __init__(
        self,
        reactor: Any,
        path: str,
        run: Run,
        *,
        max_size: int,
        max_uploads: int,
        read: Run | None = None,
    ) -> None:
        prepare(path)
        kept = DiskRecords(path)
        key = read_key(kept)
        disk = DiskBackend(_blobs(path), APART)
        health = Health()
        blobs = Store(
            PackingBackend(disk), APART, run, max_size=max_size, max_uploads=max_uploads, health=health
        )
        self.thumbnails: Thumbnails | None = None
        self._darkroom: Darkroom | None = None
        if available():
            self._darkroom = Darkroom(reactor)
            self.thumbnails = Thumbnails(
                self._darkroom, ThumbnailCache(os.path.join(path, "thumbnails")), run
            )
        gone = self.thumbnails.forget if self.thumbnails else None
        self.images = ImageRoom(
            kept, key, blobs, run, health, self._darkroom, gone, recover=disk.recover, read=read
        )
        self._sweep = SweepThread(reactor, _mark(path), kept, key, disk)

    def stop(self) -> "Deferred[None]":
        """End the sweep and the processes that decode images; fires when these are gone."""
        self._sweep.stop()
        return self._darkroom.stop() if self._darkroom else succeed(None)


def _blobs(path: str) -> str:
    return os.path.join(path, "blobs")


def _mark(path: str) -> str:
    """The file that says that a sweep is due."""
    return os.path.join(path, ".sweep-due")
