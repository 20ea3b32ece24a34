"""What the daemon does on signals, beyond what Twisted does on the first SIGTERM or SIGINT.

A handler only wakes the reactor; everything happens in its turn. The main thread alone can install
handlers; that is where services start and stop.
"""

import signal
from collections.abc import Callable
from typing import Any


def on_reopen(reactor: Any, action: Callable[[], object]) -> None:
    """SIGUSR1 and SIGHUP, as logrotate sends them, open the files of logs anew."""
    _install(reactor, action, signal.SIGUSR1, signal.SIGHUP)


def on_second_stop(reactor: Any, action: Callable[[], object]) -> None:
    """While a stop is under way, another SIGTERM or SIGINT loses patience."""
    interruptible = [signal.SIGINT] if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN else []
    _install(reactor, action, signal.SIGTERM, *interruptible)


def _install(reactor: Any, action: Callable[[], object], *numbers: int) -> None:
    def handle(number: int, frame: object) -> None:
        reactor.callFromThread(action)

    for number in numbers:
        signal.signal(number, handle)
