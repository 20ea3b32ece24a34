"""Startup errors: one line on stderr, exit status 1, no traceback.

Before twistd daemonises, `exit_with` raises a plain `SystemExit`. Afterwards twistd needs an `Exception`:
only then does it remove its pidfile and send the first hundred characters to the waiting parent process. In
the foreground the same exception reaches the interpreter, which prints a traceback for everything except
`SystemExit`. `CannotStart` is therefore both.
"""

from typing import NoReturn


class CannotStart(SystemExit, Exception):
    """Raised when the daemon cannot start; the message is one line for the operator."""

    __module__ = "filestored"  # twistd shows the first hundred characters of this name and the message


def exit_with(reason: object) -> NoReturn:
    """Raise `SystemExit` with one line, before the process is a daemon."""
    raise SystemExit(f"filestored: {one_line(reason)}")


def one_line(reason: object) -> str:
    """Return a reason without line breaks; the class name of an error without a message."""
    return " ".join(str(reason).split()) or type(reason).__name__
