"""Interfaces of verification: a place with its buckets, the files of one bucket, the recorded state."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from filestored.digest import Digest
from filestored.storage.verification.state import State


class Listed(NamedTuple):
    """A name that was listed: a file, or with an `error` a directory that could not be listed."""

    name: str
    digest: Digest | None
    error: str = ""


class Examined(NamedTuple):
    """A file that was read: its size, whether its bytes have the hash in its name, and its version."""

    size: int
    is_intact: bool
    version: object


class VerifiedFiles(Protocol):
    """The files of one bucket. Blocking."""

    def listed(self, after: str) -> Iterator[Listed]:
        """Yield the names after `after` in ascending order. Raises `OSError` or `UnusableStore`."""

    def examine(self, digest: Digest, *, again: bool) -> Examined | None:
        """Read a file; None if it was deleted or is too young. With `again` it is read from the disk.

        Raises `ReadFailed` for an unreadable file, or another `OSError`.
        """

    def quarantine(self, digest: Digest, examined: Examined, reason: str) -> bool:
        """Move that version to quarantine; False if it was replaced or deleted. Raises `OSError`."""

    def exists(self, digest: Digest) -> bool:
        """Return whether there is such a file. Raises `OSError`."""

    def parse(self, text: str) -> Digest:
        """Parse the name of a file. Raises `MalformedDigest`."""

    def count(self) -> int | None:
        """Return the number of files, if that is known without reading all of them. Raises `OSError`."""


class RecordedState(Protocol):
    """The state of a place, which one process may change at a time. Blocking."""

    def load(self) -> State:
        """Return the state. Raises `OSError`."""

    def save(self, state: State) -> None:
        """Replace the state, durably. Raises `OSError`."""


class Place(Protocol):
    """A store with its buckets. Blocking; raises `UnusableStore` or `OSError`."""

    def buckets(self) -> Sequence[str]:
        """Return the names of all buckets in ascending order; the default one is empty."""

    def opened(
        self, bucket: str, before: float | None, chunk_bytes: int, count: Callable[[int], None]
    ) -> AbstractContextManager[VerifiedFiles | None]:
        """Open the files of a bucket for the context; None if it was removed.

        Files younger than `before` are left out. `count` is called for the bytes of each chunk that was read;
        it may raise an error, which ends the work.
        """

    def claimed(self) -> AbstractContextManager[RecordedState]:
        """Open the state for the context. Raises `VerificationRunning` while another process has it open."""
