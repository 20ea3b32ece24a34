"""Fork of twistd into the background, with the reason of a failed start on the terminal.

Rejected: twistd's own, which shows the first hundred characters as ``b'…'``, waits forever for a daemon that
ends without a message, and loses descriptors when it is started with stdin closed.
"""

import os
from typing import Any

from twisted.scripts._twistd_unix import UnixApplicationRunner

from filestored.daemon.startup_errors import CannotStart, one_line

MAX_MESSAGE_BYTES = 4000
"""Maximum length of a message; a pipe takes so many bytes at once (PIPE_BUF)."""


def install() -> None:
    """Replace the methods of twistd's runner."""
    # twistd has no option or hook for either.
    UnixApplicationRunner.daemonize = _daemonize  # type: ignore[method-assign]  # replaced on purpose
    UnixApplicationRunner._formatChildException = _format_error  # type: ignore[method-assign]  # likewise


def open_standard_descriptors() -> None:
    """Open ``/dev/null`` in the place of closed standard descriptors, which other files would get."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _daemonize(runner: Any, reactor: Any) -> int:
    """Fork twice; return the pipe to the first process, which waits for ``0`` or a message."""
    read_end, write_end = os.pipe()
    if os.fork():
        os.close(write_end)
        os._exit(_wait(read_end))
    os.close(read_end)
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    os.close(null)
    return write_end


def _wait(read_end: int) -> int:
    """Return the exit status of the first process, after the daemon has started or failed."""
    data = b""
    while piece := os.read(read_end, MAX_MESSAGE_BYTES):
        data += piece
    if data == b"0":
        return 0
    os.write(
        2, data[2:] or b"filestored: the daemon ended while it started; see its log, or start it with -n"
    )
    os.write(2, b"\n")
    return 1


def _format_error(runner: Any, error: Exception) -> bytes:
    """Return ``1``, a space, and the reason in one line.

    Removes the pid file, which twistd would do after the first process has ended.
    """
    runner.removePID(runner.config["pidfile"])
    runner.config["pidfile"] = ""
    line = str(error) if isinstance(error, CannotStart) else f"filestored: {error!r}"
    return f"1 {one_line(line)}".encode("utf-8", "backslashreplace")[:MAX_MESSAGE_BYTES]
