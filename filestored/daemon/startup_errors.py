"""Startup errors: one line on stderr, exit status 1, no traceback.

Before twistd daemonises, `exit_with` raises a plain `SystemExit`. Afterwards twistd needs an `Exception`:
only then does it remove its pidfile and send the message to the waiting parent process. The same exception
reaches the interpreter, which prints a traceback for everything except `SystemExit`. `CannotStart` is
therefore both. In the foreground `lifecycle` writes the line.
"""

import os
from typing import NoReturn

from filestored.logs.journal import as_error


class CannotStart(SystemExit, Exception):
    """Raised when the daemon cannot start; the message is one line for the operator."""

    def __init__(self, reason: object) -> None:
        super().__init__(f"filestored: {describe(reason)}")
        self.code = 1  # the interpreter prints a message to sys.stderr, which is the log by now


def exit_with(reason: object) -> NoReturn:
    """Raise `SystemExit` with one line, before the process is a daemon."""
    raise SystemExit(as_error(f"filestored: {describe(reason)}"))


def one_line(reason: object) -> str:
    """Return a reason without line breaks; the class name of an error without a message."""
    return " ".join(str(reason).split()) or type(reason).__name__


def describe(reason: object) -> str:
    """Return a reason in one line; that of a system call names the path, and the user if it was refused."""
    if not (isinstance(reason, OSError) and reason.filename and reason.strerror):
        return one_line(reason)
    advice = f"; let user {os.geteuid()} do it" if isinstance(reason, PermissionError) else ""
    return one_line(f"{os.fsdecode(reason.filename)}: {reason.strerror}{advice}")
