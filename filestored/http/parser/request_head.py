"""The head of a request: from bytes to a `RequestHead`, or to the reason why not.

In flow bytes as they arrive; out flow one head at a time and the bytes behind it. The head's
end is found first (an empty line); the request line is read here, the fields by `fields` with
llhttp, in one piece. Two readers thus look at the same bytes, and where they disagree on
where the head ends, the connection does.

A client repeats its fields from request to request. The block that a connection sent last is
remembered, and when the same bytes come again they are not read again.

Rejected: feeding llhttp as bytes come. It cannot be paused, so that it would run on into a
body or the next request before anybody decided what to do about this one.
"""

import re
from dataclasses import dataclass

from filestored.http.limits import Limits
from filestored.http.parser.headers import BadRequest, Headers, parse_headers

MAX_CACHED_BYTES = 1024
"""Bytes of the largest block of fields that a connection remembers."""

_CRLF = b"\r\n"
_END = b"\r\n\r\n"
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(
    rb"(%b) (([\x21-\x3e\x40-\x7e]+)(?:\?([\x21-\x7e]*))?) (HTTP/[0-9]\.[0-9])" % _TOKEN
)
_REQUEST_LINE_BEGUN = re.compile(rb"%b(?: (?:[\x21-\x7e]+(?: [HTP/0-9.]*\r?)?)?)?" % _TOKEN)
_BARE_CR_OR_LF = re.compile(rb"(?<!\r)\n|\r(?=[^\n])")
_PLAIN_PATH = re.compile(rb"/[0-9A-Za-z_/-]*")
_BAD_PATH = re.compile(rb"[^/]|.*?(?:%(?![0-9A-Fa-f]{2})|%00|%2[Ff]|/(?:\.|%2[Ee]){2}(?:/|$)|[\\#])")
_VERSIONS = frozenset([b"HTTP/1.0", b"HTTP/1.1"])


@dataclass(slots=True)
class RequestHead:
    """A request line and its fields, and both as the bytes that came, `raw`.

    `target` as sent, `path` and `query` its parts, undecoded.
    """

    method: bytes
    target: bytes
    path: bytes
    query: bytes
    version: bytes
    fields: Headers
    raw: bytes


class RequestHeadParser:
    """Cuts the heads of one connection out of its bytes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = b""
        self._last_block = b""
        self._last_version = b""
        self._last_fields: Headers | None = None

    def feed(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """Take the next bytes; answer a complete head and the bytes behind it, or None.

        Raises `BadRequest` as soon as it is clear that no acceptable head will come of them.
        """
        known = 0
        if self._buffer:
            known = max(len(self._buffer) - len(_END) + 1, 0)
            data = self._buffer + data
        end = data.find(_END, known)
        if end < 0:
            self._check_unfinished(data, known)
            self._buffer = data
            return None
        self._buffer = b""
        end += len(_END)
        self._check_size(data, end)
        return self._read(data, end), data[end:]

    def _read(self, data: bytes, end: int) -> RequestHead:
        line_end = data.index(_CRLF)
        method, target, path, query, version = _read_request_line(data[:line_end])
        block = data[line_end + len(_CRLF) : end]
        if block != self._last_block or version != self._last_version:
            self._parse_fields(block, version)
        assert self._last_fields is not None
        return RequestHead(method, target, path, query, version, self._last_fields, data[:end])

    def _parse_fields(self, block: bytes, version: bytes) -> None:
        self._last_fields = parse_headers(block, version, self._limits)
        self._last_block = block if len(block) <= MAX_CACHED_BYTES else b""
        self._last_version = version

    def _check_unfinished(self, data: bytes, known: int) -> None:
        self._check_size(data, len(data))
        if _BARE_CR_OR_LF.search(data, known):
            raise BadRequest(400, "a line ends with a bare CR or LF")
        line, found, _ = data.partition(_CRLF)
        if found:
            _read_request_line(line)
            self._check_last_line(data)
        elif not _REQUEST_LINE_BEGUN.fullmatch(line):
            raise BadRequest(400, "this is no HTTP request")

    def _check_last_line(self, data: bytes) -> None:
        """Refuse a field that is too long before its end has come."""
        if len(data) - data.rindex(_CRLF) - len(_CRLF) > self._limits.field_line:
            raise BadRequest(431, "a header field is too long")

    def _check_size(self, data: bytes, size: int) -> None:
        line = self._limits.request_line
        if size > line and data.find(_CRLF, 0, line + len(_CRLF)) < 0:
            raise BadRequest(414, "the request line is too long")
        if size > self._limits.head:
            raise BadRequest(431, "the request's head is too large")


def _read_request_line(line: bytes) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """Method, target, path, query and version (RFC 9112 section 3)."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BadRequest(400, "the request line is malformed")
    method, target, path, query, version = match.groups(b"")
    if version not in _VERSIONS:
        raise BadRequest(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if not _PLAIN_PATH.fullmatch(path) and _BAD_PATH.match(path):
        raise BadRequest(400, "the target is no plain path")
    return method, target, path, query, version
