"""Ledger interface: the recorded usage of a bucket, which all of its processes share.

A ledger is changed before a file is published, and after one is deleted. So a process that dies in between
leaves a figure that is too high, never one that is too low.
"""

from typing import Protocol

from filestored.errors import QuotaExceeded
from filestored.interfaces import BucketLimits, IBackend, Usage

MAX_AGE_SECONDS = 1.0
"""Maximum age of a figure by which an upload is refused in advance."""


class Ledger(Protocol):
    """The recorded usage of one bucket. Thread-safe. Blocking, except for the properties and `cached`."""

    @property
    def is_open(self) -> bool:
        """True between the end of `open` and `close`."""

    @property
    def is_fresh(self) -> bool:
        """True if `cached` is at most `MAX_AGE_SECONDS` old."""

    def open(self) -> None:
        """Open the ledger, and count the files if needed. Idempotent. Raises `OSError`."""

    def close(self) -> None:
        """Close the ledger; changes after it have no effect, and it cannot be opened again."""

    def cached(self) -> Usage:
        """Return the last known figure of an open ledger, in the reactor's thread. Raises `OSError`."""

    def current(self, max_age: float = 0.0) -> Usage:
        """Return a figure of an open ledger that is at most `max_age` seconds old; zero if it is closed.

        Raises `OSError`.
        """

    def reserve(self, size: int, limits: BucketLimits) -> None:
        """Add a file of `size` bytes. Raises `QuotaExceeded` if it does not fit, or `OSError`."""

    def add(self, change: Usage) -> None:
        """Add to the figure, or subtract negative numbers.

        Does not raise: after an error this belongs to the next change.
        """


class MakeLedger(Protocol):
    """Makes the ledger of a backend; it is opened later."""

    def __call__(self, backend: IBackend) -> Ledger:
        """Return a ledger that is not open."""


def check_fits(usage: Usage, size: int, limits: BucketLimits) -> None:
    """Raise `QuotaExceeded` if one more file of `size` bytes exceeds the limits."""
    if limits.quota_bytes is not None and usage.bytes + size > limits.quota_bytes:
        raise QuotaExceeded.of_bytes(limits.quota_bytes)
    if limits.quota_files is not None and usage.files + 1 > limits.quota_files:
        raise QuotaExceeded.of_files(limits.quota_files)


def total(usage: Usage, change: Usage) -> Usage:
    """Return the sum of both."""
    return Usage(usage.files + change.files, usage.bytes + change.bytes)
