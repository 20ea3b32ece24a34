"""Eviction of idle connections: which connection is closed for a new one when there are too many.

First those that wait for a request, or for the rest of its head, the longest wait first; then those whose
client has not read anything of a response. Others are never evicted. The order is computed once per sweep
of the server, however many connections come in between.
"""

from collections import deque
from collections.abc import Iterable

from filestored.http.roles import Connection

MIN_IDLE_SECONDS = 1.0
"""Seconds for which a connection has waited for a request, or its head, at least."""

MIN_STALL_SECONDS = 10.0
"""Seconds for which a client has read nothing of its response at least."""


class Eviction:
    """The connections of one server that may be evicted."""

    def __init__(self) -> None:
        self._candidates: deque[Connection] = deque()
        self._computed = -1.0

    def evict(self, connections: Iterable[Connection], now: float) -> bool:
        """Close one of the connections; `now` is the time of the last sweep. False when all are needed."""
        if now != self._computed:
            self._computed = now
            self._candidates = deque(_candidates(connections, now))
        while self._candidates:
            candidate = self._candidates.popleft()
            if _may_close(candidate, now):
                candidate.give_up()
                return True
        return False


def _candidates(connections: Iterable[Connection], now: float) -> list[Connection]:
    """Return the connections that may be closed, in the order in which they are."""
    return sorted((each for each in connections if _may_close(each, now)), key=_urgency)


def _may_close(connection: Connection, now: float) -> bool:
    idle, stalled = connection.idle_since, connection.stalled_since
    if idle is not None:
        return now - idle >= MIN_IDLE_SECONDS
    return stalled is not None and now - stalled >= MIN_STALL_SECONDS


def _urgency(connection: Connection) -> tuple[bool, float]:
    idle, stalled = connection.idle_since, connection.stalled_since
    return (False, idle) if idle is not None else (True, stalled or 0.0)
