"""What serves images, put together: the other half of the composition root.

In: the directory for images, and what the service has already. Out: an `ImageService`, from which the
site gets its images and thumbnails. Below the directory are the records, ``blobs/`` with the bytes of
images, and ``thumbnails/``, which can be deleted at any time.

The first process that comes to work in the directory sweeps it (`sweep`); the others wait for that.
"""

import os
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from filestored.images.accounts import Accounts, read_key
from filestored.images.apart import APART, lookup
from filestored.images.darkroom import Darkroom, available
from filestored.images.packing import PackingBackend
from filestored.images.room import ImageRoom
from filestored.images.sweep import sweep
from filestored.images.thumbnails import ThumbnailCache, Thumbnails
from filestored.interfaces import IBackend, IRecords
from filestored.storage import layout, presence, records
from filestored.storage.devices import DeviceHealth
from filestored.storage.disk import DiskBackend
from filestored.storage.jobs import Run
from filestored.storage.records import DiskRecords
from filestored.storage.store import Store

CONTENTS = "images"
"""What the ``FORMAT`` of the directory says that it is for."""

_log = Logger()


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


class ImageService:
    """The images below `path`, in this process.

    `run` takes blocking work to an I/O thread; `devices` has the health of the disk; `max_size` in bytes and
    `max_uploads` are the limits of a `Store`. Blocking. Raises `FilestoredError` or `OSError`.
    """

    def __init__(
        self, reactor: Any, path: str, run: Run, devices: DeviceHealth, *, max_size: int, max_uploads: int
    ) -> None:
        prepare(path)
        kept = DiskRecords(path)
        key = read_key(kept)
        backend = PackingBackend(DiskBackend(_blobs(path), APART))
        presence.arrive(path, partial(_sweep, kept, key, backend))
        health = devices.of(path)
        blobs = Store(backend, APART, run, max_size=max_size, max_uploads=max_uploads, health=health)
        self.thumbnails: Thumbnails | None = None
        self._darkroom: Darkroom | None = None
        if available():
            self._darkroom = Darkroom(reactor)
            self.thumbnails = Thumbnails(
                self._darkroom, ThumbnailCache(os.path.join(path, "thumbnails")), run
            )
        gone = self.thumbnails.forget if self.thumbnails else None
        self.images = ImageRoom(kept, key, blobs, run, health, self._darkroom, gone)

    def stop(self) -> "Deferred[None]":
        """Let nobody look into images any more; fires when the processes that did are gone."""
        return self._darkroom.stop() if self._darkroom else succeed(None)


def _blobs(path: str) -> str:
    return os.path.join(path, "blobs")


def _sweep(kept: IRecords, key: bytes, backend: IBackend) -> None:
    """Sweep; a record that can't be read is the operator's business, and the others are served."""
    try:
        removed = sweep(kept, Accounts(kept, key), backend)
    except (ValueError, LookupError):
        _log.failure("a record of the images cannot be read, so nothing was swept")
        return
    if removed:
        _log.info("{removed} leftovers of an earlier run were removed from the images", removed=removed)
