"""The head of a request: from bytes to a `RequestHead`, or to the reason why not.

In flow bytes as they arrive; out flow one head at a time and the bytes behind it. The head's
end is found first (an empty line), then the whole head goes through llhttp in one piece. Two
readers thus look at the same bytes, and where they disagree on where the head ends, the
connection does. What llhttp lets pass and we do not: other spacing in the request line,
versions but 1.0 and 1.1, no or several ``Host``, ``Transfer-Encoding`` on HTTP/1.0 or other than
``chunked``, targets that are no plain origin-form path.

Methods that llhttp does not know are read all the same: a resource answers them with 405.

Rejected: feeding llhttp as bytes come. It cannot be paused, so that it would run on into a
body or the next request before anybody decided what to do about this one.
"""

import re
from dataclasses import dataclass
from http import HTTPMethod
from typing import NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from filestored.http.limits import Limits

Field = tuple[bytes, bytes]

_END = b"\r\n\r\n"
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(%b) ([\x21-\x7e]+) (HTTP/[0-9]\.[0-9])" % _TOKEN)
_REQUEST_LINE_BEGUN = re.compile(rb"%b(?: (?:[\x21-\x7e]+(?: [HTP/0-9.]*\r?)?)?)?" % _TOKEN)
_BARE_CR_OR_LF = re.compile(rb"(?<!\r)\n|\r(?=[^\n])")
_BAD_PATH = re.compile(rb"[^/]|.*?(?:%(?![0-9A-Fa-f]{2})|%00|%2[Ff]|/(?:\.|%2[Ee]){2}(?:/|$)|[\\#])")
_CONTENT_LENGTH = re.compile(rb"[0-9]{1,18}")
_METHODS_OF_LLHTTP = frozenset(method.value.encode() for method in HTTPMethod) - {b"CONNECT"}
_FRAMING_FIELDS = frozenset([b"host", b"content-length", b"transfer-encoding", b"expect"])


class BadRequest(Exception):
    """These bytes are no request that we serve: `status` is the answer, then the connection ends."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(slots=True)
class RequestHead:
    """A request line and its header fields, with what they say about the framing (RFC 9112).

    Field names are lower-case, values as sent. `length` is the body's announced length in
    bytes, or None.
    """

    method: bytes
    target: bytes
    path: bytes
    query: bytes
    version: bytes
    fields: list[Field]
    keep_alive: bool
    length: int | None
    chunked: bool
    expects_continue: bool

    @property
    def has_body(self) -> bool:
        """Whether a body follows, if only one of zero bytes (RFC 9112 section 6.3)."""
        return self.chunked or self.length is not None

    def value(self, name: bytes) -> bytes | None:
        """The last value of the field `name` (lower-case), or None."""
        for key, value in reversed(self.fields):
            if key == name:
                return value
        return None


class HeadReader:
    """Cuts the heads of one connection out of its bytes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = b""

    @property
    def empty(self) -> bool:
        """Whether no byte of the next head has arrived yet."""
        return not self._buffer

    def feed(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """Take the next bytes; answer a complete head and the bytes behind it, or None.

        Raises `BadRequest` as soon as it is clear that no acceptable head will come of them.
        """
        known = max(len(self._buffer) - len(_END) + 1, 0)
        if self._buffer:
            data = self._buffer + data
        end = data.find(_END, known)
        if end < 0:
            self._check_unfinished(data, known)
            self._buffer = data
            return None
        end += len(_END)
        self._check_size(data, end)
        self._buffer = b""
        return parse_head(data[:end], self._limits), data[end:]

    def _check_unfinished(self, data: bytes, known: int) -> None:
        self._check_size(data, len(data))
        if _BARE_CR_OR_LF.search(data, known):
            raise BadRequest(400, "a line ends with a bare CR or LF")
        line, found, _ = data.partition(b"\r\n")
        if found:
            _split_request_line(line)
        elif not _REQUEST_LINE_BEGUN.fullmatch(line):
            raise BadRequest(400, "this is no HTTP request")

    def _check_size(self, data: bytes, size: int) -> None:
        line = self._limits.request_line
        if size > line and data.find(b"\r\n", 0, line + len(b"\r\n")) < 0:
            raise BadRequest(414, "the request line is too long")
        if size > self._limits.head:
            raise BadRequest(431, "the request's head is too large")


def parse_head(head: bytes, limits: Limits) -> RequestHead:
    """Parse a whole head, its final empty line included.

    Raises `BadRequest`: 400 for what breaks RFC 9112 or our stricter framing, 431 for too
    many or too long fields, 505 for a version other than 1.0 and 1.1.
    """
    method, target, version = _split_request_line(head[: head.index(b"\r\n")])
    path, _, query = target.partition(b"?")
    if _BAD_PATH.match(path):
        raise BadRequest(400, "the target is no plain path")
    if method not in _METHODS_OF_LLHTTP:
        head = b"POST" + head[len(method) :]
    fields = _parse_fields(head, limits)
    return RequestHead(method, target, path, query, version, fields, *_framing(version, fields))


def _split_request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BadRequest(400, "the request line is malformed")
    method, target, version = match.groups()
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise BadRequest(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    return method, target, version


class _Fields:
    """What llhttp reports of one head."""

    def __init__(self) -> None:
        self.fields: list[Field] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.complete = True


def _parse_fields(head: bytes, limits: Limits) -> list[Field]:
    report = _Fields()
    try:
        HttpRequestParser(report).feed_data(head)
    except HttpParserUpgrade:
        pass  # An upgrade is an offer; to ignore it is to decline it (RFC 9110 section 7.8).
    except HttpParserError as error:
        raise BadRequest(400, "the request's head is malformed") from error
    fields = report.fields
    if not report.complete:
        raise BadRequest(400, "the request's head is malformed")
    if len(fields) > limits.fields or any(
        len(name) + len(value) > limits.field_line - len(b": ") for name, value in fields
    ):
        raise BadRequest(431, "the request has too many or too long header fields")
    return fields


class _Framing(NamedTuple):
    keep_alive: bool
    length: int | None
    chunked: bool
    expects_continue: bool


def _framing(version: bytes, fields: list[Field]) -> _Framing:
    """What the fields say of the body, checked where llhttp is more lenient than we are."""
    found: dict[bytes, bytes] = {}
    connection = b""
    for name, value in fields:
        if name in _FRAMING_FIELDS:
            if name in found:
                raise BadRequest(400, f"several {name.decode()} fields")
            found[name] = value
        elif name == b"connection":
            connection += b"," + value.lower()
    if found.pop(b"host", None) is None and version == b"HTTP/1.1":
        raise BadRequest(400, "a request needs exactly one Host field")
    keep_alive = _keep_alive(version, connection)
    if not found:
        return _Framing(keep_alive, None, chunked=False, expects_continue=False)
    return _Framing(keep_alive, _length(found), _chunked(found, version), _expects_continue(found, version))


def _keep_alive(version: bytes, connection: bytes) -> bool:
    """RFC 9112 section 9.3, from the joined values of the ``Connection`` fields in lower case."""
    if not connection:
        return version == b"HTTP/1.1"
    options = [option.strip() for option in connection.split(b",")]
    return b"close" not in options and (version == b"HTTP/1.1" or b"keep-alive" in options)


def _length(found: dict[bytes, bytes]) -> int | None:
    value = found.get(b"content-length")
    if value is None:
        return None
    if not _CONTENT_LENGTH.fullmatch(value):
        raise BadRequest(400, "the Content-Length is malformed")
    return int(value)


def _chunked(found: dict[bytes, bytes], version: bytes) -> bool:
    value = found.get(b"transfer-encoding")
    if value is None:
        return False
    if value.lower() != b"chunked":
        raise BadRequest(400, "the only transfer coding is chunked")
    if version == b"HTTP/1.0" or b"content-length" in found:
        raise BadRequest(400, "chunked needs HTTP/1.1 and no Content-Length")
    return True


def _expects_continue(found: dict[bytes, bytes], version: bytes) -> bool:
    return version == b"HTTP/1.1" and found.get(b"expect", b"").lower() == b"100-continue"
