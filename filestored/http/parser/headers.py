"""Request headers: from the bytes of the header block to `Headers`, or a `BadRequest`.

llhttp parses the block, from the end of the request line to the empty line, in one piece. Blanks around a
value do not belong to it (RFC 9110 section 5.5). Stricter than llhttp: exactly one well-formed ``Host``
(RFC 9112 section 3.2); ``Transfer-Encoding`` is ``chunked``, on HTTP/1.1 and without ``Content-Length``; no
framing header is repeated.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from filestored.http.limits import Limits

Field = tuple[bytes, bytes]

_CONTENT_LENGTH = re.compile(rb"[0-9]{1,18}")
HOST = re.compile(rb"(?:\[[\w:.~!$&'()*+,;=-]+\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?")
"""A value of `Host`: an address or a name, perhaps empty, and a port (RFC 9110 section 7.2)."""

_FRAMING_FIELDS = frozenset([b"host", b"content-length", b"transfer-encoding", b"expect"])


class BadRequest(Exception):
    """Input that is no acceptable request: `status` is the response, then the connection is closed."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(slots=True)
class Headers:
    """Request headers, and their meaning for connection and body (RFC 9112). Not changed after parsing.

    `lines` in the order received, names in lower case, values without blanks around them; `last` holds the
    last value of each name. `length` is the announced length of the body in bytes, or None; `has_body` is
    true for a body of zero bytes, too (RFC 9112 section 6.3).
    """

    lines: list[Field]
    last: dict[bytes, bytes] = field(init=False)
    keep_alive: bool = True
    length: int | None = None
    chunked: bool = False
    expects_continue: bool = False
    has_body: bool = False

    def __post_init__(self) -> None:
        self.last = dict(self.lines)

    def with_host(self, host: bytes) -> "Headers":
        """Return a copy with another ``Host``."""
        lines = [line for line in self.lines if line[0] != b"host"]
        return replace(self, lines=[*lines, (b"host", host)])

    def values(self, name: bytes) -> Sequence[bytes]:
        """Return the values of all headers of that lower-case name, in their order."""
        if name not in self.last:
            return ()
        if len(self.last) == len(self.lines):
            return (self.last[name],)
        return [value for each, value in self.lines if each == name]


def parse_headers(block: bytes, version: bytes, limits: Limits) -> Headers:
    """Parse the header block of a request in the given HTTP version, with the final empty line.

    Raises `BadRequest`: 400 for a violation of RFC 9112 or of the stricter rules above, 431 for too many or
    too long headers.
    """
    if b" \r\n" in block or b"\t\r\n" in block:
        block = _without_blanks(block)
    fields = Headers(_parse(b"POST / " + version + b"\r\n" + block, limits))
    http11 = version == b"HTTP/1.1"
    if http11 and b"host" not in fields.last:
        raise BadRequest(400, "a request needs exactly one Host field")
    if not HOST.fullmatch(fields.last.get(b"host", b"")):
        raise BadRequest(400, "the Host is malformed")
    if len(fields.last) < len(fields.lines):
        _refuse_repetition(fields.lines)
    fields.keep_alive = _keep_alive(fields, http11)
    fields.length = _length(fields.last)
    fields.chunked = _chunked(fields.last, http11)
    fields.has_body = fields.chunked or fields.length is not None
    fields.expects_continue = http11 and fields.last.get(b"expect", b"").lower() == b"100-continue"
    return fields


def _without_blanks(block: bytes) -> bytes:
    """Remove blanks behind values; not from a line of blanks only: an empty line would end the headers."""
    return b"\r\n".join(line.rstrip(b" \t") or line for line in block.split(b"\r\n"))


class _Callbacks:
    """Callbacks of llhttp for one head."""

    def __init__(self) -> None:
        self.lines: list[Field] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.lines.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.complete = True


def _parse(head: bytes, limits: Limits) -> list[Field]:
    found = _Callbacks()
    try:
        HttpRequestParser(found).feed_data(head)
    except HttpParserUpgrade:
        pass  # an upgrade that is ignored is declined (RFC 9110 section 7.8)
    except HttpParserError as error:
        raise BadRequest(400, "the request's head is malformed") from error
    if not found.complete:
        raise BadRequest(400, "the request's head is malformed")
    max_length = limits.field_line - len(b": ")
    if len(found.lines) > limits.fields or any(
        len(name) + len(value) > max_length for name, value in found.lines
    ):
        raise BadRequest(431, "the request has too many or too long header fields")
    return found.lines


def _refuse_repetition(lines: list[Field]) -> None:
    seen = set()
    for name, _ in lines:
        if name in _FRAMING_FIELDS and name in seen:
            raise BadRequest(400, f"several {name.decode()} fields")
        seen.add(name)


def _keep_alive(fields: Headers, http11: bool) -> bool:
    """Return whether the client allows further requests on the connection (RFC 9112 section 9.3)."""
    if b"connection" not in fields.last:
        return http11
    values = b",".join(value for name, value in fields.lines if name == b"connection")
    options = [option.strip() for option in values.lower().split(b",")]
    return b"close" not in options and (http11 or b"keep-alive" in options)


def _length(last: dict[bytes, bytes]) -> int | None:
    value = last.get(b"content-length")
    if value is None:
        return None
    if not _CONTENT_LENGTH.fullmatch(value):
        raise BadRequest(400, "the Content-Length is malformed")
    return int(value)


def _chunked(last: dict[bytes, bytes], http11: bool) -> bool:
    value = last.get(b"transfer-encoding")
    if value is None:
        return False
    if value.lower() != b"chunked":
        raise BadRequest(400, "the only transfer coding is chunked")
    if not http11 or b"content-length" in last:
        raise BadRequest(400, "chunked needs HTTP/1.1 and no Content-Length")
    return True
