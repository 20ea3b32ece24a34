"""Page cache: the pages of a file that are in memory, and dropping those that were not before.

posix_fadvise(2) drops pages that other processes use, too. So mincore(2) tells before a read which pages are
in memory; afterwards only the others are dropped. The owner of a file is told the truth; another user is told
that all pages are in memory, and drops none.

Rejected: preadv2(2) with RWF_NOWAIT, which some file systems do not support, and which tells only the first
missing page of a range.
"""

import ctypes
import mmap
import os
import re

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

_FAILED = ctypes.c_void_p(-1).value
_LOWEST_BITS = bytes(number & 1 for number in range(256))
_ABSENT = re.compile(rb"\0+")


def resident_pages(descriptor: int, offset: int, size: int) -> bytes:
    """Return a byte for each page of a range that begins at a page: 1 if it is in memory, else 0.

    Returns nothing if the system does not tell.
    """
    if size <= 0:
        return b""
    address = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, offset)
    if address in (None, _FAILED):
        return b""
    try:
        pages = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
        if _libc.mincore(address, size, pages):
            return b""
        return pages.raw.translate(_LOWEST_BITS)
    finally:
        _libc.munmap(address, size)


def drop_pages(descriptor: int, offset: int, before: bytes) -> None:
    """Drop the pages from `offset` on that were not in memory `before`. Raises `OSError`."""
    for found in _ABSENT.finditer(before):
        start, count = found.start() * mmap.PAGESIZE, len(found[0]) * mmap.PAGESIZE
        os.posix_fadvise(descriptor, offset + start, count, os.POSIX_FADV_DONTNEED)
