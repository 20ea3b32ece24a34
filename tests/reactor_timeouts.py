"""Timeouts of tests that wait for the reactor: the test fails, and the reactor runs on.

pytest-timeout raises its exception in a signal handler. The main loop of the reactor logs and drops it.
"""

from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

_reactor: Any = reactor  # a module, as far as types go
_blockon = pytest_twisted.blockon_default
_waits: list[Deferred[Any]] = []
"""The result that the test waits for now, or nothing."""


def install() -> None:
    """Let every wait of pytest-twisted end at the timeout of its test."""
    pytest_twisted.blockon_default = blockon


def blockon(awaited: Deferred[Any]) -> Any:
    """Wait for a Deferred, at most until the timeout; a result that comes later is dropped."""
    wait: Deferred[Any] = Deferred()
    _waits.append(wait)
    try:
        awaited.addBoth(partial(_end_wait, wait))
        return _blockon(wait)
    finally:
        _waits.remove(wait)


def _end_wait(wait: Deferred[Any], result: object) -> None:
    """End a wait with a result or a failure, unless it has ended already."""
    if wait in _waits and not wait.called:
        wait.callback(result)


def expire(handler: Callable[[int, FrameType | None], object], number: int, frame: FrameType | None) -> None:
    """Call the signal handler of pytest-timeout; fail the wait of the test with the exception it raises.

    The exception goes on, too: it ends code that blocks the reactor.
    """
    try:
        handler(number, frame)
    except BaseException as error:
        for wait in _waits:
            _reactor.callFromThread(_end_wait, wait, Failure(error))
        raise
