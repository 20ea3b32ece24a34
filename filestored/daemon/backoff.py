"""Restart back-off of worker processes. Pure.

A worker that exits before it serves probably cannot start: delays grow up to `MAX_RESTART_DELAY_SECONDS`.
After a worker that served, or was killed from outside, the next one probably serves: the delay stays below
`MAX_INTERRUPTED_DELAY_SECONDS`.
"""

MAX_QUICK_EXITS = 5
"""Quick exits in a row after which restarts are delayed."""

MIN_UPTIME_SECONDS = 10.0
"""Uptime from which an exit does not count as quick."""

MAX_RESTART_DELAY_SECONDS = 15.0
"""Maximum delay before a restart."""

MAX_INTERRUPTED_DELAY_SECONDS = 1.0
"""Maximum delay after a worker that had served, or was killed from outside."""

_MAX_DOUBLINGS = 10


class Backoff:
    """Counts the quick exits in one worker slot."""

    def __init__(self) -> None:
        self._quick = 0

    def delay(self, lifetime: float, *, interrupted: bool) -> float:
        """Return the delay in seconds after a worker with an uptime of `lifetime` seconds.

        `interrupted` if it had served, or was killed from outside.
        """
        self._quick = self._quick + 1 if lifetime < MIN_UPTIME_SECONDS else 0
        if self._quick < MAX_QUICK_EXITS:
            return 0.0
        longest = MAX_INTERRUPTED_DELAY_SECONDS if interrupted else MAX_RESTART_DELAY_SECONDS
        return min(longest, 2.0 ** min(self._quick - MAX_QUICK_EXITS, _MAX_DOUBLINGS))
