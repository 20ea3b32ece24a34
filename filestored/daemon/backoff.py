"""Back-off for the restarts of worker processes. Pure.

A worker that exits before it serves probably cannot start: the delays grow up to `MAX_DELAY_SECONDS`. A
worker that served, or was killed from outside, says nothing about its successor, which will probably serve.
That delay stays at `MAX_INTERRUPTED_DELAY_SECONDS`.
"""

QUICK_DEATHS = 5
"""Number of quick deaths in a row in one place from which restarts are delayed."""

YOUNG = 10.0
"""Seconds; a worker that lived longer does not count as a quick death."""

MAX_DELAY_SECONDS = 15.0
"""Maximum delay before a restart."""

MAX_INTERRUPTED_DELAY_SECONDS = 1.0
"""Maximum delay after a worker that had served, or was killed from outside."""

_MAX_DOUBLINGS = 10


class Backoff:
    """Counts quick deaths in one place."""

    def __init__(self) -> None:
        self._quick = 0

    def delay(self, lifetime: float, *, interrupted: bool) -> float:
        """Return the seconds to wait after a worker that lived `lifetime` seconds.

        `interrupted` says that it had served, or was killed from outside.
        """
        self._quick = self._quick + 1 if lifetime < YOUNG else 0
        if self._quick < QUICK_DEATHS:
            return 0.0
        longest = MAX_INTERRUPTED_DELAY_SECONDS if interrupted else MAX_DELAY_SECONDS
        return min(longest, 2.0 ** min(self._quick - QUICK_DEATHS, _MAX_DOUBLINGS))
