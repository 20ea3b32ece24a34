"""Object store backends and records of tests: on obstore's own store in memory, and on a real SeaweedFS.

obstore is imported in functions only, because it may be missing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from filestored.digest import Algorithm
from tests.seaweedfs import NEEDS, Prefix

if TYPE_CHECKING:
    from filestored.storage.object_store.backend import ObjectBackend
    from filestored.storage.object_store.client import ObjectStoreClient
    from filestored.storage.object_store.records import ObjectRecords

LOCAL = ["memory", "disk", "disk with a file cache", "disk without O_TMPFILE"]
"""Parameters of the fixture ``backend``: those of one machine."""

IN_MEMORY = pytest.param("object store in memory", marks=pytest.mark.needs("obstore"))
ENGINES = [IN_MEMORY, pytest.param("SeaweedFS", marks=NEEDS)]
"""Parameters of fixtures, of which `opened_client` makes a client."""

TIMEOUT_SECONDS = 20.0


@contextmanager
def opened_client(request: pytest.FixtureRequest) -> "Iterator[ObjectStoreClient]":
    """Open an empty store of the engine that is the parameter of a fixture.

    In the end the client drops its stores of obstore: they hold connections, or spooled files, and pytest
    holds the client until after the leak check.
    """
    if request.param == "SeaweedFS":
        client = seaweedfs_client(request.getfixturevalue("prefix"))
    else:
        client = memory_client()
    with dropped(client):
        yield client


@contextmanager
def dropped(client: "ObjectStoreClient") -> "Iterator[ObjectStoreClient]":
    """Let a client drop its stores in the end, see `opened_client`."""
    yield client
    vars(client).clear()


def memory_client() -> "ObjectStoreClient":
    """Return a client of a new store in the memory of this process."""
    from obstore.store import MemoryStore

    from filestored.storage.object_store.client import ObjectStoreClient
    from filestored.storage.object_store.url import parse_url

    store = MemoryStore()
    url = parse_url("s3://bucket/in/memory")
    return ObjectStoreClient(url, TIMEOUT_SECONDS, lambda *_, **__: store)


def seaweedfs_client(prefix: Prefix) -> "ObjectStoreClient":
    """Return a client of a prefix of SeaweedFS."""
    from filestored.storage.object_store.client import ObjectStoreClient
    from filestored.storage.object_store.connection import connect
    from filestored.storage.object_store.url import parse_url

    environment = prefix.server.environment
    return ObjectStoreClient(
        parse_url(prefix.url), TIMEOUT_SECONDS, partial(connect, environment=environment)
    )


def open_backend(client: "ObjectStoreClient", algorithm: Algorithm, spool: str) -> "ObjectBackend":
    """Prepare the store of `client` and open it; large uploads wait in the directory `spool`."""
    from filestored.storage.object_store.backend import ObjectBackend
    from filestored.storage.object_store.layout import prepare
    from filestored.storage.object_store.spool import Spool

    prepare(client, algorithm.name)
    return ObjectBackend(client, algorithm, Spool(spool, reserve=0))


def open_object_records(client: "ObjectStoreClient") -> "ObjectRecords":
    """Prepare the store of `client` and open it for records."""
    from filestored.storage.object_store.layout import prepare
    from filestored.storage.object_store.records import ObjectRecords

    prepare(client, "images")
    return ObjectRecords(client)
