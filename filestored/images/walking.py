"""Steps through the two structures that turn up inside of others: JPEG segments and ISO boxes.

In: the bytes of a file and where the structure starts. Out: where it ends.
"""

import re
import struct
from mmap import mmap


class Unfinished(Exception):
    """The structure runs over the end of the file, or is none."""


def jpeg(data: bytes | mmap, start: int) -> int:
    """The position behind the marker EOI of the picture that begins at `start` (ITU T.81, annex B).

    Bytes between the segments are passed over, as decoders do: entropy-coded data is just that.
    """
    at = start + 2
    while (marker := _MARKER.search(data, at)) is not None:
        at = marker.end()
        if data[at - 1] == _EOI:
            return at
        (length,) = struct.unpack_from(">H", data, at)
        at += length
    raise Unfinished


def boxes(data: bytes | mmap, start: int) -> int:
    """The position behind the boxes that begin at `start`, up to where no box begins.

    A box with the size 0 reaches to the end of the file, one with the size 1 has it behind its type
    (ISO 14496-12, section 4.2).
    """
    at = start
    while at <= len(data) and _BOX.match(data, at) is not None:
        (size,) = struct.unpack_from(">I", data, at)
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
        if size == 0:
            return len(data)
        if size < 8:
            raise Unfinished
        at += size
    return at


_EOI = 0xD9
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
"""A marker with a length, or EOI; the others (TEM, RST, SOI) and stuffed zeros mean nothing here."""

_BOX = re.compile(rb".{4}[0-9A-Za-z ]{4}", re.DOTALL)
"""How a box begins: a size and a type in letters."""
