"""Accounts of the image API, for the operator: the commands ``filestored account …``.

In: the directory, or the URL of an object store, given to the daemon as ``--images``. It may be in use by
daemons at the same time, because each change of a record is atomic. Root becomes the owner of the directory
first, so that the daemon can read what was made.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from filestored.daemon.startup.engine_check import connect
from filestored.daemon.startup.owner import become_owner
from filestored.errors import InvalidFileName, UnknownToken, UnusableStore
from filestored.images import directory as image_directory
from filestored.images.accounts import USERNAME, Accounts, read_key
from filestored.images.catalog import Catalog, DeleteBlobs
from filestored.interfaces import IRecords
from filestored.settings import ENGINE_TIMEOUT_SECONDS
from filestored.storage.disk.format_file import NAME, parse
from filestored.storage.disk.records import DiskRecords
from filestored.storage.object_store.url import is_url


def add(directory: str, username: str) -> str:
    """Create an account; return its token.

    Raises `AlreadyExists`, `InvalidFileName`, `UnusableStore` or `OSError`.
    """
    if not USERNAME.fullmatch(username):
        raise InvalidFileName("A user name has 1 to 64 letters A to Z, a to z, digits and underscores")
    with _opened(directory) as records:
        return Accounts(records, read_key(records)).register(username)


def token(directory: str, username: str) -> str:
    """Return the token of an account. Raises `NotFound`, `UnusableStore` or `OSError`."""
    with _opened(directory) as records, _damage_reported(username):
        return Accounts(records, read_key(records)).get_token(username)


def names(directory: str) -> list[str]:
    """Return the names of all accounts in ascending order. Raises `UnusableStore` or `OSError`."""
    with _opened(directory) as records:
        return Accounts(records).names()


def delete(directory: str, username: str) -> None:
    """Delete an account with its images, or continue an interrupted deletion.

    Raises `NotFound`, `UnusableStore` or `OSError`.
    """
    with _opened(directory) as records, _opened_to_delete(directory) as delete_blobs:
        accounts = Accounts(records, read_key(records))
        with _damage_reported(username):
            account = accounts.begin_deletion(username)
        with suppress(UnknownToken):  # another process has finished the deletion
            for step in Catalog(records, username).removal_steps(delete_blobs):
                with accounts.holding(account):
                    step()
        accounts.finish_deletion(account)


@contextmanager
def _damage_reported(username: str) -> Iterator[None]:
    """Raise `UnusableStore` for a damaged account record."""
    try:
        yield
    except (ValueError, LookupError, TypeError):
        raise UnusableStore(f"the record of {username} is damaged; restore it from a copy") from None


@contextmanager
def _opened(place: str) -> Iterator[IRecords]:
    """Open the records in a directory or an object store. Raises `UnusableStore` or `OSError`."""
    with _opened_bucket(place) if is_url(place) else _opened_directory(place) as records:
        yield records


def _opened_to_delete(place: str) -> AbstractContextManager[DeleteBlobs]:
    """Open the blobs in a directory or an object store for deletions. Raises `UnusableStore` or `OSError`."""
    if not is_url(place):
        return image_directory.opened_to_delete(place)
    from filestored.images import bucket

    return bucket.opened_to_delete(connect(place, ENGINE_TIMEOUT_SECONDS))


@contextmanager
def _opened_bucket(url: str) -> Iterator[IRecords]:
    client = connect(url, ENGINE_TIMEOUT_SECONDS)
    from filestored.storage.object_store import layout
    from filestored.storage.object_store.records import ObjectRecords

    with layout.error_context(client):
        text = client.read_format()
        if text is None or parse(text).hash != image_directory.FORMAT_NAME:
            raise UnusableStore("it is not the --images of a daemon; name that with --images")
        yield ObjectRecords(client)


@contextmanager
def _opened_directory(directory: str) -> Iterator[IRecords]:
    if os.path.isdir(directory):
        become_owner(directory)
        image_directory.check(directory)
    if not os.path.exists(os.path.join(directory, NAME)):
        raise UnusableStore(f"{directory} is not the --images directory of a daemon; name that with --images")
    records = DiskRecords(directory)
    try:
        yield records
    finally:
        records.close()
