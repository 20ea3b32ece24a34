"""Limit of concurrent decompressed downloads, for each account and in total.

In: the name of an account. Out: a slot, held until the download ends, or `Overloaded`.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from filestored.errors import Overloaded

MAX_STREAMS_PER_OWNER = 32
"""Maximum number of images of one account that a worker decompresses at once."""

MAX_STREAMS = 128
"""Maximum number of images that a worker decompresses at once; each takes up to 400 KiB of memory."""


class StreamLimit:
    """Counts the decompressed downloads of each owner."""

    def __init__(self, limit: int = MAX_STREAMS, limit_per_owner: int = MAX_STREAMS_PER_OWNER) -> None:
        self._limit = limit
        self._limit_per_owner = limit_per_owner
        self._open: Counter[str] = Counter()

    @contextmanager
    def slot(self, owner: str) -> Iterator[None]:
        """Hold a slot for one download. Raises `Overloaded` at the limit."""
        if self._open[owner] >= self._limit_per_owner or self._open.total() >= self._limit:
            raise Overloaded
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            self._open += Counter()  # drops owners without downloads
