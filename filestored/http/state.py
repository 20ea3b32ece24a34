"""The states of an HTTP connection."""

from enum import IntEnum, auto


class ConnectionState(IntEnum):
    """The state of a connection. An IntEnum because it is a dictionary key on the hot path."""

    IDLE = auto()
    """Between requests; no byte of the next one has arrived."""
    HEAD = auto()
    """A request head is arriving."""
    BODY = auto()
    """A request is being served whose body has not ended."""
    RESPONSE = auto()
    """The request has been read; its response is being sent."""
    BODY_FAILED = auto()
    """The body cannot be read to its end; the response is being sent and will be the last."""
    LINGER = auto()
    """The sending side is closed; input is discarded."""
    CLOSED = auto()
    """The connection is closed."""
