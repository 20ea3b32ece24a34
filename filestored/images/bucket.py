"""Image bucket: accounts and images in an object store.

In: the client of the URL given as ``--images``. Out: `ImageParts`. The layout is that of an image directory;
thumbnails are cached on the local disk, each daemon's own.

Any number of daemons use a bucket at once. One of them removes orphans, once in `SWEEP_INTERVAL_SECONDS`: the
record ``sweep/last`` has the time of the last removal.
"""

import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from tempfile import gettempdir

from filestored.errors import UnusableStore
from filestored.images.accounts import ACCOUNTS, TOKENS, Accounts, read_key
from filestored.images.blob_ids import UNIQUE_SHA256
from filestored.images.catalog import DeleteBlobs
from filestored.images.directory import FORMAT_NAME
from filestored.images.orphans.thread import Sweep
from filestored.images.service import ImageParts
from filestored.interfaces import IRecords
from filestored.metrics.timing import OnDuration
from filestored.storage.object_store import layout
from filestored.storage.object_store.backend import ObjectBackend
from filestored.storage.object_store.client import ObjectStoreClient
from filestored.storage.object_store.records import ObjectRecords
from filestored.storage.object_store.spool import Spool
from filestored.storage.thread_pool import in_parallel

SWEEP_INTERVAL_SECONDS = 24 * 60 * 60
"""Minimum time between two removals of orphans."""

CLAIM_INTERVAL_SECONDS = 60 * 60.0
"""Time between two attempts of a daemon to claim a removal."""

BLOBS = "blobs"
"""Prefix of the bytes of images."""

_PARALLEL_DELETIONS = 16
_LAST_SWEEP = "sweep/last"


def prepare(client: ObjectStoreClient) -> None:
    """Create what belongs in the bucket, or check an existing one. Blocking. Raises `UnusableStore`."""
    with layout.error_context(client):
        found = layout.prepare(client, FORMAT_NAME)
        if found.hash != FORMAT_NAME:
            raise UnusableStore(f"it is a store of files named by {found.hash}, and not a place for images")
        layout.prepare(client.below(BLOBS), UNIQUE_SHA256.name)
        layout.probe(client)
        read_key(ObjectRecords(client))


def open_parts(client: ObjectStoreClient, spool: Spool, record: OnDuration | None = None) -> ImageParts:
    """Open a prepared bucket, for this process; makes no request. Raises `UnusableStore` or `OSError`.

    `record` receives the duration of each request that makes the bytes of an image durable.
    """
    records = ObjectRecords(client)
    sweep_removed = partial(records.sweep_removed, (ACCOUNTS, TOKENS))
    return ImageParts(
        records,
        Accounts(records),
        ObjectBackend(client.below(BLOBS), UNIQUE_SHA256, spool, record),
        _thumbnails(spool.directory),
        Sweep(partial(claimed_sweep, records), sweep_removed, CLAIM_INTERVAL_SECONDS),
    )


def opened_to_delete(client: ObjectStoreClient) -> AbstractContextManager[DeleteBlobs]:
    """Open the blobs for deletions; makes no request."""
    blobs = ObjectBackend(client.below(BLOBS), UNIQUE_SHA256, Spool(gettempdir()))
    return nullcontext(partial(in_parallel, blobs.delete, max_threads=_PARALLEL_DELETIONS))


@contextmanager
def claimed_sweep(records: IRecords) -> Iterator[bool]:
    """Return whether the caller is the first to claim a sweep after the interval. Blocking."""
    last = records.read(_LAST_SWEEP)
    now = json.dumps({"at": time.time()}).encode()
    if last is None:
        yield records.create(_LAST_SWEEP, now)
    elif abs(time.time() - json.loads(last)["at"]) < SWEEP_INTERVAL_SECONDS:
        yield False
    else:
        yield records.replace(_LAST_SWEEP, last, now)


def _thumbnails(spool: str) -> str:
    """Return the directory of thumbnails, made for this user alone. Raises `UnusableStore` or `OSError`."""
    path = os.path.join(spool, f"filestored-thumbnails-{os.geteuid()}")
    os.makedirs(path, 0o700, exist_ok=True)
    status = os.lstat(path)
    private = status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077
    if not (stat.S_ISDIR(status.st_mode) and private):
        raise UnusableStore(f"{path} is not a directory of user {os.geteuid()} alone; remove it")
    return path
