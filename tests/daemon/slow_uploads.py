"""Slow uploads on many connections, for tests of what they cost others."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from tests.daemon_process import TIMEOUT, Running

RATE = 1100
"""Bytes a second of one slow upload: just above the rate below which the server ends it."""

FILE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
"""The head of the upload of a file."""

_CHUNKS = 4
"""Portions a second that they come in."""


@contextlib.contextmanager
def upload_slowly(daemon: Running, uploads: int, burst: int = 0, opening: bytes = FILE) -> Iterator[None]:
    """Upload slowly on so many connections until the block ends; `opening` and `burst` bytes come at once."""
    over = threading.Event()
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(_begin(daemon, opening + bytes(burst))) for _ in range(uploads)]
        thread = threading.Thread(target=_send_slowly, args=(peers, over))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _begin(daemon: Running, opening: bytes) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", daemon.port), timeout=TIMEOUT)
    peer.sendall(opening)
    peer.setblocking(False)
    return peer


def _send_slowly(peers: list[socket.socket], over: threading.Event) -> None:
    while not over.wait(1 / _CHUNKS):
        for peer in peers:
            with contextlib.suppress(OSError):  # the server may have ended it
                peer.send(bytes(RATE // _CHUNKS))
