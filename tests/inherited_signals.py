"""Signals that the starter of the tests ignores or blocks, as nohup(1) and background jobs do.

A program inherits both, so without `restore_signals` each daemon of a test would ignore them too.
"""

import signal

_IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}
"""Signals that the interpreter ignores, and `subprocess` restores."""


def restore_signals() -> None:
    """Let programs that this process starts begin with the default effects of signals, and none blocked.

    This process goes on ignoring what its starter ignored: a handler that does nothing is not inherited.
    """
    for number in signal.valid_signals() - _IGNORED_BY_PYTHON:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _ignore)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _ignore(number: int, frame: object) -> None:
    return
