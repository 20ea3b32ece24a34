"""How a daemon that cannot start says so: one line on stderr, exit status 1, no traceback.

Before twistd daemonises, a refusal is a plain `SystemExit`, raised by `refuse`. Afterwards twistd wants an
`Exception`: only then does it remove its pidfile, and tell the waiting parent process, which prints
the first hundred characters. In the foreground the same exception travels up to the interpreter,
where everything but a `SystemExit` is a traceback. `CannotStart` is therefore both.
"""

from typing import NoReturn


class CannotStart(SystemExit, Exception):  # read as a sentence by the operator
    """The daemon cannot start; the message is one line for the operator."""


def refuse(reason: object) -> NoReturn:
    """End the program before it is a daemon. Raises `SystemExit` with one line."""
    raise SystemExit(f"filestored: {one_line(reason)}")


def one_line(reason: object) -> str:
    """A reason without line breaks; an error without a message gives its name."""
    return " ".join(str(reason).split()) or type(reason).__name__
