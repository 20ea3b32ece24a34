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
from filestored.storage.disk import DiskBackend
from filestored.storage.health import Health
from filestored.storage.jobs import Run
from filestored.storage.premises import Report, explained
from filestored.storage.records import DiskRecords
from filestored.storage.recovery import Recovery
from filestored.storage.store import Store

CONTENTS = "images"
"""What the ``FORMAT`` of the directory says that it is for."""

_log = Logger()


def inspect(path: str) -> None:
    """Look, without touching, whether `path` can be the directory for images. Raises `FilestoredError`."""
    records.inspect(path, CONTENTS)


def prepare(path: str, report: Report | None = None) -> None:
    """Make `path` the directory for images. Blocking. Raises `FilestoredError` or `OSError`.

    `report` is called when a directory that exists can be read and not written to; None makes that an error.
    """
    records.prepare(path, CONTENTS, report=report)
    layout.prepare(_blobs(path), APART.name, lookup=lookup, report=report)
    kept = DiskRecords(path)
    try:
        with explained(path, "directory"):
            read_key(kept)
    finally:
        kept.close()


def furnish(path: str) -> None:
    """Make what is missing in the directory for images, and probe it. Blocking. Raises `UnusableStore`."""
    records.furnish(path)
    layout.furnish(_blobs(path))


class ImageService:
    """The images below `path`, in this process.

    `run` takes blocking work to an I/O thread; `recovery` tries again later what a full or faulty disk does
    not allow now; `max_size` in bytes and `max_uploads` are the limits of a
    `Store`. Blocking. Raises `FilestoredError` or `OSError`.
    """

    def __init__(
        self, reactor: Any, path: str, run: Run, recovery: Recovery, *, max_size: int, max_uploads: int
    ) -> None:
        health = Health()
        prepare(path, recovery.add(health, partial(furnish, path)))
        kept = DiskRecords(path)
        key = read_key(kept)
        backend = PackingBackend(DiskBackend(_blobs(path), APART))
        presence.arrive(path, partial(_sweep, kept, key, backend))
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
    """Sweep; a record that can't be read is the operator's business, and the others are served.

    A full, read-only or damaged disk leaves the rest to a later start.
    """
    try:
        removed = sweep(kept, Accounts(kept, key), backend)
    except (ValueError, LookupError):
        _log.failure("a record of the images cannot be read, so nothing was swept")
        return
    except OSError as error:
        _log.error("the images were not swept: {reason}", reason=str(error))
        return
    if removed:
        _log.info("{removed} leftovers of an earlier run were removed from the images", removed=removed)
