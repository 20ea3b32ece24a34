"""Bound on streams: at most so many at once for each owner, and in all.

In: the name of an owner. Out: a place, held until the stream ends, or `Overloaded`.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from filestored.errors import Overloaded

MAX_STREAMS_EACH = 32
"""Images of one account that a worker decompresses at once, each at the pace of its client."""

MAX_STREAMS = 128
"""Images that a worker decompresses at once; each takes up to 400 KiB of memory."""


class Streams:
    """The streams that are open now, counted by owner."""

    def __init__(self, limit: int = MAX_STREAMS, limit_each: int = MAX_STREAMS_EACH) -> None:
        self._limit = limit
        self._limit_each = limit_each
        self._open: Counter[str] = Counter()

    @contextmanager
    def place(self, owner: str) -> Iterator[None]:
        """Hold a place for one stream. Raises `Overloaded` beyond the bounds."""
        if self._open[owner] >= self._limit_each or self._open.total() >= self._limit:
            raise Overloaded
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            self._open += Counter()  # drops owners without streams
