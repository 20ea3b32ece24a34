"""Request head parser: from input to a `RequestHead`, or a `BadRequest`.

In: pieces of input, as they arrive. Out: one head at a time and the bytes after it. The end of the head, an
empty line, is found first; the request line is parsed here, the headers by `headers` with llhttp, in one
piece. So two parsers read the same bytes; if they disagree on the end of the head, the connection is closed.

Lenient where the RFCs ask for it: empty lines before a request are skipped (RFC 9112 section 2.2); a target
in absolute form is accepted, and its authority replaces `Host` (section 3.2.2); HTTP/1.2 to 1.9 are served as
1.1 (RFC 9110 section 2.5).

A client repeats its headers from request to request. The last header block of a connection is cached, and the
same bytes are not parsed again.

Rejected: feeding llhttp as bytes arrive. It cannot be paused, so it would continue into the body or the next
request before this one is rendered.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from filestored.http.limits import Limits
from filestored.http.parser.headers import HOST, BadRequest, Headers, parse_headers

MAX_CACHED_BYTES = 1024
"""Length of the longest head, or header block, that a connection caches."""

_CRLF = b"\r\n"
_END = b"\r\n\r\n"
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(
    rb"(%b) (([\x21-\x3e\x40-\x7e]+)(?:\?([\x21-\x7e]*))?) (HTTP/[0-9]\.[0-9])" % _TOKEN
)
_REQUEST_LINE_BEGUN = re.compile(rb"%b(?: (?:[\x21-\x7e]+(?: [HTP/0-9.]*\r?)?)?)?" % _TOKEN)
_EMPTY_LINES = re.compile(rb"\A(?:\r\n)+")
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(/[^?]*)?(\?.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(rb"[^/?#@]+:[0-9]+")
_BARE_CR_OR_LF = re.compile(rb"(?<!\r)\n|\r(?=[^\n])")
_PLAIN_PATH = re.compile(rb"/[0-9A-Za-z_/-]*")
_BAD_PATH = re.compile(rb"[^/]|.*?(?:%(?![0-9A-Fa-f]{2})|%00|%2[Ff]|/(?:\.|%2[Ee]){2}(?:/|$)|[\\#])")


@dataclass(slots=True)
class RequestHead:
    """A request line and its headers, and both as the bytes received, `raw`. Not changed after parsing.

    `target` as sent, or the origin form of an absolute one; `path` and `query` its parts, undecoded.
    `version` is that by which the request is served.
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
        self._last_head: RequestHead | None = None

    def feed(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """Add input; return a complete head and the bytes after it, or None.

        Raises `BadRequest` as soon as the input cannot become an acceptable head.
        """
        last = self._last_head
        if last is not None and not self._buffer and data.startswith(last.raw):
            return last, data[len(last.raw) :]
        searched = 0
        if self._buffer:
            searched = max(len(self._buffer) - len(_END) + 1, 0)
            data = self._buffer + data
        if data.startswith(b"\r"):
            data, searched = _EMPTY_LINES.sub(b"", data), 0
        end = data.find(_END, searched)
        if end < 0:
            self._check_unfinished(data, searched)
            self._buffer = data
            return None
        self._buffer = b""
        end += len(_END)
        if end > self._unchecked_bytes:
            self._check_size(data, end)
        head = self._parse(data, end)
        self._last_head = head if end <= MAX_CACHED_BYTES else None
        return head, data[end:]

    @property
    def began(self) -> bool:
        """True if a part of a head was fed."""
        return bool(self._buffer)

    def _parse(self, data: bytes, end: int) -> RequestHead:
        line_end = data.index(_CRLF)
        method, target, path, query, version, authority = _parse_request_line(data[:line_end])
        block = data[line_end + len(_CRLF) : end]
        if block != self._last_block or version != self._last_version:
            self._parse_block(block, version)
        fields = self._last_fields
        assert fields is not None
        if authority is not None:
            fields = fields.with_host(authority)
        return RequestHead(method, target, path, query, version, fields, data[:end])

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
        elif line not in (b"", b"\r") and not _REQUEST_LINE_BEGUN.fullmatch(line):
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


class _RequestLine(NamedTuple):
    method: bytes
    target: bytes
    path: bytes
    query: bytes
    version: bytes
    authority: bytes | None = None


def _parse_request_line(line: bytes) -> _RequestLine:
    """Parse a request line (RFC 9112 section 3); `authority` is that of a target in absolute form."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BadRequest(400, "the request line is malformed")
    method, target, path, query, version = match.groups(b"")
    if version != b"HTTP/1.1":
        version = _served_version(version)
    if _PLAIN_PATH.fullmatch(path):
        return _RequestLine(method, target, path, query, version)
    if not path.startswith(b"/"):
        return _parse_other_form(method, target, version)
    _check_path(path)
    return _RequestLine(method, target, path, query, version)


def _served_version(version: bytes) -> bytes:
    """Return the version by which a request is served (RFC 9110 section 2.5)."""
    if version == b"HTTP/1.0":
        return version
    if version.startswith(b"HTTP/1."):
        return b"HTTP/1.1"
    raise BadRequest(505, "only HTTP/1.0 and HTTP/1.1 are served")


def _parse_other_form(method: bytes, target: bytes, version: bytes) -> _RequestLine:
    """Parse a target in absolute, asterisk or authority form (RFC 9112 section 3.2)."""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        authority, path, query = absolute.groups(b"")
        path = path or b"/"
        if not authority or not HOST.fullmatch(authority):
            raise BadRequest(400, "the target names no host")
        _check_path(path)
        return _RequestLine(method, path + query, path, query[1:], version, authority)
    if (method, target) == (b"OPTIONS", b"*") or (method == b"CONNECT" and _AUTHORITY.fullmatch(target)):
        return _RequestLine(method, target, b"/", b"", version)  # the root refuses both methods
    raise BadRequest(400, "the target is no plain path")


def _check_path(path: bytes) -> None:
    if _BAD_PATH.match(path):
        raise BadRequest(400, "the target is no plain path")
