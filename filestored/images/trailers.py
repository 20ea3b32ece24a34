"""What cameras put behind the end of a JPEG, and what is therefore not a reason to refuse one.

In: the bytes of a file and where its first picture ends. Out: where the last of these ends:

- further whole JPEGs: previews and gain maps (CIPA DC-007, "MPF"; Ultra HDR);
- an MP4 video up to the end of the file: motion photos of Android;
- blocks, and the directory ``SEFH … SEFT`` that says where each of them is: most phones of Samsung;
- zero bytes between them.

Each is taken only when its own structure is whole and leaves nothing between it and the next. A person can
hide bytes inside of them, as they can in any comment of any image; they can't append them.
"""

import re
import struct
from mmap import mmap

from filestored.images.walking import boxes, jpeg


def after_jpeg(data: bytes | mmap, end: int) -> int:
    """The position behind all that may follow a picture which ends at `end`. Raises `Unfinished`."""
    while True:
        start = _ZEROS.match(data, end).end()  # type: ignore[union-attr]  # matches nothing, too
        if data[start : start + 3] == b"\xff\xd8\xff":
            end = jpeg(data, start)
        elif (video := _VIDEO.match(data, end)) is not None:
            return boxes(data, video.end())
        else:
            return len(data) if _has_directory(data, end, start) else end


def _has_directory(data: bytes | mmap, end: int, start: int) -> bool:
    """Whether the rest is blocks, the first of which begins from `end` to `start`, and their directory.

    A block begins with two zero bytes, hence the leeway.
    """
    if start == len(data) or data[-4:] != b"SEFT":
        return False
    (size,) = struct.unpack_from("<I", data, len(data) - 8)
    directory = len(data) - 8 - size
    if directory < start or data[directory : directory + 4] != b"SEFH":
        return False
    (count,) = struct.unpack_from("<I", data, directory + 8)
    if size != 12 + 12 * count:
        return False
    entries = [struct.unpack_from("<II", data, directory + 16 + 12 * number) for number in range(count)]
    first = directory - max((back for back, _ in entries), default=0)
    return end <= first <= start and all(length <= back for back, length in entries)


_ZEROS = re.compile(rb"\0*")
_VIDEO = re.compile(rb"\0*?(?=.{4}ftyp)", re.DOTALL)
"""Zeros up to an ISO media file, whose first box begins with some as well."""
