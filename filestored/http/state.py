"""What a connection is about, at any time exactly one of these."""

from enum import IntEnum, auto


class ConnectionState(IntEnum):
    """What a connection is about; an integer, whose hash costs nothing."""

    IDLE = auto()
    """Between requests; no byte of the next one has arrived."""
    HEAD = auto()
    """A head is arriving."""
    BODY = auto()
    """A request is being served whose body has not ended."""
    RESPONSE = auto()
    """The request has been read; its response is under way."""
    BODY_FAILED = auto()
    """The body came to a bad end; the response is under way and will be the last."""
    LINGER = auto()
    """Our side is closed; what still arrives is dropped."""
    CLOSED = auto()
    """The connection is closed."""
