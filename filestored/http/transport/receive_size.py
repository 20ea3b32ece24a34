"""Receive sizes: how many bytes one read takes from a connection on which a large body arrives.

Large reads take a large body in fewer iterations of the reactor and write it in fewer jobs, but stay in
memory until they are written. So reads are large while few such bodies arrive, and smaller when many do.

Measured with one body of 256 MiB: 390 MiB/s in reads of 256 KiB, 540 in reads of 512 KiB, no more in reads of
1 MiB. 64 such bodies at once take 96 MiB of memory in reads of 512 KiB, 50 MiB in reads of 256 KiB.
"""

from twisted.internet.interfaces import ITransport
from twisted.internet.tcp import Connection

LARGE_BODY_BYTES = 256 * 1024
"""Bodies beyond this size are read in pieces of this size or more."""

MAX_READ_BYTES = 512 * 1024
"""Size of a read while few large bodies arrive."""

MAX_FAST_BODIES = 32
"""Number of large bodies at once up to which reads have `MAX_READ_BYTES`."""


class ReceiveSizes:
    """The receive sizes of all connections of one server."""

    def __init__(self) -> None:
        self._arriving: set[Connection] = set()
        self._size = MAX_READ_BYTES

    def begin(self, transport: ITransport) -> None:
        """Enlarge the reads of a connection on which a large body is about to arrive.

        Transports other than sockets (TLS of a plugin, memory) keep their sizes.
        """
        if isinstance(transport, Connection):
            self._arriving.add(transport)
            self._update()
            transport.bufferSize = self._size

    def end(self, transport: ITransport) -> None:
        """Restore the usual size after the body. Allowed without a `begin`."""
        if isinstance(transport, Connection) and transport in self._arriving:
            self._arriving.remove(transport)
            transport.bufferSize = Connection.bufferSize
            self._update()

    def _update(self) -> None:
        size = MAX_READ_BYTES if len(self._arriving) <= MAX_FAST_BODIES else LARGE_BODY_BYTES
        if size != self._size:
            self._size = size
            for transport in self._arriving:
                transport.bufferSize = size
