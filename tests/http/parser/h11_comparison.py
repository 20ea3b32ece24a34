"""Random chunked bodies, and the same bytes read by `ChunkedReader` and by h11.

A generated body is valid or nearly so: sizes padded with zeros, extensions with blanks, wrong sizes,
sizes beyond 64 bits, bare line ends, data that look like chunks, trailers, and bytes behind the end.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import h11

from filestored.errors import BodyMalformed
from filestored.http.limits import Limits
from filestored.http.parser.framing import ChunkedReader

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
MAX_PADDING = 40
"""Digits of the longest size."""

_EXTENSIONS = (b";a", b";a=b", b';a="b c"', b"; a", b" ;a", b";a ", b"; a = b", b"\t;a=1", b";", b";;", b" ")
_EXTENSIONS_WITHOUT_BLANKS = tuple(each.translate(None, b" \t") for each in _EXTENSIONS)
_ODD_SIZES = (
    b"",
    b"x",
    b"+%x",
    b"-%x",
    b"0x%x",
    b"%x,",
    b"1%016x",
    b"ffffffffffffffff%x",
    b"8000000000000000",
)
_DATA = (b"a", b"xyz", b"\r\n", b"0\r\n\r\n", b"aXX3\r\nbcd\r\n0\r\nZZ", b"5\r\nhello\r\n", b"\x00\xff" * 20)
_TRAILERS = (
    *[b""] * 8,
    b"T: x\r\n",
    b"Content-Length: 5\r\n",
    b"T:\r\nU: \t\r\n",
    b" folded\r\n",
    b"bad\r\n",
)
_BEHIND = (b"", b"", b"GET / HTTP/1.1\r\n\r\n", b"\r\n", b"\x00")


@dataclass(frozen=True)
class Reading:
    """The result of a parser; `rest` follows a complete body."""

    body: bytes
    rest: bytes
    complete: bool


def random_bodies(random: Random) -> tuple[bytes, bytes]:
    """Return a chunked body, one in four with an oddity, and the same without blanks in the extensions.

    The second is for h11, which rejects blanks before an extension (RFC 9112 section 7.1.1 allows them).
    """
    seed = random.random()
    return _body(Random(seed), _EXTENSIONS), _body(Random(seed), _EXTENSIONS_WITHOUT_BLANKS)


def _body(random: Random, extensions: Sequence[bytes]) -> bytes:
    odd = 0.1 if random.random() < 0.25 else 0.0
    chunks = [_chunk(random, odd, extensions) for _ in range(random.randint(1, 4))]
    zeros = b"0" * _padding(random)
    last = zeros + _extension(random, extensions) + b"\r\n" + random.choice(_TRAILERS) + b"\r\n"
    return b"".join([*chunks, last, random.choice(_BEHIND)])


def random_cut(random: Random, wire: bytes) -> list[bytes]:
    """Return the bytes in one piece, in single bytes, or cut at random."""
    kind = random.randrange(3)
    if kind == 0:
        return [wire]
    if kind == 1:
        return [wire[i : i + 1] for i in range(len(wire))]
    cuts = sorted({0, len(wire), *(random.randrange(len(wire)) for _ in range(6))})
    return [wire[a:b] for a, b in itertools.pairwise(cuts)]


def parse(pieces: list[bytes]) -> Reading | None:
    """Return the result of `ChunkedReader`, None if it refuses."""
    reader = ChunkedReader(Limits())
    body, rest, complete = b"", b"", False
    try:
        for piece in pieces:
            rest += piece
            while rest and not complete:
                part, rest, complete = reader.feed(rest)
                body += part
    except BodyMalformed:
        return None
    return Reading(body, rest, complete)


def parse_with_h11(pieces: list[bytes]) -> Reading | None:
    """Return the result of h11, None if it refuses."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(HEAD)
    assert isinstance(server.next_event(), h11.Request)
    body = b""
    try:
        for piece in pieces:
            server.receive_data(piece)
            while isinstance(event := server.next_event(), h11.Data):
                body += event.data
    except h11.RemoteProtocolError:
        return None
    complete = server.their_state is h11.DONE
    return Reading(body, server.trailing_data[0] if complete else b"", complete)


def _chunk(random: Random, odd: float, extensions: Sequence[bytes]) -> bytes:
    data = b"".join(random.choice(_DATA) for _ in range(random.randint(1, 3)))
    size = len(data) + (random.choice((-1, 1)) if random.random() < odd else 0)
    digits = b"%0*x" % (_padding(random), size)
    if random.random() < 0.2:
        digits = digits.upper()
    if random.random() < odd:
        digits = random.choice(_ODD_SIZES)
        digits = digits % size if b"%" in digits else digits
    end = random.choice((b"\n", b"\r", b"\r\r\n", b"")) if random.random() < odd else b"\r\n"
    return digits + _extension(random, extensions) + b"\r\n" + data + end


def _padding(random: Random) -> int:
    return random.randint(1, MAX_PADDING) if random.random() < 0.25 else 1


def _extension(random: Random, extensions: Sequence[bytes]) -> bytes:
    return random.choice(extensions) if random.random() < 0.05 else b""
