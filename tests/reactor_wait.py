"""Waiting for a condition while the reactor runs; `tests.daemon_process.until` blocks instead."""

import time
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.task import deferLater

TIMEOUT = 30.0
"""Seconds after which a wait fails."""


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds. Raises `AssertionError` after `TIMEOUT`."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {TIMEOUT:g} s"
        await deferLater(reactor, 0.005)
