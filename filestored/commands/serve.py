"""Command ``filestored serve``: the daemon in the foreground, the same as ``twistd -n filestored``.

The process replaces itself (execve(2)), and so keeps its id, the sockets of systemd, and its descriptors.
This module is the program that it becomes.

Rejected: to run twistd in the interpreter of the command, which has imported all commands: a daemon without
workers would keep their memory.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

NAME = "serve"
"""The word on the command line."""


def add_parser(commands: Any) -> None:
    """Add the command ``serve`` to the list of commands; its words are options of the daemon, see `serve`."""
    commands.add_parser(NAME, help="run the daemon in the foreground: the same as twistd -n filestored")


def serve(words: Sequence[str]) -> NoReturn:
    """Become the daemon, with these options."""
    # Nothing is imported from the working directory, unless this process does: python -m filestored.
    safe_path = () if os.getcwd() in sys.path else ("-P",)
    command = [sys.executable, *safe_path, "-m", __name__, "-n", "filestored", *words]
    os.execv(sys.executable, command)  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    from twisted.scripts import twistd  # no other command uses it

    twistd.run()
