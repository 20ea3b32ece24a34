"""What one connection may ask for, each limit with its unit.

The figures are those of ``PROMISES``; all of them can be replaced, for tests and for servers
with other clients.
"""

from dataclasses import dataclass

KIB = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on sizes (bytes), counts and times (seconds)."""

    request_line: int = 8 * KIB
    """Bytes of the request line; beyond it 414."""
    field_line: int = 8 * KIB
    """Bytes of one header line; beyond it 431."""
    head: int = 16 * KIB
    """Bytes of request line and header lines together; beyond it 431."""
    fields: int = 100
    """Header lines; beyond it 431."""
    chunk_line: int = 256
    """Bytes of the line with a chunk's size, its extensions included; beyond it 400."""
    trailers: int = 8 * KIB
    """Bytes of all trailer lines, which are read and ignored; beyond it 400."""

    keep_alive_timeout: float = 30.0
    """Seconds without a request after which a connection is closed."""
    head_timeout: float = 10.0
    """Seconds from the first byte of a head to its last, whatever arrives in between."""
    body_stall_timeout: float = 30.0
    """Seconds without a byte of an awaited body."""
    body_window: float = 60.0
    """Seconds over which the rate of a body is measured."""
    body_rate: int = 1 * KIB
    """Bytes a second that a body must reach over that window."""
    write_timeout: float = 60.0
    """Seconds without the client taking a byte of the response."""

    linger_bytes: int = 64 * KIB
    """Bytes that are read and dropped after a response that ends the connection early."""
    linger_time: float = 2.0
    """Seconds for which they are."""
    connections: int = 4000
    """Connections at once; for one beyond, the longest idle one is closed, else it is answered 503."""
