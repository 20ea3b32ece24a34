"""Periodic calls that continue after an exception, which silently ends Twisted's `LoopingCall`."""

from collections.abc import Callable
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_log = Logger()


def periodic_call(clock: Any, function: Callable[[], object]) -> LoopingCall:
    """Return a `LoopingCall` of `function` on `clock` that logs exceptions and continues."""

    def call() -> None:
        try:
            function()
        except Exception:
            _log.failure("a periodic call failed")

    loop = LoopingCall(call)
    loop.clock = clock
    return loop
