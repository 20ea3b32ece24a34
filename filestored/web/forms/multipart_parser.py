"""Streaming parser of multipart/form-data (RFC 7578, RFC 2046 section 5.1.1). Pure.

In: the bytes of a form, cut anywhere. Out: for each file its `PartHead`, then the bytes of its content.
Fields, and bytes before the first or behind the closing delimiter, are checked against limits and dropped.

A delimiter is a line break, two dashes and the boundary; the closing one has two more dashes. Blanks may
follow it. Refused is what readers cut differently: other bytes behind a delimiter, a boundary within the text
before the first delimiter, lone line feeds in a part head, and a part whose `Content-Length` is wrong.

Each piece is read once, from left to right, by position. Only part heads and contents are copied.
"""

import ctypes
from collections.abc import Callable, Iterator

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
"""Maximum size of all of a form but the contents of its files."""

_CRLF = b"\r\n"
_BLANKS = b" \t"

_memmem = ctypes.CDLL(None).memmem
_memmem.restype = ctypes.c_void_p
_memmem.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
_memmem_of_bytes = ctypes.CDLL(None).memmem  # without the conversion of an address, which takes a microsecond
_memmem_of_bytes.restype = ctypes.c_void_p
_memmem_of_bytes.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]

_Step = Callable[[bytes, int], tuple[int, PartHead | bytes | None]]


class MultipartParser:
    """The parser of one form, whose files have at most `max_size` bytes together."""

    def __init__(self, boundary: bytes, max_size: int) -> None:
        self._dashes = b"--" + boundary
        self._delimiter = _CRLF + self._dashes
        self._max_size = max_size
        self._outside = 0
        self._in_files = 0
        self._parts = 0
        self._found = False
        self._part = PartHead(is_file=False, length=None, parameters={})
        self._part_size = 0
        self._begins = False
        self._searched = 0
        self._unread = _CRLF  # a form begins as if behind a line break
        self._step: _Step = self._skip_preamble

    def parse(self, data: bytes) -> Iterator[PartHead | bytes]:
        """Parse the next bytes. Raises `TooLarge`, or `HTTPError` for a form that is refused.

        The iterator has to be exhausted before that of the next bytes is begun.
        """
        self._outside += len(data)
        data, self._unread = self._unread + data if self._unread else data, b""
        position = 0
        while position < len(data):
            position, event = self._step(data, position)
            if event:
                yield event
        if self._outside > MAX_FORM_OVERHEAD_BYTES:
            raise form_beyond_limits()

    def finish(self) -> None:
        """End the form. Raises `HTTPError` if it is incomplete, or has no file."""
        if self._step not in (self._read_closing, self._drop) or self._unread:
            raise malformed_form()
        if not self._found:
            raise HTTPError(400, "There is no file in the form.")

    # Each step returns the position behind the bytes that it has read, and what it has found: the head or the
    # content of a file. It reads all bytes, and may keep the last ones `_unread` until more arrive.

    def _skip_preamble(self, data: bytes, position: int) -> tuple[int, None]:
        found = _find(data, self._dashes, position)
        if found < 0:
            self._unread = data[-len(self._dashes) - 1 :]  # the boundary less a byte, and a line break
            return len(data), None
        if data[found - len(_CRLF) : found] != _CRLF:
            raise malformed_form()
        self._step = self._read_head
        return found + len(self._dashes), None

    def _read_head(self, data: bytes, position: int) -> tuple[int, PartHead | None]:
        """Read what follows a delimiter: two dashes, or blanks and the header lines of a part."""
        if data.startswith(b"--", position):
            self._step = self._read_closing
            return position + 2, None
        end = data.find(_CRLF * 2, position + self._searched)
        size = (end if end >= 0 else len(data) - 3) - position
        if size > MAX_PART_HEAD_BYTES:
            raise form_beyond_limits() if not _first_line(data, position) else malformed_form()
        if end < 0:
            self._searched = max(0, size)
            self._unread = data[position:]
            return len(data), None
        self._searched = 0
        self._start_part(data[position:end])
        # The last line break belongs to the delimiter of a part without content.
        return end + len(_CRLF), self._part if self._part.is_file else None

    def _read_content(self, data: bytes, position: int) -> tuple[int, bytes | None]:
        found = _find(data, self._delimiter, position)
        end = found if found >= 0 else self._partial_delimiter(data, position)
        if self._begins and end > position:
            position += len(_CRLF)
            self._begins = False
        content = data[position:end]
        self._count(len(content))
        if found >= 0:
            self._end_part()
            return found + len(self._delimiter), content if self._part.is_file else None
        self._unread = data[end:]
        return len(data), content if self._part.is_file else None

    def _read_closing(self, data: bytes, position: int) -> tuple[int, None]:
        """Read the rest of the closing delimiter's line, which is blank."""
        rest = data[position:].lstrip(_BLANKS)
        if rest.startswith(_CRLF):
            self._step = self._drop
        elif rest == b"\r":
            self._unread = rest
        elif rest:
            raise malformed_form()
        return len(data), None

    def _drop(self, data: bytes, position: int) -> tuple[int, None]:
        return len(data), None

    def _start_part(self, head: bytes) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise form_beyond_limits()
        if _first_line(head, 0):
            raise malformed_form()
        self._part = parse_part_head(head.partition(_CRLF)[2])
        self._part_size = 0
        self._begins = True
        self._found = self._found or self._part.is_file
        self._step = self._read_content

    def _partial_delimiter(self, data: bytes, position: int) -> int:
        """Return the index of an incomplete delimiter at the end of `data`; its length if there is none."""
        start = data.rfind(b"\r", max(position, len(data) - len(self._delimiter) + 1))
        return start if start >= 0 and self._delimiter.startswith(data[start:]) else len(data)

    def _count(self, size: int) -> None:
        self._part_size += size
        if not self._part.is_file:
            if self._part_size > MAX_FIELD_BYTES:
                raise form_beyond_limits()
            return
        self._outside -= size
        self._in_files += size
        if self._in_files > self._max_size:
            raise TooLarge.than(self._max_size)

    def _end_part(self) -> None:
        if self._part.length not in (None, self._part_size):
            raise malformed_form()
        self._step = self._read_head


def _first_line(head: bytes, position: int) -> bytes:
    """Return the rest of a delimiter's line, without blanks."""
    end = head.find(_CRLF, position)
    return head[position : end if end >= 0 else len(head)].strip(_BLANKS)


def _find(data: bytes, needle: bytes, position: int) -> int:
    """Return the index of `needle` from `position` on, or -1; by memmem of libc, which is fast."""
    if position == 0 and _memmem_of_bytes(data, len(data), needle, len(needle)) is None:
        return -1
    begin = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
    assert begin is not None
    found: int | None = _memmem(begin + position, len(data) - position, needle, len(needle))
    return -1 if found is None else found - begin
