"""Signals of the daemon, beyond the first SIGTERM or SIGINT, which Twisted handles.

A handler only wakes the reactor; everything happens in its turn. Only the main thread can install handlers;
that is where services start and stop.

SIGUSR1 and SIGHUP may arrive at any time of a start, whose default action would end the process: logrotate
sends them to every process of the service. So they are held from the first moment (`hold_reopen`) until there
is something to reopen (`on_reopen`). A worker is spawned with both blocked, because its interpreter takes a
while until it can install a handler.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

REOPEN = (signal.SIGUSR1, signal.SIGHUP)
"""The signals by which logrotate and ``systemctl reload`` ask for log files to be opened anew."""

_held: list[int] = []
"""Signals of `REOPEN` that came before `on_reopen`."""


def hold_reopen() -> None:
    """Keep SIGUSR1 and SIGHUP for a later `on_reopen`, and unblock them."""
    _held.clear()
    for number in REOPEN:
        signal.signal(number, _hold)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, REOPEN)


@contextmanager
def reopen_signals_blocked() -> Iterator[None]:
    """Block SIGUSR1 and SIGHUP; a process that is spawned meanwhile inherits that (sigprocmask(2))."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, REOPEN)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def on_reopen(reactor: Any, action: Callable[[], object]) -> None:
    """Call `action` on SIGUSR1 and SIGHUP, and once for those that have been held."""
    _install(reactor, action, *REOPEN)
    if _held:
        _held.clear()
        reactor.callFromThread(action)


def on_second_stop(reactor: Any, action: Callable[[], object]) -> None:
    """While a stop is under way, call `action` on another SIGTERM or SIGINT."""
    interruptible = [signal.SIGINT] if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN else []
    _install(reactor, action, signal.SIGTERM, *interruptible)


def _hold(number: int, frame: object) -> None:
    _held.append(number)


def _install(reactor: Any, action: Callable[[], object], *numbers: int) -> None:
    def handle(number: int, frame: object) -> None:
        reactor.callFromThread(action)

    for number in numbers:
        signal.signal(number, handle)
