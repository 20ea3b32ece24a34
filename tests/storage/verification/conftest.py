"""Fixtures: a store to verify, on a disk and in each object store."""

import os
from collections.abc import Iterator

import pytest

from filestored.digest import Digest
from filestored.storage.verification.disk_place import DiskPlace
from tests.storage.contract import MD5
from tests.storage.object_stores import ENGINES, open_backend, opened_client
from tests.storage.verification.verified_stores import VerifiedStore, overwrite


@pytest.fixture
def on_disk(disk, place) -> VerifiedStore:
    """A store on a disk."""

    def change(digest: Digest, data: bytes) -> None:
        overwrite(os.path.join(place, digest.shard, digest.hex), data)

    def quarantined() -> list[str]:
        return sorted(os.listdir(os.path.join(place, "quarantine")))

    return VerifiedStore(DiskPlace(place), disk, change, quarantined)


@pytest.fixture(params=["disk", *ENGINES])
def verified(request, tmp_path) -> Iterator[VerifiedStore]:
    """Each kind of store in turn."""
    if request.param == "disk":
        yield request.getfixturevalue("on_disk")
        return
    with opened_client(request) as client:
        yield object_store(client, str(tmp_path))


def object_store(client, spool: str) -> VerifiedStore:
    """Return a store in an object store."""
    from filestored.storage.object_store.sink import key_of
    from filestored.storage.verification.object_place import ObjectPlace

    backend = open_backend(client, MD5, spool)

    def change(digest: Digest, data: bytes) -> None:
        client.put(key_of(digest), data)

    return VerifiedStore(ObjectPlace(client), backend, change, lambda: client.entries("quarantine"))
