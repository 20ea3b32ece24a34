"""Socket activation as by systemd: a command that passes a listening socket on (sd_listen_fds(3))."""

import sys

_ACTIVATE = """
import os, socket, sys
descriptor = {descriptor}
listening = socket.socket(fileno=descriptor)
if descriptor is None:
    listening.bind(("127.0.0.1", 0))
    listening.listen()
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ.pop("LISTEN_FDNAMES", None)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", **{names})
os.execv(sys.argv[1], sys.argv[1:])
"""


def activation(name: str | None, descriptor: int | None = None) -> tuple[str, ...]:
    """Return the command, for a socket of this name or without one; a new socket, or an open `descriptor`."""
    names = {} if name is None else {"LISTEN_FDNAMES": name}
    return sys.executable, "-c", _ACTIVATE.format(names=names, descriptor=descriptor)
