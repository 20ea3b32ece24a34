"""A multipart/form-data body (RFC 7578) on its way into the store.

Bytes of the form flow in as they arrive; the bytes of its first file flow out, into an
upload. Everything else is dropped while it passes: fields, further files, whatever
follows the closing boundary. The producer of the form is registered with the upload, so
that a slow disk pauses the client.

A part is a file when it has a filename. An empty one is what browsers send for a file that
was not chosen, and makes no file. Whoever wants to know the name is told it before the first byte.

The library's parser reads the heads of the parts and judges the form. The content of a file, once begun,
goes past it (`delimiter`), unless its length was announced, which the parser compares.
"""

import copy
import ctypes
import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from twisted.internet.interfaces import IConsumer, IProducer
from zope.interface import implementer

from filestored.errors import TooLarge
from filestored.web.errors import HTTPError

MOST_PARTS = 16
"""Parts of one form."""

MOST_PART_LINES = 16
"""Header lines of one part."""

PART_HEAD = 8 * 1024
"""Bytes of the header lines of one part."""

MAX_DISPOSITION_CHARACTERS = 1024
"""Characters of one `Content-Disposition` line of a part."""

FIELD = 64 * 1024
"""Bytes of a part that is not a file."""

MOST_AROUND = MOST_PARTS * (PART_HEAD + FIELD)
"""Bytes by which a form may be longer than the largest file."""

Begin = Callable[[str], None]
"""Is told the name of the file before its bytes come; may raise."""

BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
"""A boundary: 1 to 70 characters (RFC 2046 section 5.1.1)."""


@implementer(IConsumer)
class MultipartUpload:
    """The consumer of a form of at most `limit` bytes: `write` what arrives, then `finish`."""

    def __init__(
        self,
        upload: IConsumer,
        boundary: str,
        limit: int,
        begin: Begin | None = None,
    ) -> None:
        self._upload = upload
        self._told = begin
        self._parser = PushMultipartParser(
            boundary,
            max_header_size=PART_HEAD,
            max_header_count=MOST_PART_LINES,
            max_segment_count=MOST_PARTS,
            strict=True,
        )
        self._delimiter = BoundaryScanner(boundary)
        self._inside = False
        self._part: MultipartSegment | None = None
        self._is_uncounted_file = False
        self._take: Callable[[bytes], None] = self._drop
        self._room = limit
        self._found = False
        self._over = False

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let the upload pause and resume whoever sends the form."""
        self._upload.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Nobody sends any more."""
        self._upload.unregisterProducer()

    def write(self, data: bytes) -> None:
        """Take the next bytes of the form.

        Raises `TooLarge`, and `HTTPError` for what is no form or beyond its limits.
        """
        self._room -= len(data)
        if self._room < 0:
            raise TooLarge
        if self._over:
            return
        try:
            self._parse(data)
        except ParserLimitReached:
            raise _beyond_limits() from None
        except MultipartError:
            raise _malformed() from None

    def finish(self) -> None:
        """The form has ended. Raises `HTTPError` when it is not whole, or has no file."""
        if not self._over and not _is_complete(self._parser):
            raise _malformed()
        if not self._found:
            raise HTTPError(400, "There is no file in the form.")

    def _parse(self, data: bytes) -> None:
        if self._inside:
            content, data = self._delimiter.split(data)
            if content:
                self._take(content)
            if not data:
                return
        event: MultipartSegment | bytes | None = b""
        for event in self._parser.parse(data):
            if isinstance(event, bytes):
                self._take(event)
            elif event is not None:
                self._begin(event)
        self._inside = self._passes_on(event, data)
        # The strict parser takes bytes behind its end for an error, even a final line break.
        self._over = event is None and _is_complete(self._parser)

    def _passes_on(self, event: MultipartSegment | bytes | None, data: bytes) -> bool:
        """Whether more of a file follows, and the parser, having come so far, has kept nothing of `data`."""
        in_content = isinstance(event, bytes) and bool(event)
        return in_content and self._is_uncounted_file and not self._delimiter.may_have_begun(data)

    def _begin(self, part: MultipartSegment) -> None:
        _check_part_head(part)
        self._part = part
        is_file = _is_file(part)
        self._is_uncounted_file = is_file and part.header("Content-Length") is None
        if not is_file:
            self._take = self._drop_field
        elif self._found:
            self._take = self._drop
        else:
            self._found = True
            self._take = self._upload.write
            if self._told is not None:
                self._told(_file_name(part))

    def _drop(self, data: bytes) -> None:
        """Bytes of a file that is not wanted."""

    def _drop_field(self, data: bytes) -> None:
        assert self._part is not None
        if self._part.bytes_received > FIELD:
            raise _beyond_limits()


def _check_part_head(part: MultipartSegment) -> None:
    """Raise `HTTPError` (413) for header lines of a part that are too large."""
    if sum(len(name) + len(value) for name, value in part.headerlist) > PART_HEAD:
        raise _beyond_limits()
    for name, value in part.headerlist:
        if name == "Content-Disposition" and len(value) > MAX_DISPOSITION_CHARACTERS:
            raise _beyond_limits()


def _is_complete(parser: PushMultipartParser) -> bool:
    """Whether the closing boundary was seen. Only closing a parser tells, so a copy is closed."""
    try:
        copy.copy(parser).close()
    except MultipartError:
        return False
    return True


def _is_file(part: MultipartSegment) -> bool:
    return bool(part.filename) or _extended_file_name(part) is not None


def _file_name(part: MultipartSegment) -> str:
    """The file's name; the extended form is the better one where both are sent (RFC 6266 section 4.3)."""
    extended = _extended_file_name(part)
    if not extended:
        return part.filename or ""
    charset, _, encoded = extended.partition("'")
    if charset.lower() not in _CHARSETS:
        raise _malformed()
    try:
        return unquote_to_bytes(encoded.partition("'")[2]).decode(charset)
    except UnicodeDecodeError:
        raise _malformed() from None


def _extended_file_name(part: MultipartSegment) -> str | None:
    """What `filename*` says, if it is there (RFC 8187)."""
    found = _EXTENDED_FILENAME.search(_QUOTED.sub("", part["Content-Disposition"]))
    return found[1] if found else None


def _malformed() -> HTTPError:
    return HTTPError(400, "The form is malformed.")


def _beyond_limits() -> HTTPError:
    return HTTPError(413, "The form has too many parts, or a field or part header that is too large.")


# RFC 7578 section 4.2 forbids it, and some clients send it for names beyond ASCII.
_EXTENDED_FILENAME = re.compile(r";[ \t]*filename\*[ \t]*=[ \t]*([^;\s]*)", re.IGNORECASE)
# Possessive, and without a need for the closing quote: never tries a character twice.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_CHARSETS = {"utf-8", "iso-8859-1"}


# --- The end of a file in a form, looked for in what arrives of the file.


_libc = ctypes.CDLL(None)
_libc.memmem.restype = ctypes.c_void_p
_libc.memmem.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]


class BoundaryScanner:
    """What ends each part of a form: a line break, two dashes, `boundary` (RFC 2046 section 5.1.1)."""

    def __init__(self, boundary: str) -> None:
        self._mark = b"\r\n--" + boundary.encode()
        self._kept = b""

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """What of the next bytes is content, and the delimiter with all behind it, once that is there."""
        if self._kept:
            data, self._kept = self._kept + data, b""
        if _libc.memmem(data, len(data), self._mark, len(self._mark)) is not None:
            content, _, behind = data.partition(self._mark)
            return content, self._mark + behind
        end = self._beginning(data)
        if end < len(data):
            data, self._kept = data[:end], data[end:]
        return data, b""

    def may_have_begun(self, data: bytes) -> bool:
        """Whether `data` ends with a part of a delimiter, its two bytes behind the boundary included."""
        return self._mark in data[-len(self._mark) - 1 :] or self._beginning(data) < len(data)

    def _beginning(self, data: bytes) -> int:
        """Where a delimiter begins that is not whole yet: behind the end, if nowhere."""
        start = data.rfind(b"\r", max(0, len(data) - len(self._mark) + 1))
        return start if start >= 0 and self._mark.startswith(data[start:]) else len(data)
