"""Bounded cache: a dictionary that evicts its oldest entries (first in, first out)."""

from itertools import islice
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

EVICTED_SHARE = 16
"""A full cache evicts one entry of so many at once.

Each search for the oldest key passes over those that were evicted since the dictionary was last resized.
"""


class BoundedCache(dict[K, V]):
    """At most `max_entries` values. A replaced value keeps its place in the order."""

    def __init__(self, max_entries: int) -> None:
        super().__init__()
        self._max_entries = max_entries

    def add(self, key: K, value: V) -> None:
        """Store a value; evict the oldest ones if there are too many then."""
        self[key] = value
        if len(self) > self._max_entries:
            for oldest in list(islice(self, max(1, self._max_entries // EVICTED_SHARE))):
                del self[oldest]
