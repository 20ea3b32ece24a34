"""How long one waits for a peer: pure measures of a counter that should grow.

Each is told the time and the counter now and then (one coarse sweep over all connections),
and says whether patience has run out. Nothing is set or cancelled per request.
"""

from math import inf


class Silence:
    """Runs out when a counter has stood still for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._count = -1
        self._until = inf

    def exhausted(self, now: float, count: int) -> bool:
        """Whether `count` has been the same for too long at the time `now`."""
        if count != self._count:
            self._count = count
            self._until = now + self._seconds
        return now >= self._until

    def relax(self) -> None:
        """Nothing is expected at present."""
        self._count = -1
        self._until = inf


class Slowness:
    """Runs out when a counter has grown by less than `rate` a second over `window` seconds."""

    def __init__(self, window: float, rate: int) -> None:
        self._window = window
        self._rate = rate
        self._begin = inf
        self._count = 0

    def exhausted(self, now: float, count: int) -> bool:
        """Whether the window that has just ended saw too little growth."""
        if self._begin == inf:
            self._begin, self._count = now, count
        if now - self._begin < self._window:
            return False
        slow = count - self._count < self._rate * (now - self._begin)
        self._begin, self._count = now, count
        return slow

    def relax(self) -> None:
        """Nothing is expected at present; a new window begins with the next call."""
        self._begin = inf
