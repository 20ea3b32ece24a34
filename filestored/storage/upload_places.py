"""Upload places: the bound on uploads that write to disk at once, and eviction of the slowest.

An upload needs no place for its first `MAX_UNPLACED_BYTES` bytes, which wait in memory. It takes one for
the next byte, or to be committed, and releases it at its end. When all places are held, the upload with
the slowest client is evicted, if that is slower than `MIN_RATE`; else the newcomer is refused.

Rejected: a place from the head of the request on. Slow clients then keep all others from uploading, for
as long as they like.
"""

from collections.abc import Callable
from time import monotonic
from typing import Protocol

from filestored.errors import Overloaded

MAX_UNPLACED_BYTES = 16 * 1024
"""Bytes that an upload may keep in memory without a place. 4,000 of them take 64 MiB."""

MIN_RATE = 64 * 1024
"""Bytes a second below which the holder of a place may be evicted."""

MIN_WINDOW_SECONDS = 2.0
"""Seconds over which a rate is measured at least."""


class Holder(Protocol):
    """An upload that holds a place, or wants one."""

    def rate(self, now: float) -> float:
        """Return the bytes a second that the client has sent; infinite where the client is not to blame."""

    def evict(self) -> None:
        """Fail with `Overloaded`, and free memory and descriptors."""


class UploadPlaces:
    """The places of one store. `seconds` is a monotonic clock."""

    def __init__(self, count: int, seconds: Callable[[], float] = monotonic) -> None:
        self.seconds = seconds
        self._count = count
        self._holders: set[Holder] = set()

    def check(self) -> None:
        """Raise `Overloaded` when all places are held, and none of the holders is slow."""
        if len(self._holders) >= self._count:
            self._slowest(MIN_RATE)

    def acquire(self, upload: Holder) -> None:
        """Make `upload` the holder of a place, if it is none yet. Raises `Overloaded`."""
        if upload in self._holders:
            return
        if len(self._holders) >= self._count:
            slowest = self._slowest(min(MIN_RATE, upload.rate(self.seconds())))
            self._holders.remove(slowest)
            slowest.evict()
        self._holders.add(upload)

    def release(self, upload: Holder) -> None:
        """Free the place of `upload`, if it holds one."""
        self._holders.discard(upload)

    def _slowest(self, below: float) -> Holder:
        """Return the holder with the lowest rate. Raises `Overloaded` unless that is lower than `below`."""
        now = self.seconds()
        rate, _, slowest = min((each.rate(now), id(each), each) for each in self._holders)
        if rate >= below:
            raise Overloaded
        return slowest


class Meter:
    """The rate at which the client of one upload sends."""

    def __init__(self, now: float) -> None:
        self.restart(now, 0)

    def restart(self, now: float, size: int) -> None:
        """Begin a new window at the time `now`, when `size` bytes have come."""
        self._since = now
        self._size = size

    def rate(self, now: float, size: int) -> float:
        """Return the bytes a second since the window began; infinite while it is too short to measure."""
        elapsed = now - self._since
        return (size - self._size) / elapsed if elapsed >= MIN_WINDOW_SECONDS else float("inf")
