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

from filestored.digest import Algorithm, Digest
from filestored.errors import UnknownAlgorithm

_HASH_BYTES = 32
_RANDOM_BYTES = 16


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


def content_hash(digest: Digest) -> str:
    """Return the SHA-256 of the content of `digest`, in hexadecimal."""
    return digest.hex[: 2 * _HASH_BYTES]
