"""Portions: how much is read at once from connections on which large bodies arrive.

A large body comes in fewer turns of the reactor, and goes to disk in fewer jobs, the more of it is read
at once; but what was read rests in memory until it is written. So portions are large while few such bodies
arrive, and smaller when there are many.

Measured with one body of 256 MiB: 390 MiB/s in portions of 256 KiB, 540 in portions of 512 KiB, no more
in portions of 1 MiB. 64 such bodies at once take 96 MiB of memory in portions of 512 KiB, 50 MiB in portions
of 256 KiB.
"""

from twisted.internet.interfaces import ITransport
from twisted.internet.tcp import Connection

LARGE_BODY_BYTES = 256 * 1024
"""Bytes; bodies beyond it are read in portions of this size or more."""

MAX_READ_BYTES = 512 * 1024
"""Bytes of a portion while few large bodies arrive."""

MAX_FAST_BODIES = 32
"""Up to so many large bodies at once have the largest portions."""


class ReceiveSizes:
    """The portions of all connections of one server."""

    def __init__(self) -> None:
        self._arriving: set[Connection] = set()
        self._size = MAX_READ_BYTES

    def begin(self, transport: ITransport, length: int | None) -> None:
        """A body of `length` bytes, None being unknown, is about to arrive.

        How transports other than plain sockets (TLS, memory) are read is their own business.
        """
        if (length is None or length > LARGE_BODY_BYTES) and isinstance(transport, Connection):
            self._arriving.add(transport)
            self._share()
            transport.bufferSize = self._size

    def end(self, transport: ITransport) -> None:
        """No body arrives any more, or nobody waits for the rest. Allowed without a `begin`."""
        if isinstance(transport, Connection) and transport in self._arriving:
            self._arriving.remove(transport)
            transport.bufferSize = Connection.bufferSize
            self._share()

    def _share(self) -> None:
        size = MAX_READ_BYTES if len(self._arriving) <= MAX_FAST_BODIES else LARGE_BODY_BYTES
        if size != self._size:
            self._size = size
            for transport in self._arriving:
                transport.bufferSize = size
