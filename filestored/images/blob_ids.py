"""Unique digests of images: the algorithm ``sha256-apart``.

A digest is the SHA-256 of the content followed by 16 random bytes. So each upload has a digest of its own,
which cannot be guessed. Equal images of two users are two blobs, and deleting one keeps the other. An
operator can check each file against its name::

    zcat ab/abcdef… | sha256sum

Rejected: to keep equal bytes once and count references. A crash can make the count wrong, and the duration of
an upload would reveal that another user has the same image.
"""

import hashlib
import secrets
import zlib
from typing import Protocol

from filestored.digest import Algorithm, Digest
from filestored.errors import UnknownAlgorithm

_HASH_BYTES = 32
_RANDOM_BYTES = 16
_GZIP_WBITS = 16 + zlib.MAX_WBITS
_MAX_OUTPUT_BYTES = 256 * 1024


class _Decompressor(Protocol):
    """A decompression in progress, as returned by `zlib.decompressobj`."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes: ...


class _Hasher:
    """SHA-256 of the content, followed by random bytes."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        self._hash.update(data)

    def digest(self) -> bytes:
        return self._hash.digest() + secrets.token_bytes(_RANDOM_BYTES)


UNIQUE_SHA256 = Algorithm("sha256-apart", _HASH_BYTES + _RANDOM_BYTES, _Hasher)
"""The algorithm of image digests."""


def find_algorithm(name: str) -> Algorithm:
    """Return `UNIQUE_SHA256` by its name. Raises `UnknownAlgorithm` for any other name."""
    if name != UNIQUE_SHA256.name:
        raise UnknownAlgorithm(f"images are named by {UNIQUE_SHA256.name}, not by {name}")
    return UNIQUE_SHA256


class BlobCheck:
    """Comparison of stored bytes with the SHA-256 in their name: as they are, or decompressed from gzip.

    No record is needed: which of both a blob is, shows in the comparison.
    """

    def __init__(self, own: Algorithm = UNIQUE_SHA256) -> None:
        self._plain = hashlib.sha256()
        self._decompressed = hashlib.sha256()
        self._decompressor: _Decompressor | None = zlib.decompressobj(_GZIP_WBITS)

    def update(self, data: bytes | memoryview, /) -> None:
        """Add the next bytes."""
        self._plain.update(data)
        rest: bytes | memoryview = data
        while self._decompressor is not None and len(rest):
            rest = self._decompress(self._decompressor, rest)

    def matches(self, digest: Digest) -> bool:
        """Return whether the bytes have the hash in this name."""
        found = [self._plain]
        if self._decompressor is not None and self._decompressor.eof:
            found.append(self._decompressed)
        return content_hash(digest) in [each.hexdigest() for each in found]

    def _decompress(self, decompressor: "_Decompressor", data: bytes | memoryview) -> bytes:
        """Hash some output of `data`; return the input that is left."""
        try:
            self._decompressed.update(decompressor.decompress(data, _MAX_OUTPUT_BYTES))
        except zlib.error:
            self._decompressor = None  # these are no bytes of gzip, or damaged ones
        if decompressor.unused_data:
            self._decompressor = None
        return decompressor.unconsumed_tail


def content_hash(digest: Digest) -> str:
    """Return the SHA-256 of the content of `digest`, in hexadecimal."""
    return digest.hex[: 2 * _HASH_BYTES]
