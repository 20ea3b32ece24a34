"""The header fields of a request: from bytes to a `Headers`, or to the reason why not.

The block, from behind the request line to the empty line, goes through llhttp in one piece.
What llhttp lets pass and we do not: no or several ``Host``, or one that is no host (RFC 9112 section
3.2), ``Transfer-Encoding`` on HTTP/1.0, beside ``Content-Length``, or other than ``chunked``, and any
framing field sent twice.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from filestored.http.limits import Limits

Field = tuple[bytes, bytes]

_CONTENT_LENGTH = re.compile(rb"[0-9]{1,18}")
_HOST = re.compile(rb"(?:\[[\w:.~!$&'()*+,;=-]+\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?[ \t]*")
_FRAMING_FIELDS = frozenset([b"host", b"content-length", b"transfer-encoding", b"expect"])


class BadRequest(Exception):
    """These bytes are no request that we serve: `status` is the answer, then the connection ends."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(slots=True)
class Headers:
    """Header fields, with what they say about connection and body (RFC 9112). Never changed once read.

    `lines` in the order received, names in lower case, values as sent; `last` holds the last value
    of each name. `length` is the body's announced length in bytes, or None.
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

    def values(self, name: bytes) -> Sequence[bytes]:
        """The values of all fields of that name, in their order."""
        if name not in self.last:
            return ()
        if len(self.last) == len(self.lines):
            return (self.last[name],)
        return [value for each, value in self.lines if each == name]


def parse_headers(block: bytes, version: bytes, limits: Limits) -> Headers:
    """Read the fields of a request in the given HTTP version, the final empty line included.

    Raises `BadRequest`: 400 for what breaks RFC 9112 or our stricter framing, 431 for too many or
    too long fields.
    """
    fields = Headers(_parse(b"POST / " + version + b"\r\n" + block, limits))
    http11 = version == b"HTTP/1.1"
    if http11 and b"host" not in fields.last:
        raise BadRequest(400, "a request needs exactly one Host field")
    if not _HOST.fullmatch(fields.last.get(b"host", b"")):
        raise BadRequest(400, "the Host is malformed")
    if len(fields.last) < len(fields.lines):
        _refuse_repetition(fields.lines)
    fields.keep_alive = _keep_alive(fields, http11)
    fields.length = _length(fields.last)
    fields.chunked = _chunked(fields.last, http11)
    fields.has_body = fields.chunked or fields.length is not None
    fields.expects_continue = http11 and fields.last.get(b"expect", b"").lower() == b"100-continue"
    return fields


class _Callbacks:
    """What llhttp says of one head."""

    def __init__(self) -> None:
        self.lines: list[Field] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.lines.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.complete = True


def _parse(head: bytes, limits: Limits) -> list[Field]:
    report = _Callbacks()
    try:
        HttpRequestParser(report).feed_data(head)
    except HttpParserUpgrade:
        pass  # An upgrade is an offer; to ignore it is to decline it (RFC 9110 section 7.8).
    except HttpParserError as error:
        raise BadRequest(400, "the request's head is malformed") from error
    if not report.complete:
        raise BadRequest(400, "the request's head is malformed")
    longest = limits.field_line - len(b": ")
    if len(report.lines) > limits.fields or any(
        len(name) + len(value) > longest for name, value in report.lines
    ):
        raise BadRequest(431, "the request has too many or too long header fields")
    return report.lines


def _refuse_repetition(lines: list[Field]) -> None:
    seen = set()
    for name, _ in lines:
        if name in _FRAMING_FIELDS and name in seen:
            raise BadRequest(400, f"several {name.decode()} fields")
        seen.add(name)


def _keep_alive(fields: Headers, http11: bool) -> bool:
    """Whether the client wants the connection to go on (RFC 9112 section 9.3)."""
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
