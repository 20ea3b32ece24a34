"""Rate limit of reading, in bytes per second, without bursts.

After each chunk the caller waits until its bytes are due. Time that was lost, because the disk was slow, is
made up for by at most `MAX_BURST_SECONDS`. A chunk is at most half of that, so a low rate has small chunks.
"""

import mmap
import time
from collections.abc import Callable

MAX_CHUNK_BYTES = 1024 * 1024
"""Maximum size of one read."""

MAX_BURST_SECONDS = 0.1
"""Maximum time whose bytes may be read at once."""

MIN_FILE_BYTES = 4096
"""Bytes for which each file counts at least: a disk reads whole blocks."""

_SLICE_SECONDS = 0.1


class Pace:
    """The rate limit of one process; `rate` None is none. `seconds` is a monotonic clock."""

    def __init__(
        self,
        rate: float | None,
        seconds: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._seconds = seconds
        self._sleep = sleep
        self._due = seconds()

    @property
    def chunk_bytes(self) -> int:
        """The size of one read, a multiple of the page size."""
        if self._rate is None:
            return MAX_CHUNK_BYTES
        pages = int(self._rate * MAX_BURST_SECONDS / 2) // mmap.PAGESIZE
        return min(max(pages, 1) * mmap.PAGESIZE, MAX_CHUNK_BYTES)

    def count(self, size: int, check: Callable[[], None]) -> None:
        """Count `size` bytes, and wait until they are due. Calls `check` at least every 0.1 s meanwhile."""
        check()
        if self._rate is None:
            return
        self._due = max(self._due, self._seconds() - MAX_BURST_SECONDS / 2) + size / self._rate
        while (wait := self._due - self._seconds()) > 0:
            self._sleep(min(wait, _SLICE_SECONDS))
            check()
