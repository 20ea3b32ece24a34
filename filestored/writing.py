"""Bytes to a descriptor, all of them: a file of the log, or stderr. Blocking."""

import os
import select


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, however little a call takes. Raises `OSError`.

    A descriptor that another process has made non-blocking is waited for.
    """
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
