"""Request mixes of clients, and their counters. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestMix:
    """A request mix: targets, number of connections, and bodies."""

    method: str
    paths: Sequence[str]
    connections: int
    body: int = 0


@dataclass(frozen=True, slots=True)
class Count:
    """Counters of responses: `received` in bytes, with heads."""

    requests: int
    seconds: float
    received: int
    errors: int
