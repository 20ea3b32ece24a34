"""Connection timeouts: keep-alive, request head, request body (stall and minimum rate), response, linger.

Pure. The factory polls them for all connections; no timer is set or cancelled per request. Each poll passes
the time and a counter that should grow.
"""

from math import inf

from filestored.http.limits import Limits
from filestored.http.state import ConnectionState

MIN_RATE_SECONDS = 5.0
"""The shortest time over which a rate is measured."""


class Timeouts:
    """The timeouts of one connection."""

    def __init__(self, limits: Limits) -> None:
        self._body_stall = StallTimer(limits.body_stall_timeout)
        self._min_body_rate = MinRate(limits.body_window, limits.body_rate)
        self._write_stall = StallTimer(limits.write_timeout)
        self._linger_stall = StallTimer(limits.linger_stall_timeout)
        self._limits = limits
        self.measures_body = False
        """Whether a poll has seen a body since `reset_body`."""

    def reset_body(self) -> None:
        """Forget the body that was measured."""
        self._body_stall.reset()
        self._min_body_rate.reset()
        self.measures_body = False

    def is_expired(self, state: ConnectionState, seconds: float) -> bool:
        """Return whether a connection may not be in `state` for so many seconds."""
        return seconds > self._max_seconds(state)

    def body_expired(self, wanted: bool, now: float, received: int) -> bool:
        """Return whether a body that is `wanted` has stalled or is too slow; `received` in bytes."""
        if not wanted:
            self.reset_body()
            return False
        self.measures_body = True
        stalled = self._body_stall.expired(now, received)
        return self._min_body_rate.expired(now, received) or stalled

    def write_expired(self, pending: bool, now: float, taken: int) -> bool:
        """Return whether the client does not read output that is `pending`; `taken` grows as it reads."""
        if not pending:
            self._write_stall.reset()
            return False
        return self._write_stall.expired(now, taken)

    def linger_expired(self, now: float, seconds: float, discarded: int, draining: bool) -> bool:
        """Return whether a connection has lingered for too long, or `discarded` no bytes for too long."""
        stalled = self._linger_stall.expired(now, discarded)
        limits = self._limits
        return stalled or seconds > (limits.linger_drain_timeout if draining else limits.linger_timeout)

    def body_rate(self, now: float, received: int) -> float:
        """Return the rate of a body in bytes a second; infinite if the time is too short to measure."""
        return self._min_body_rate.rate(now, received)

    def write_stalled_seconds(self, now: float) -> float | None:
        """Return the time since the client took any pending output, as polled; None if none is pending."""
        return self._write_stall.seconds(now)

    def _max_seconds(self, state: ConnectionState) -> float:
        match state:
            case ConnectionState.IDLE:
                return self._limits.keep_alive_timeout
            case ConnectionState.HEAD:
                return self._limits.head_timeout
            case ConnectionState.BODY_FAILED:
                return self._limits.write_timeout
            case _:
                return inf


class StallTimer:
    """Expires when a counter has not grown for `timeout` seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._count = -1
        self._deadline = inf

    def expired(self, now: float, count: int) -> bool:
        """Return whether `count` has been the same for too long."""
        if count != self._count:
            self._count = count
            self._deadline = now + self._timeout
        return now >= self._deadline

    def seconds(self, now: float) -> float | None:
        """Return the time since the counter was seen to grow; None after `reset`."""
        return None if self._deadline == inf else now - (self._deadline - self._timeout)

    def reset(self) -> None:
        """Stop until the next call of `expired`."""
        self._count = -1
        self._deadline = inf


class MinRate:
    """Expires when a counter has grown by less than `rate` a second over `window` seconds."""

    def __init__(self, window: float, rate: int) -> None:
        self._window = window
        self._rate = rate
        self._begin = inf
        self._count = 0

    def expired(self, now: float, count: int) -> bool:
        """Return whether the window that has just ended saw too little growth."""
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
        """Begin a new window with the next call of `expired`."""
        self._begin = inf
