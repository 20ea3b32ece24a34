"""How long one waits for a peer: pure measures of counters that should grow.

Each is told the time and a counter now and then (one coarse sweep over all connections), and
says whether patience has run out. Nothing is set or cancelled per request.
"""

from math import inf

from filestored.http.limits import Limits
from filestored.http.state import ConnectionState

MIN_RATE_SECONDS = 5.0
"""Seconds over which a rate is measured at least."""


class Timeouts:
    """What one connection is waited for, and how long: phases that may only last so long, bytes both ways."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._body_stall = StallTimer(limits.body_stall_timeout)
        self._min_body_rate = MinRate(limits.body_window, limits.body_rate)
        self._write_stall = StallTimer(limits.write_timeout)

    def reset_body(self) -> None:
        """A new body begins."""
        self._body_stall.reset()
        self._min_body_rate.reset()

    def is_expired(self, state: ConnectionState, since: float, now: float) -> bool:
        """Whether `state` has lasted too long since it was entered."""
        return now - since > self._allowed(state)

    def body_expired(self, wanted: bool, now: float, received: int) -> bool:
        """Whether a body that is `wanted` does not come, or too slowly; `received` counts bytes."""
        if not wanted:
            self.reset_body()
            return False
        silent = self._body_stall.expired(now, received)
        return self._min_body_rate.expired(now, received) or silent

    def write_expired(self, pending: bool, now: float, taken: int) -> bool:
        """Whether the peer does not take what is `pending` for it; `taken` grows when it does."""
        if not pending:
            self._write_stall.reset()
            return False
        return self._write_stall.expired(now, taken)

    def body_rate(self, now: float, received: int) -> float:
        """Return the bytes a second of a body; infinite where the time is too short to measure."""
        return self._min_body_rate.rate(now, received)

    @property
    def write_stalled_since(self) -> float | None:
        """The time since when the peer has taken nothing of what is pending, as seen by `write_expired`."""
        return self._write_stall.since

    def _allowed(self, state: ConnectionState) -> float:
        """For how many seconds a connection may be in `state`."""
        match state:
            case ConnectionState.IDLE:
                return self._limits.keep_alive_timeout
            case ConnectionState.HEAD:
                return self._limits.head_timeout
            case ConnectionState.BODY_FAILED:
                return self._limits.write_timeout
            case ConnectionState.LINGER:
                return self._limits.linger_time
            case _:
                return inf


class StallTimer:
    """Runs out when a counter has stood still for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._count = -1
        self._until = inf

    def expired(self, now: float, count: int) -> bool:
        """Whether `count` has been the same for too long at the time `now`."""
        if count != self._count:
            self._count = count
            self._until = now + self._seconds
        return now >= self._until

    @property
    def since(self) -> float | None:
        """The time at which the counter was seen to grow last; None when nothing is expected."""
        return None if self._until == inf else self._until - self._seconds

    def reset(self) -> None:
        """Nothing is expected at present."""
        self._count = -1
        self._until = inf


class MinRate:
    """Runs out when a counter has grown by less than `rate` a second over `window` seconds."""

    def __init__(self, window: float, rate: int) -> None:
        self._window = window
        self._rate = rate
        self._begin = inf
        self._count = 0

    def expired(self, now: float, count: int) -> bool:
        """Whether the window that has just ended saw too little growth."""
        if self._begin == inf:
            self._begin, self._count = now, count
        if now - self._begin < self._window:
            return False
        slow = count - self._count < self._rate * (now - self._begin)
        self._begin, self._count = now, count
        return slow

    def rate(self, now: float, count: int) -> float:
        """Return the growth a second in the present window; infinite in its first `MIN_RATE_SECONDS`."""
        elapsed = now - self._begin
        return (count - self._count) / elapsed if elapsed >= MIN_RATE_SECONDS else inf

    def reset(self) -> None:
        """Nothing is expected at present; a new window begins with the next call."""
        self._begin = inf
