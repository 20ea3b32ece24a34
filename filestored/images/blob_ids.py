"""Names for the bytes of images: each upload has one of its own, that nobody can guess.

The store names bytes by an `Algorithm`. The one here gives the SHA-256 of the bytes and behind it 16
random bytes. So two users who upload the same image have two blobs, and to delete one takes nothing
from the other; yet whoever looks after the disk can check each file against its name::

    zcat ab/abcdef… | sha256sum

Rejected: to keep equal bytes once and count who uses them. A count is one more thing that a crash can
get wrong, and how long an upload takes would tell who else has the same image.
"""

import hashlib
import secrets

from filestored.digest import Algorithm, Digest
from filestored.errors import UnknownAlgorithm

_HASH = 32
_RANDOM = 16


class _Hasher:
    """SHA-256 of what it is fed, followed by random bytes."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        self._hash.update(data)

    def digest(self) -> bytes:
        return self._hash.digest() + secrets.token_bytes(_RANDOM)


UNIQUE_SHA256 = Algorithm("sha256-apart", _HASH + _RANDOM, _Hasher)
"""The algorithm that names the bytes of images."""


def lookup(name: str) -> Algorithm:
    """`UNIQUE_SHA256` by its name; raises `UnknownAlgorithm` for every other."""
    if name != UNIQUE_SHA256.name:
        raise UnknownAlgorithm(f"images are named by {UNIQUE_SHA256.name}, not by {name}")
    return UNIQUE_SHA256


def content_hash(digest: Digest) -> str:
    """The SHA-256 of the bytes that are named `digest`, in hexadecimal."""
    return digest.hex[: 2 * _HASH]
