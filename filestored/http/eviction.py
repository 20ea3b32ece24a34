"""Eviction of connections: the choice of a connection to close for a new one when there are too many.

Each connection has a rank; the one with the lowest rank is closed first. The order is computed once per poll
of the timeouts, however many connections come in between.
"""

from collections import deque
from collections.abc import Iterable

from filestored.http.protocols import ManagedConnection, Rank
from filestored.http.state import ConnectionState

MIN_IDLE_SECONDS = 1.0
"""A connection may be evicted after waiting so long for a request, or for the rest of its head."""

MIN_STALL_SECONDS = 10.0
"""A connection may be evicted when its client has read nothing of a response for so long."""

MIN_BODY_RATE = 16 * 1024
"""A connection may be evicted when a body arrives on it at fewer bytes a second."""

_IDLE = (ConnectionState.IDLE, ConnectionState.HEAD, ConnectionState.LINGER)


def rank(
    state: ConnectionState, seconds: float, stalled_seconds: float | None, body_rate: float
) -> Rank | None:
    """Return the rank of a connection, or None if it may not be evicted.

    `seconds` in its state; `stalled_seconds` since its client took any pending output, None without any;
    `body_rate` in bytes a second, infinite if no body is awaited.

    The order: idle connections, the longest idle one first; stalled readers, the longest stalled one first;
    arriving bodies, the slowest first.
    """
    if state is ConnectionState.CLOSED:
        return None
    if state in _IDLE:
        return (0, -seconds) if seconds >= MIN_IDLE_SECONDS else None
    if stalled_seconds is not None:
        return (1, -stalled_seconds) if stalled_seconds >= MIN_STALL_SECONDS else None
    return (2, body_rate) if body_rate < MIN_BODY_RATE else None


class Eviction:
    """The connections of one server in the order of their ranks."""

    def __init__(self) -> None:
        self._candidates: deque[ManagedConnection] = deque()
        self._computed_at = -1.0

    def evict(self, connections: Iterable[ManagedConnection], now: float) -> bool:
        """Close one connection; False if none may be closed. `now` is the time of the last poll."""
        if now != self._computed_at:
            self._computed_at = now
            self._candidates = deque(_in_order(connections, now))
        while self._candidates:
            candidate = self._candidates.popleft()
            if candidate.eviction_rank(now) is not None:
                candidate.expire()
                return True
        return False


def _in_order(connections: Iterable[ManagedConnection], now: float) -> list[ManagedConnection]:
    ranked = [(rank, each) for each in connections if (rank := each.eviction_rank(now)) is not None]
    return [each for _, each in sorted(ranked, key=lambda pair: pair[0])]
