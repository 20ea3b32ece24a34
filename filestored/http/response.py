"""Response heads: the headers that a resource sets, and their form on the wire.

RFC 9110 section 6.6.1 for ``Date``, RFC 9112 section 4 for the status line.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from time import time

from twisted.web.http import datetimeToString

from filestored.http.parser.headers import Field

SERVER = b"filestored"

_BREAKING = b"\r\n\0"
_LINE_BREAKS = re.compile(b"[%b]+" % _BREAKING)
END_OF_HEAD = b"\r\n\r\n"
"""The end of the last line of a head, and the empty line."""

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus}


PreformattedHeaders = dict[bytes, bytes]
"""Response headers as finished lines without line end, by lower-case name; see `preformat`."""


def preformat(*fields: Field) -> PreformattedHeaders:
    """Format headers for `ResponseHeaders.set_headers`, once for many responses if they share them."""
    lines = {}
    for name, value in fields:
        line = name + b": " + value
        if len(line.translate(None, _BREAKING)) != len(line):  # a third of the time of a search
            line = _LINE_BREAKS.sub(b" ", line)
        lines[name.lower()] = line
    return lines


class ResponseHeaders:
    """Status and headers of a response: the writing half of `twisted.web.iweb.IRequest`, without the body."""

    code = 200
    code_message: bytes | None = None
    _lines: PreformattedHeaders

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """Set the status, and a phrase if it is not the usual one."""
        self.code = code
        self.code_message = message

    def setHeader(self, k: bytes | str, v: bytes | str) -> None:
        """Set a header, in place of those of its name."""
        name = k if isinstance(k, bytes) else k.encode()
        value = v if isinstance(v, bytes) else v.encode()
        self._lines.update(preformat((name, value)))

    def set_headers(self, fields: Mapping[bytes, bytes]) -> None:
        """Set several headers, in place of those of their names."""
        self._lines.update(fields)

    def has(self, name: bytes) -> bool:
        """Return whether the header of that lower-case name is set."""
        return name in self._lines

    def content_length(self) -> int | None:
        """Return the announced length of the body in bytes."""
        line = self._lines.get(b"content-length")
        return None if line is None else int(line.rpartition(b": ")[2])


def format_line(name: bytes, value: bytes) -> bytes:
    """Return one header without line end, whatever its value contains."""
    return preformat((name, value))[name.lower()]


def encoded(text: bytes | str) -> bytes:
    """Return text as UTF-8."""
    return text if isinstance(text, bytes) else text.encode()


def request_id_line(request_id: bytes) -> bytes:
    """Return the line that names the id of the request."""
    return b"X-Request-Id: " + request_id


def format_head(status: int, phrase: bytes | None, lines: list[bytes]) -> bytes:
    """Return status line, ``Server``, ``Date``, the given finished lines, and the empty line.

    `phrase` replaces the usual one of the status.
    """
    if phrase is None and status in _STATUS_LINES:
        first = _STATUS_LINES[status]
    else:
        first = _LINE_BREAKS.sub(b" ", b"HTTP/1.1 %d %b" % (status, phrase or b""))
    return b"\r\n".join([first, _date_header.lines(), *lines, b"", b""])


class CachedHead:
    """The head of a response 200 that is sent several times, in full or in ranges.

    It ends before the id of the request: the caller adds that and `END_OF_HEAD`. `headers` have the length of
    the body. `has_ranges` is False for content without ranges.
    """

    __slots__ = ("_head", "_lines", "_partial_lines", "_second", "has_ranges")

    def __init__(self, headers: PreformattedHeaders) -> None:
        self._lines = b"\r\n".join([b"", *headers.values(), request_id_line(b"")])
        partial = [line for name, line in headers.items() if name != b"content-length"]
        self._partial_lines = b"\r\n".join([b"", *partial, b"Content-Length: "])
        self.has_ranges = headers.get(b"accept-ranges") == b"Accept-Ranges: bytes"
        self._second = 0
        self._head = b""

    def now(self) -> bytes:
        """Return the head with the present date."""
        second = int(time())
        if second != self._second:
            self._second = second
            self._head = b"%b\r\n%b%b" % (_STATUS_LINES[200], _date_header.lines(), self._lines)
        return self._head

    def partial(self, start: int, stop: int, size: int) -> bytes:
        """Return the head of a 206 with a half-open range of `size` bytes (RFC 9110 section 15.3.7)."""
        return b"%b\r\n%b%b%d\r\nContent-Range: bytes %d-%d/%d\r\n%b" % (
            _STATUS_LINES[206],
            _date_header.lines(),
            self._partial_lines,
            stop - start,
            start,
            stop - 1,
            size,
            request_id_line(b""),
        )


def format_error(status: int, reason: str, *extra: Field) -> bytes:
    """Return a whole response of one plain line that ends the connection."""
    body = reason.encode() + b"\n"
    fields = (
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", b"%d" % len(body)),
        (b"Connection", b"close"),
        *extra,
    )
    return format_head(status, None, list(preformat(*fields).values())) + body


class _DateHeader:
    """``Server`` and ``Date``, formatted once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._lines = b""

    def lines(self) -> bytes:
        second = int(time())
        if second != self._second:
            self._second = second
            self._lines = b"Server: %b\r\nDate: %b" % (SERVER, datetimeToString(second))
        return self._lines


_date_header = _DateHeader()
