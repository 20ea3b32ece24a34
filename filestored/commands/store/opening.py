"""Stores as arguments of commands: a directory or the URL of an object store, and a bucket in it."""

import os
from argparse import ArgumentParser, ArgumentTypeError
from contextlib import AbstractContextManager

from filestored.access.values import DEFAULT_BUCKET
from filestored.daemon.startup.engine_check import connect
from filestored.daemon.startup.owner import become_owner
from filestored.settings import ENGINE_TIMEOUT_SECONDS
from filestored.storage.maintenance.disk_store import DiskStore
from filestored.storage.maintenance.opened_bucket import OpenedBucket, OpenedStore
from filestored.storage.object_store.url import is_url, parse_url

STORE_HELP = "the daemon's --store, a directory or the URL of an object store"

OWNER = (
    "Run it as the owner of the directory, or as root; for an object store, with the variables of the daemon."
)
"""Part of the descriptions of commands that open a store."""


def add_store(parser: ArgumentParser, *, optional: bool = False) -> None:
    """Add the argument STORE."""
    nargs = "?" if optional else None
    parser.add_argument("store", metavar="STORE", nargs=nargs, type=parse_place, help=STORE_HELP)


def parse_place(text: str) -> str:
    """Return the URL of an object store, or the path of a directory. Raises `ArgumentTypeError`."""
    if not is_url(text):
        return os.path.realpath(text)
    try:
        return str(parse_url(text))
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def become_store_owner(place: str) -> None:
    """Give up the privileges of root for those of the owner of a directory."""
    if not is_url(place) and os.path.isdir(place):
        become_owner(place)


def open_store(place: str) -> OpenedStore:
    """Open a store that exists. Raises `UnusableStore` or `OSError`."""
    become_store_owner(place)
    if not is_url(place):
        return DiskStore(place)
    client = connect(place, ENGINE_TIMEOUT_SECONDS)
    from filestored.storage.maintenance.object_store import ObjectStore

    return ObjectStore(client)


def opened_bucket(
    store: OpenedStore, name: str, *, counts: bool = False
) -> AbstractContextManager[OpenedBucket]:
    """Open a bucket for the context; see `OpenedStore.opened`."""
    return store.opened(None if name == DEFAULT_BUCKET else name, counts=counts)


def bucket_names(store: OpenedStore, name: str | None) -> list[str]:
    """Return the bucket `name`, or the names of all buckets, the default one first. Raises `OSError`."""
    return [DEFAULT_BUCKET, *store.bucket_names()] if name is None else [name]
