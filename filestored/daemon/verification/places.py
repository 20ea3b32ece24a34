"""Places that can be verified: a directory or an object store, of files or of images."""

from contextlib import suppress

from filestored.daemon.startup.engine_check import connect
from filestored.errors import FilestoredError
from filestored.images.blob_ids import BlobCheck, find_algorithm
from filestored.images.directory import FORMAT_NAME, blobs_path
from filestored.settings import ENGINE_TIMEOUT_SECONDS
from filestored.storage.disk.directory import inspect
from filestored.storage.object_store.url import is_url
from filestored.storage.verification.content import Naming
from filestored.storage.verification.disk_place import DiskPlace
from filestored.storage.verification.interfaces import Place

_IMAGES = Naming(find_algorithm, BlobCheck)


def open_place(store: str, timeout: float = ENGINE_TIMEOUT_SECONDS) -> Place:
    """Return the store at a path or URL; that of an image directory are its blobs.

    `timeout` is that of an operation of an object store. Raises `UnusableStore` or `EngineError`.
    """
    if is_url(store):
        return _open_object_place(store, timeout)
    with suppress(FilestoredError, OSError):  # `Place.claimed` reports it
        found = inspect(store, "store")
        if found is not None and found.hash == FORMAT_NAME:
            return DiskPlace(blobs_path(store), _IMAGES)
    return DiskPlace(store)


def _open_object_place(url: str, timeout: float) -> Place:
    client = connect(url, timeout)
    from filestored.images.bucket import BLOBS
    from filestored.storage.disk.format_file import parse
    from filestored.storage.verification.object_place import ObjectPlace

    text = client.read_format()
    if text is not None and parse(text).hash == FORMAT_NAME:
        return ObjectPlace(client.below(BLOBS), _IMAGES)
    return ObjectPlace(client)
