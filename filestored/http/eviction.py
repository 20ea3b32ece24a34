"""Eviction of connections: which connection is closed for a new one when there are too many.

Each connection has a rank (`ManagedConnection.eviction_rank`); the most dispensable one is closed first. The
order is computed once per sweep of the server, however many connections come in between.
"""

from collections import deque
from collections.abc import Iterable

from filestored.http.protocols import ManagedConnection


class Eviction:
    """The connections of one server that may be evicted."""

    def __init__(self) -> None:
        self._candidates: deque[ManagedConnection] = deque()
        self._computed = -1.0

    def evict(self, connections: Iterable[ManagedConnection], now: float) -> bool:
        """Close one of the connections; `now` is the time of the last sweep. False when all are needed."""
        if now != self._computed:
            self._computed = now
            self._candidates = deque(_in_order(connections, now))
        while self._candidates:
            candidate = self._candidates.popleft()
            if candidate.eviction_rank(now) is not None:
                candidate.expire()
                return True
        return False


def _in_order(connections: Iterable[ManagedConnection], now: float) -> list[ManagedConnection]:
    """Return the connections that may be closed, the most dispensable one first."""
    ranked = [(rank, each) for each in connections if (rank := each.eviction_rank(now)) is not None]
    return [each for _, each in sorted(ranked, key=lambda pair: pair[0])]
