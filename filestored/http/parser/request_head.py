"""Request head parser: from input to a `RequestHead`, or a `BadRequest`.

In: pieces of input, as they arrive. Out: one head at a time and the bytes after it. The end of the head, an
empty line, is found first; the request line is parsed here, the headers by `headers` with llhttp, in one
piece. So two parsers read the same bytes; if they disagree on the end of the head, the connection is closed.

A client repeats its headers from request to request. The last header block of a connection is cached, and the
same bytes are not parsed again.

Rejected: feeding llhttp as bytes arrive. It cannot be paused, so it would continue into the body or the next
request before this one is rendered.
"""

import re
from dataclasses import dataclass

from filestored.http.limits import Limits
from filestored.http.parser.headers import BadRequest, Headers, parse_headers

MAX_CACHED_BYTES = 1024
"""Length of the longest header block that a connection caches."""

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
    """A request line and its headers, and both as the bytes received, `raw`.

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
    """Parser of the request heads of one connection."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._unchecked_bytes = min(limits.request_line, limits.head)
        self._buffer = b""
        self._last_block = b""
        self._last_version = b""
        self._last_fields: Headers | None = None

    def feed(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """Add input; return a complete head and the bytes after it, or None.

        Raises `BadRequest` as soon as the input cannot become an acceptable head.
        """
        searched = 0
        if self._buffer:
            searched = max(len(self._buffer) - len(_END) + 1, 0)
            data = self._buffer + data
        end = data.find(_END, searched)
        if end < 0:
            self._check_unfinished(data, searched)
            self._buffer = data
            return None
        self._buffer = b""
        end += len(_END)
        if end > self._unchecked_bytes:
            self._check_size(data, end)
        return self._parse(data, end), data[end:]

    def _parse(self, data: bytes, end: int) -> RequestHead:
        line_end = data.index(_CRLF)
        method, target, path, query, version = _parse_request_line(data[:line_end])
        block = data[line_end + len(_CRLF) : end]
        if block != self._last_block or version != self._last_version:
            self._parse_block(block, version)
        assert self._last_fields is not None
        return RequestHead(method, target, path, query, version, self._last_fields, data[:end])

    def _parse_block(self, block: bytes, version: bytes) -> None:
        self._last_fields = parse_headers(block, version, self._limits)
        self._last_block = block if len(block) <= MAX_CACHED_BYTES else b""
        self._last_version = version

    def _check_unfinished(self, data: bytes, searched: int) -> None:
        self._check_size(data, len(data))
        if _BARE_CR_OR_LF.search(data, searched):
            raise BadRequest(400, "a line ends with a bare CR or LF")
        line, found, _ = data.partition(_CRLF)
        if found:
            _parse_request_line(line)
            self._check_last_line(data)
        elif not _REQUEST_LINE_BEGUN.fullmatch(line):
            raise BadRequest(400, "this is no HTTP request")

    def _check_last_line(self, data: bytes) -> None:
        """Refuse a header that is too long before its end has arrived."""
        if len(data) - data.rindex(_CRLF) - len(_CRLF) > self._limits.field_line:
            raise BadRequest(431, "a header field is too long")

    def _check_size(self, data: bytes, size: int) -> None:
        line = self._limits.request_line
        if size > line and data.find(_CRLF, 0, line + len(_CRLF)) < 0:
            raise BadRequest(414, "the request line is too long")
        if size > self._limits.head:
            raise BadRequest(431, "the request's head is too large")


def _parse_request_line(line: bytes) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """Return method, target, path, query and version (RFC 9112 section 3)."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BadRequest(400, "the request line is malformed")
    method, target, path, query, version = match.groups(b"")
    if version not in _VERSIONS:
        raise BadRequest(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if not _PLAIN_PATH.fullmatch(path) and _BAD_PATH.match(path):
        raise BadRequest(400, "the target is no plain path")
    return method, target, path, query, version
