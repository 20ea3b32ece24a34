"""Image directory: accounts and images on a disk.

In: the path given as ``--images``. Out: `ImageParts`. The directory holds the records, ``blobs/`` with the
bytes of images, and ``thumbnails/``, which can be deleted at any time.

One process of the service removes orphans in the background, once for each start (`request_sweep`).
"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

from filestored.digest import Digest
from filestored.images.accounts import Accounts, read_key
from filestored.images.blob_ids import UNIQUE_SHA256, find_algorithm
from filestored.images.catalog import DeleteBlobs
from filestored.images.orphans import sweep_marker
from filestored.images.orphans.sweep_marker import claimed_sweep
from filestored.images.orphans.thread import Sweep
from filestored.images.service import ImageParts
from filestored.images.thumbnails.cache import ThumbnailCache
from filestored.storage.disk import layout, records
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.directory import Report, error_context
from filestored.storage.disk.records import DiskRecords
from filestored.storage.disk.syscalls import Syscalls

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
        blobs_path(path), UNIQUE_SHA256.name, lookup=find_algorithm, report=report, must_exist=must_exist
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
    layout.repair(blobs_path(path))


def request_sweep(path: str) -> None:
    """Request one removal of orphans. Called once as the service starts."""
    sweep_marker.request_sweep(_marker(path))


def open_parts(
    path: str,
    report: Report,
    must_exist: bool = False,
    reserve: int | None = None,
    calls: Syscalls | None = None,
) -> ImageParts:
    """Prepare and open the image directory, for this process. Blocking, but reads no account and no image.

    `reserve` is that of `reserved_bytes`, `calls` are for records and blobs; for the rest see `prepare`.
    Raises `FilestoredError` or `OSError`.
    """
    prepare(path, report, must_exist)
    kept = DiskRecords(path, calls)
    return ImageParts(
        kept,
        Accounts(kept, read_key(kept)),
        DiskBackend(blobs_path(path), UNIQUE_SHA256, calls, reserve),
        _thumbnails(path),
        Sweep(partial(claimed_sweep, _marker(path))),
    )


@contextmanager
def opened_to_delete(path: str) -> Iterator[DeleteBlobs]:
    """Open the blobs for deletions, with their thumbnails. Blocking. Raises `UnusableStore` or `OSError`."""
    with (
        closing(DiskBackend(blobs_path(path), UNIQUE_SHA256)) as blobs,
        closing(ThumbnailCache(_thumbnails(path))) as thumbnails,
    ):

        def delete(digests: list[Digest]) -> None:
            for digest in digests:
                blobs.delete(digest)
            blobs.flush_names(digests)
            thumbnails.forget(*digests)

        yield delete


def blobs_path(path: str) -> str:
    """Return the path of the store of the bytes of images."""
    return os.path.join(path, "blobs")


def _thumbnails(path: str) -> str:
    return os.path.join(path, "thumbnails")


def _marker(path: str) -> str:
    """Return the path of the marker file that requests a removal of orphans."""
    return os.path.join(path, ".sweep-due")
