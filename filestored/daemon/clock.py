"""Monotonic clock for the reactor: no deadline depends on the wall clock.

Twisted's ``reactor.seconds`` is `time.time`. When the wall clock is set forward, all delayed calls are due
at once and all deadlines have passed; when it is set back, delayed calls wait as long as it was set back.
Dates in responses and logs are read from `time.time` where they are made.

Rejected: a clock for the deadlines only. The calls of ``callLater`` that check them would still follow the
wall clock.
"""

from time import monotonic
from typing import Any


def use_monotonic_clock(reactor: Any) -> None:
    """Have ``reactor.seconds``, and the calls that wait already, follow `time.monotonic`. Allowed twice."""
    before = reactor.seconds
    if before is monotonic:
        return
    now = before()
    reactor.seconds = monotonic
    for call in reactor.getDelayedCalls():
        call.seconds = monotonic
        call.reset(max(call.getTime() - now, 0.0))
