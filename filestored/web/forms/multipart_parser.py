"""Streaming parser of multipart/form-data (RFC 7578, RFC 2046 section 5.1.1). Pure.

In: the bytes of a form, cut anywhere. Out: for each file its `PartHead`, then the bytes of its content.
Fields, and bytes before the first or behind the closing delimiter, are checked against limits and dropped.

A delimiter is a line break, two dashes and the boundary; blanks may follow it. Refused is what readers cut
differently: other bytes behind a delimiter, a boundary within the text before the first delimiter, lone line
feeds in a part head, and a part whose `Content-Length` is wrong.

The content bypasses all this: `BoundaryScanner` finds the delimiter with memmem of libc.
"""

import ctypes
from collections.abc import Iterator

from filestored.errors import TooLarge
from filestored.web.errors import HTTPError
from filestored.web.forms.errors import form_beyond_limits, malformed_form
from filestored.web.forms.part_head import PartHead, parse_part_head

MAX_PARTS = 1000
"""Maximum number of parts of a form."""

MAX_PART_HEAD_BYTES = 8 * 1024
"""Maximum size of the header lines of a part."""

MAX_FIELD_BYTES = 64 * 1024
"""Maximum size of a part that is not a file."""

MAX_FORM_OVERHEAD_BYTES = 16 * 1024 * 1024
"""Maximum number of bytes by which a form may be longer than the largest file: twice `MAX_PARTS` heads."""

_libc = ctypes.CDLL(None)
_libc.memmem.restype = ctypes.c_void_p
_libc.memmem.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]


class MultipartParser:
    """The parser of one form, whose files have at most `max_size` bytes; see `MAX_FORM_OVERHEAD_BYTES`."""

    def __init__(self, boundary: bytes, max_size: int) -> None:
        self._dashes = b"--" + boundary
        self._scanner = BoundaryScanner(boundary)
        self._max_size = max_size
        self._remaining = max_size + MAX_FORM_OVERHEAD_BYTES
        self._parts = 0
        self._found = False
        self._complete = False
        self._part = PartHead(is_file=False, length=None, parameters={})
        self._part_size = 0
        self._is_file = False
        # A form begins as if behind a line break.
        self._preamble: bytes | None = b"\r\n"
        self._head = bytearray()
        self._in_content = False

    def parse(self, data: bytes) -> Iterator[PartHead | bytes]:
        """Parse the next bytes. Raises `TooLarge`, or `HTTPError` for a form that is refused.

        The iterator has to be exhausted before that of the next bytes is begun.
        """
        self._remaining -= len(data)
        if self._remaining < 0:
            raise TooLarge.than(self._max_size)
        while data and not self._complete:
            if not self._in_content:
                data = self._read_between_contents(data)
                if self._in_content and self._is_file:
                    yield self._part
                continue
            content, rest = self._scanner.split(data)
            if self._part_size <= 0:
                content = self._without_line_break(content)
            self._part_size += len(content)
            if not self._is_file:
                self._check_field()
            elif content:
                yield content
            data = b"" if rest is None else self._end_part(rest)

    def finish(self) -> None:
        """End the form. Raises `HTTPError` if it is incomplete, or has no file."""
        if not self._complete:
            raise malformed_form()
        if not self._found:
            raise HTTPError(400, "There is no file in the form.")

    def _read_between_contents(self, data: bytes) -> bytes:
        """Read the preamble or a part head; return the bytes behind it."""
        return self._read_head(data) if self._preamble is None else self._skip_preamble(data, self._preamble)

    def _skip_preamble(self, data: bytes, before: bytes) -> bytes:
        before, found, rest = (before + data).partition(self._dashes)
        if not found:
            self._preamble = before[-len(self._dashes) - 1 :]  # the boundary less a byte, and a line break
        elif not before.endswith(b"\r\n"):
            raise malformed_form()
        else:
            self._preamble = None
        return rest

    def _read_head(self, data: bytes) -> bytes:
        """Read what follows a delimiter: two dashes, or blanks and the header lines of a part."""
        searched = max(0, len(self._head) - 3)
        self._head += data
        if self._head.startswith(b"--"):
            self._complete = True
            return b""
        end = self._head.find(b"\r\n\r\n", searched)
        if max(end, len(self._head) - 3 if end < 0 else 0) > MAX_PART_HEAD_BYTES:
            raise form_beyond_limits() if _split_head(self._head)[0] == b"" else malformed_form()
        if end < 0:
            return b""
        self._start_part(bytes(self._head[:end]))
        # The last line break belongs to the delimiter of a part without content.
        rest = bytes(self._head[end + 2 :])
        self._head.clear()
        return rest

    def _start_part(self, head: bytes) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise form_beyond_limits()
        blanks, lines = _split_head(head)
        if blanks:
            raise malformed_form()
        self._part = parse_part_head(lines)
        self._part_size = -2  # the line break before the content
        self._is_file = self._part.is_file
        self._found = self._found or self._is_file
        self._in_content = True

    def _without_line_break(self, content: bytes) -> bytes:
        """Return the first content of a part without the last line break of its head."""
        if self._part_size < 0 and content:
            self._part_size = 0
            return content[2:]
        return content

    def _check_field(self) -> None:
        if self._part_size > MAX_FIELD_BYTES:
            raise form_beyond_limits()

    def _end_part(self, rest: bytes) -> bytes:
        if self._part.length not in (None, max(self._part_size, 0)):
            raise malformed_form()
        self._in_content = False
        return rest


def _split_head(head: bytes | bytearray) -> tuple[bytes, bytes]:
    """Return the bytes behind a delimiter in its line, without blanks, and the following lines."""
    line, _, lines = bytes(head).partition(b"\r\n")
    return line.strip(b" \t"), lines


class BoundaryScanner:
    """Search for the delimiter behind a part: line break, two dashes, `boundary`."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._buffer = b""

    def split(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Return content, and the bytes behind the delimiter, or None until it is complete."""
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        if _libc.memmem(data, len(data), self._delimiter, len(self._delimiter)) is not None:
            content, _, rest = data.partition(self._delimiter)
            return content, rest
        start = data.rfind(b"\r", max(0, len(data) - len(self._delimiter) + 1))
        if start >= 0 and self._delimiter.startswith(data[start:]):
            data, self._buffer = data[:start], data[start:]
        return data, None
