"""Streaming multipart/form-data parser (RFC 7578): the first file of a form goes to an upload.

In: the bytes of a form, as they arrive. Out: the bytes of its first file. All other parts, and bytes after
the closing boundary, are checked against limits and dropped. The producer of the form is registered with the
upload, so that a slow disk pauses the client.

A part with a non-empty file name is a file. Browsers send an empty name if no file was selected. `OnFilename`
is called before the first byte of the file.

`multipart` parses part headers and validates the form. The content of a file bypasses it: `BoundaryScanner`
finds the delimiter faster, with memmem of libc. A file with a `Content-Length` does not bypass it, because
the library compares the length.
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

MAX_PARTS = 16
"""Maximum number of parts of a form."""

MAX_PART_HEADERS = 16
"""Maximum number of header lines of a part."""

MAX_PART_HEAD_BYTES = 8 * 1024
"""Maximum size of the header lines of a part."""

MAX_DISPOSITION_CHARACTERS = 1024
"""Maximum length of a `Content-Disposition` line of a part."""

MAX_FIELD_BYTES = 64 * 1024
"""Maximum size of a part that is not a file."""

MAX_FORM_OVERHEAD_BYTES = MAX_PARTS * (MAX_PART_HEAD_BYTES + MAX_FIELD_BYTES)
"""Maximum number of bytes by which a form may be longer than the largest file."""

OnFilename = Callable[[str], None]
"""Called with the name of the file before its first byte; may raise."""

BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
"""A boundary: 1 to 70 characters (RFC 2046 section 5.1.1)."""

# RFC 7578 section 4.2 forbids filename*, but some clients send it for names beyond ASCII.
_EXTENDED_FILENAME = re.compile(r";[ \t]*filename\*[ \t]*=[ \t]*([^;\s]*)", re.IGNORECASE)
# Possessive, with an optional closing quote: linear time.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_CHARSETS = {"utf-8", "iso-8859-1"}

_libc = ctypes.CDLL(None)
_libc.memmem.restype = ctypes.c_void_p
_libc.memmem.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]


@implementer(IConsumer)
class MultipartUpload:
    """The consumer of a form of at most `limit` bytes: `write` its bytes, then `finish`."""

    def __init__(
        self,
        upload: IConsumer,
        boundary: str,
        limit: int,
        on_filename: OnFilename | None = None,
    ) -> None:
        self._upload = upload
        self._on_filename = on_filename
        self._parser = PushMultipartParser(
            boundary,
            max_header_size=MAX_PART_HEAD_BYTES,
            max_header_count=MAX_PART_HEADERS,
            max_segment_count=MAX_PARTS,
            strict=True,
        )
        self._scanner = BoundaryScanner(boundary)
        self._bypassing = False
        self._part: MultipartSegment | None = None
        self._may_bypass = False
        self._write_content: Callable[[bytes], None] = self._drop
        self._remaining = limit
        self._found = False
        self._complete = False

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Register the producer of the form with the upload."""
        self._upload.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Unregister the producer."""
        self._upload.unregisterProducer()

    def write(self, data: bytes) -> None:
        """Parse the next bytes. Raises `TooLarge`, or `HTTPError` (400, 413) for an invalid form."""
        self._remaining -= len(data)
        if self._remaining < 0:
            raise TooLarge
        if self._complete:
            return
        try:
            self._parse(data)
        except ParserLimitReached:
            raise _beyond_limits() from None
        except MultipartError:
            raise _malformed() from None

    def finish(self) -> None:
        """End the form. Raises `HTTPError` if it is incomplete, or has no file."""
        if not self._complete and not _is_complete(self._parser):
            raise _malformed()
        if not self._found:
            raise HTTPError(400, "There is no file in the form.")

    def _parse(self, data: bytes) -> None:
        if self._bypassing:
            content, data = self._scanner.split(data)
            if content:
                self._write_content(content)
            if not data:
                return
        event: MultipartSegment | bytes | None = b""
        for event in self._parser.parse(data):
            if isinstance(event, bytes):
                self._write_content(event)
            elif event is not None:
                self._start_part(event)
        self._bypassing = self._bypasses_parser(event, data)
        # The strict parser rejects bytes after the closing boundary, even a final line break.
        self._complete = event is None and _is_complete(self._parser)

    def _bypasses_parser(self, event: MultipartSegment | bytes | None, data: bytes) -> bool:
        """Return whether `data` ends within a file, and the parser has buffered nothing of it."""
        in_content = isinstance(event, bytes) and bool(event)
        return in_content and self._may_bypass and not self._scanner.may_have_begun(data)

    def _start_part(self, part: MultipartSegment) -> None:
        _check_part_head(part)
        self._part = part
        is_file = _is_file(part)
        self._may_bypass = is_file and part.header("Content-Length") is None
        if not is_file:
            self._write_content = self._drop_field
        elif self._found:
            self._write_content = self._drop
        else:
            self._found = True
            self._write_content = self._upload.write
            if self._on_filename is not None:
                self._on_filename(_file_name(part))

    def _drop(self, data: bytes) -> None:
        pass

    def _drop_field(self, data: bytes) -> None:
        assert self._part is not None
        if self._part.bytes_received > MAX_FIELD_BYTES:
            raise _beyond_limits()


class BoundaryScanner:
    """Search for the delimiter after a part: line break, two dashes, `boundary` (RFC 2046 section 5.1.1)."""

    def __init__(self, boundary: str) -> None:
        self._delimiter = b"\r\n--" + boundary.encode()
        self._buffer = b""

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """Return content, and the delimiter with all bytes after it, which are empty until it is complete."""
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        if _libc.memmem(data, len(data), self._delimiter, len(self._delimiter)) is not None:
            content, _, rest = data.partition(self._delimiter)
            return content, self._delimiter + rest
        end = self._partial_delimiter(data)
        if end < len(data):
            data, self._buffer = data[:end], data[end:]
        return data, b""

    def may_have_begun(self, data: bytes) -> bool:
        """Return whether `data` ends within a delimiter or the two bytes after it."""
        has_delimiter = self._delimiter in data[-len(self._delimiter) - 1 :]
        return has_delimiter or self._partial_delimiter(data) < len(data)

    def _partial_delimiter(self, data: bytes) -> int:
        """Return the index of an incomplete delimiter at the end of `data`; its length if there is none."""
        start = data.rfind(b"\r", max(0, len(data) - len(self._delimiter) + 1))
        return start if start >= 0 and self._delimiter.startswith(data[start:]) else len(data)


def _check_part_head(part: MultipartSegment) -> None:
    """Raise `HTTPError` (413) for header lines of a part that are too large."""
    if sum(len(name) + len(value) for name, value in part.headerlist) > MAX_PART_HEAD_BYTES:
        raise _beyond_limits()
    for name, value in part.headerlist:
        if name == "Content-Disposition" and len(value) > MAX_DISPOSITION_CHARACTERS:
            raise _beyond_limits()


def _is_complete(parser: PushMultipartParser) -> bool:
    """Return whether the parser has seen the closing boundary. Only `close` tells, so a copy is closed."""
    try:
        copy.copy(parser).close()
    except MultipartError:
        return False
    return True


def _is_file(part: MultipartSegment) -> bool:
    return bool(part.filename) or _extended_file_name(part) is not None


def _file_name(part: MultipartSegment) -> str:
    """Return the name of the file; `filename*` takes precedence (RFC 6266 section 4.3)."""
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
    """Return the value of `filename*` (RFC 8187), or None."""
    found = _EXTENDED_FILENAME.search(_QUOTED.sub("", part["Content-Disposition"]))
    return found[1] if found else None


def _malformed() -> HTTPError:
    return HTTPError(400, "The form is malformed.")


def _beyond_limits() -> HTTPError:
    return HTTPError(413, "The form has too many parts, or a field or part header that is too large.")
