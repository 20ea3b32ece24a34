"""Limits of one connection: sizes, counts and times.

The defaults are promises to clients (docs/promises.md). Tests and other servers may replace each of them.
"""

from dataclasses import dataclass

from filestored.settings import KEEP_ALIVE_SECONDS, MAX_CONNECTIONS

KIB = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of sizes (bytes), counts and times (seconds)."""

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

    keep_alive_timeout: float = KEEP_ALIVE_SECONDS
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

    linger_timeout: float = 30.0
    """Seconds during which input is discarded after a response that ends the connection early."""
    linger_stall_timeout: float = 5.0
    """Seconds without a byte of that input."""
    linger_drain_timeout: float = 2.0
    """Seconds during which input is discarded while the server drains."""
    connections: int = MAX_CONNECTIONS
    """Connections at once; for one beyond, another one is evicted, else it is answered 503."""
