"""Checksums of PNG chunks (PNG specification, section 5.4).

Pillow does not compare those of pixels. Chunks that every decoder may ignore are not checked here.
"""

import struct
import zlib
from typing import BinaryIO

_SIGNATURE_BYTES = 8
_PIECE_BYTES = 256 * 1024


def check_checksums(file: BinaryIO) -> None:
    """Raise `ValueError` unless the checksums of all chunks with pixels or colours are right.

    The end of the file may take the place of the last chunk.
    """
    file.seek(_SIGNATURE_BYTES)
    kind = b""
    while kind != b"IEND" and len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind[:1].isupper() or kind == b"fdAT":
            _check_chunk(file, kind, length)
        else:
            file.seek(length + 4, 1)


def _check_chunk(file: BinaryIO, kind: bytes, length: int) -> None:
    found = zlib.crc32(kind)
    while length and (piece := file.read(min(length, _PIECE_BYTES))):
        found = zlib.crc32(piece, found)
        length -= len(piece)
    if file.read(4) != found.to_bytes(4):
        raise ValueError(f"the checksum of the PNG chunk {kind!r} is wrong")
