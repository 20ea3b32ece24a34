"""The head of a response: the fields that a resource sets, and their form on the wire.

RFC 9110 section 6.6.1 for ``Date``, RFC 9112 section 4 for the status line.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from time import time

from twisted.web.http import datetimeToString
from twisted.web.http_headers import Headers

from filestored.http.parser.headers import Field

SERVER = b"filestored"

_BREAKING = b"\r\n\0"
_LINE_BREAKS = re.compile(b"[%b]+" % _BREAKING)
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus}


PreformattedHeaders = dict[bytes, bytes]
"""Fields of responses as finished lines without line end, by lower-case name; see `preformat`."""


def preformat(*fields: Field) -> PreformattedHeaders:
    """Format fields that many responses share, once, for `ResponseHeaders.set_headers`."""
    return {name.lower(): _line(name, value) for name, value in fields}


class ResponseHeaders:
    """The writing half of `twisted.web.iweb.IRequest`, as far as the head goes.

    Fields rest as finished lines until somebody asks for `responseHeaders`; from then on they rest
    there.
    """

    code = 200
    code_message: bytes | None = None
    cookies: tuple[bytes, ...] = ()
    _lines: PreformattedHeaders
    _headers: Headers | None = None

    @property
    def responseHeaders(self) -> Headers:
        """The fields as Twisted keeps them; what is changed here is sent."""
        if self._headers is None:
            self._headers = Headers()
            _put(self._headers, self._lines)
        return self._headers

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """Set the status, and a phrase other than the usual one."""
        self.code = code
        self.code_message = message

    def setHeader(self, k: bytes | str, v: bytes | str) -> None:
        """Set a field, in place of one of that name."""
        name, value = _encoded(k), _encoded(v)
        if self._headers is None:
            self._lines[name.lower()] = _line(name, value)
        else:
            self._headers.setRawHeaders(name, [value])

    def set_headers(self, fields: Mapping[bytes, bytes]) -> None:
        """Set several fields, in place of those of their names."""
        if self._headers is None:
            self._lines.update(fields)
        else:
            _put(self._headers, fields)

    def addCookie(
        self,
        k: bytes | str,
        v: bytes | str,
        expires: bytes | str | None = None,
        domain: bytes | str | None = None,
        path: bytes | str | None = None,
        max_age: bytes | str | None = None,
        comment: bytes | str | None = None,
        secure: bool | None = None,
        httpOnly: bool = False,
        sameSite: bytes | str | None = None,
    ) -> None:
        """Set a cookie; see `twisted.web.http.Request.addCookie`."""
        attributes = {
            b"Expires": expires,
            b"Domain": domain,
            b"Path": path,
            b"Max-Age": max_age,
            b"Comment": comment,
            b"SameSite": sameSite,
        }
        parts = [_cookie_part(k) + b"=" + _cookie_part(v)]
        parts += [
            name + b"=" + _cookie_part(value) for name, value in attributes.items() if value is not None
        ]
        parts += [name for name, wanted in ((b"Secure", secure), (b"HttpOnly", httpOnly)) if wanted]
        self.cookies += (b"; ".join(parts),)

    def redirect(self, url: bytes | str) -> None:
        """Answer 302 with that location."""
        self.setResponseCode(302)
        self.setHeader(b"Location", url)

    def has(self, name: bytes) -> bool:
        """Whether the field of that lower-case name is set."""
        return name in self._lines if self._headers is None else self._headers.hasHeader(name)

    def content_length(self) -> int | None:
        """The announced length of the body in bytes."""
        if self._headers is None:
            line = self._lines.get(b"content-length")
            return None if line is None else int(line[len(b"content-length: ") :])
        values = self._headers.getRawHeaders(b"content-length")
        return int(values[-1]) if values else None

    def field_lines(self) -> list[bytes]:
        """All fields in the order in which they were set, cookies last."""
        if self._headers is None:
            lines = list(self._lines.values())
        else:
            raw = self._headers.getAllRawHeaders()
            lines = [_line(name, value) for name, values in raw for value in values]
        if self.cookies:
            lines += [_line(b"Set-Cookie", cookie) for cookie in self.cookies]
        return lines


def format_head(status: int, phrase: bytes | None, lines: list[bytes]) -> bytes:
    """Status line, ``Server``, ``Date``, the given finished lines, and the empty line.

    `phrase` replaces the usual one of the status.
    """
    if phrase is None and status in _STATUS_LINES:
        first = _STATUS_LINES[status]
    else:
        first = _LINE_BREAKS.sub(b" ", b"HTTP/1.1 %d %b" % (status, phrase or b""))
    return b"\r\n".join([first, _clock.lines(), *lines, b"", b""])


class CachedHead:
    """The head of a response that is sent again and again: all of it but the date."""

    __slots__ = ("_after", "_before")

    def __init__(self, status: int, lines: list[bytes]) -> None:
        self._before = _STATUS_LINES[status] + b"\r\n"
        self._after = b"\r\n".join([b"", *lines, b"", b""])

    def now(self) -> bytes:
        """The head as it is sent now."""
        return self._before + _clock.lines() + self._after


def format_error(status: int, reason: str, *extra: Field) -> bytes:
    """A whole response of one plain line, behind which the connection ends."""
    body = reason.encode() + b"\n"
    fields = (
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", b"%d" % len(body)),
        (b"Connection", b"close"),
        *extra,
    )
    return format_head(status, None, list(preformat(*fields).values())) + body


class _DateHeader:
    """The fields that all responses of one second share."""

    def __init__(self) -> None:
        self._second = 0
        self._lines = b""

    def lines(self) -> bytes:
        second = int(time())
        if second != self._second:
            self._second = second
            self._lines = b"Server: %b\r\nDate: %b" % (SERVER, datetimeToString(second))
        return self._lines


_clock = _DateHeader()


def _put(headers: Headers, lines: Mapping[bytes, bytes]) -> None:
    """Set finished lines in the form of Twisted."""
    for line in lines.values():
        name, _, value = line.partition(b": ")
        headers.setRawHeaders(name, [value])


def _encoded(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _line(name: bytes, value: bytes) -> bytes:
    """One field, which stays one whatever its value holds."""
    line = name + b": " + value
    harmless = len(line.translate(None, _BREAKING)) == len(line)  # a third of the time of a search
    return line if harmless else _LINE_BREAKS.sub(b" ", line)


def _cookie_part(text: bytes | str) -> bytes:
    return _encoded(text).replace(b";", b" ")
