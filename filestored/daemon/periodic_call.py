"""Repeated calls that survive an exception.

Twisted's `LoopingCall` ends silently when its function raises. The heartbeat of the workers and of the
systemd watchdog must go on.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_log = Logger()


def repeating(clock: Any, function: Callable[[], object]) -> LoopingCall:
    """Return a `LoopingCall` of `function` on `clock`; an exception is logged and ends nothing."""

    def call() -> None:
        try:
            function()
        except Exception:
            _log.failure("a repeated call failed")

    loop = LoopingCall(call)
    loop.clock = clock
    return loop
