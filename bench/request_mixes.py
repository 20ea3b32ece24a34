"""Request mixes of clients, and their counters. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

EQUAL_HEADS = ("equal",)
"""Requests for one target are the same to the byte."""

PROXIED_HEADS = ("proxied",)
"""Each request has its own X-Request-Id and X-Forwarded-For, as behind a reverse proxy."""

AGENT_HEADS = ("agent",)
"""Each request has its own User-Agent, so that none is answered from the response cache."""


def ranged_heads(length: int, file_bytes: int) -> tuple[str, ...]:
    """Each request asks for another range of `length` bytes of a file of `file_bytes`."""
    return "ranged", str(length), str(file_bytes)


@dataclass(frozen=True, slots=True)
class RequestMix:
    """A request mix: targets, number of connections, bytes of each body and of each response's, and heads.

    `fields` are further header fields of each request without a body.
    """

    method: str
    paths: Sequence[str]
    connections: int
    body: int = 0
    response: int = 0
    heads: Sequence[str] = EQUAL_HEADS
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Count:
    """Counters of responses: `received` in bytes, with heads."""

    requests: int
    seconds: float
    received: int
    errors: int
