"""Opened bucket: the files of one bucket for a command, and what its directory holds besides them.

Interface of `disk_store` and `object_store`, which open a store that exists, also beside running daemons.
Neither creates a store, nor prepares it as a daemon does.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from filestored.digest import Algorithm, Digest
from filestored.errors import MalformedDigest
from filestored.interfaces import IAliases
from filestored.storage.disk.format_file import StoreFormat
from filestored.storage.limits.limited_backend import LimitedBackend


class Leftover(NamedTuple):
    """A file that no name refers to: its `path` within the bucket, its size in bytes, and its time.

    `modified` is in seconds since the epoch; for a file in quarantine it is when that was moved there.
    """

    path: str
    size: int
    modified: float


class Space(NamedTuple):
    """Free and total space of a file system in bytes, as unprivileged processes see it."""

    free: int
    size: int


class Leftovers(Protocol):
    """Files of one kind beside the stored ones. Blocking."""

    def __iter__(self) -> Iterator[Leftover]:
        """Yield all of them. Raises `OSError`."""

    def remove(self, leftover: Leftover) -> bool:
        """Remove one; return False if it is gone, or in use again. Raises `OSError`."""


class OpenedBucket(NamedTuple):
    """A bucket: its files in `backend`, and its leftovers. `place` is its directory or its URL.

    `temp_files` are those of processes that have ended. `quarantine` has no reasons in it: a reason is
    removed with its file.
    """

    place: str
    algorithm: Algorithm
    backend: LimitedBackend
    temp_files: Leftovers
    quarantine: Leftovers

    def parse(self, text: str) -> Digest:
        """Parse a hash, which may be a former one: its length tells. Raises `MalformedDigest`."""
        aliases = IAliases(self.backend, None)
        former = aliases.alias_algorithms if aliases is not None else ()
        by_length = {2 * each.size: each for each in former}
        try:
            return by_length.get(len(text), self.algorithm).parse(text.lower())
        except MalformedDigest as error:
            raise MalformedDigest(f"{text} is no hash here: {error}") from None

    def resolve(self, digest: Digest) -> Digest:
        """Return the current digest of a former one. Raises `NotFound` or `OSError`."""
        return digest if digest.algorithm == self.algorithm.name else IAliases(self.backend).resolve(digest)


class OpenedStore(Protocol):
    """A store that exists: its format, and its buckets. Blocking."""

    format: StoreFormat

    def bucket_names(self) -> list[str]:
        """Return the names of the buckets besides the default one, in ascending order. Raises `OSError`."""

    def opened(self, bucket: str | None, *, counts: bool = False) -> AbstractContextManager[OpenedBucket]:
        """Open a bucket for the context; None is the default one.

        If no daemon has the ledger of the bucket open, the first removal counts all files, or else (not
        `counts`) daemons that open it wait until the context ends. Raises `UnusableStore` or `OSError`.
        """

    def space(self) -> Space | None:
        """Return the space of the file system; None for an object store. Raises `OSError`."""
