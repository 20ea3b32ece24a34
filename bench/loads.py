"""What a client sends, and what it counts, whichever client it is. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """What to send: targets, the connections to send it on, and the bytes of each body."""

    method: str
    paths: Sequence[str]
    connections: int
    body: int = 0


@dataclass(frozen=True, slots=True)
class Count:
    """What came back: `received` in bytes, heads included."""

    requests: int
    seconds: float
    received: int
    errors: int
