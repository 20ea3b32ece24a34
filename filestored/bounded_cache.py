"""Bounded cache: a dictionary that evicts its oldest entry (first in, first out)."""

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(dict[K, V]):
    """At most `max_entries` values. A replaced value keeps its place in the order."""

    def __init__(self, max_entries: int) -> None:
        super().__init__()
        self._max_entries = max_entries

    def add(self, key: K, value: V) -> None:
        """Store a value; evict the oldest one if there are too many then."""
        self[key] = value
        if len(self) > self._max_entries:
            del self[next(iter(self))]
