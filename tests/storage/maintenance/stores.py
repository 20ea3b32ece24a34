"""Stores for tests of commands, made without a daemon."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

from filestored.digest import Algorithm, algorithm
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import prepare
from tests.seaweedfs import Prefix
from tests.storage.contract import digest_of, put
from tests.storage.object_stores import dropped, open_backend, seaweedfs_client

SHA256 = algorithm("sha256")
NOBODY = 65534


def make_store(path: str, contents: Iterable[bytes], own: Algorithm = SHA256) -> list[str]:
    """Make a store, or a bucket at its path, with these files; return their hashes in the order of a list."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    prepare(path, own.name)
    with closing(DiskBackend(path, own)) as backend:
        for content in contents:
            put(backend, content, digest_of(content, own))
    return sorted(digest_of(content, own).hex for content in contents)


@contextmanager
def store_of_another_user(contents: Iterable[bytes]) -> Iterator[str]:
    """Make a store below a directory that others can reach; as root, it is that of another user."""
    with tempfile.TemporaryDirectory(prefix="store-", dir="/tmp") as path:
        make_store(path, contents)
        if os.geteuid() == 0:
            for place, _, files in os.walk(path):
                for each in [place, *(os.path.join(place, name) for name in files)]:
                    os.chown(each, NOBODY, NOBODY)
        yield path


def path_of(store: str, name: str) -> str:
    """Return the path of a file."""
    return os.path.join(store, name[:2], name)


def make_object_store(prefix: Prefix, contents: Iterable[bytes], spool: str) -> None:
    """Make a store in SeaweedFS with these files."""
    with dropped(seaweedfs_client(prefix)) as client:
        backend = open_backend(client, SHA256, spool)
        for content in contents:
            put(backend, content, digest_of(content, SHA256))
