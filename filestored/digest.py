"""Hash algorithms and the Digest value: parse, print, shard.

Flow: a name given by the operator becomes an `Algorithm`; text given by a client becomes
a `Digest` through `Algorithm.parse`, or nothing at all. Whoever holds a `Digest` may use
its text as a file name: it is lower-case hexadecimal of the one right length.

Rejected: accepting upper-case digits. One content has one name.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol

from filestored.errors import MalformedDigest, UnknownAlgorithm

SHARD_DIGITS = 2
"""How many leading hexadecimal digits of a digest name its shard directory."""


class Hasher(Protocol):
    """A running hash computation, as the objects of `hashlib` are."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Add bytes to what is hashed."""

    def digest(self) -> bytes:
        """The hash of all bytes so far."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A hash algorithm.

    `name` as the operator writes it, `size` of its output in bytes, `new` starts a
    computation.
    """

    name: str
    size: int
    new: Callable[[], Hasher] = field(repr=False, compare=False)

    def parse(self, text: str) -> "Digest":
        """Read a digest as clients write it.

        Raises `MalformedDigest` unless `text` is lower-case hexadecimal of the right length.
        """
        if len(text) == 2 * self.size and _HEXADECIMAL.fullmatch(text):
            return Digest(self.name, text)
        raise MalformedDigest(f"a {self.name} digest has {2 * self.size} lower-case hexadecimal digits")

    def finish(self, hasher: Hasher) -> "Digest":
        """The digest of what `hasher`, started by `new`, has been fed."""
        return Digest(self.name, hasher.digest().hex())


@dataclass(frozen=True, slots=True)
class Digest:
    """The hash of a byte string: the algorithm's name and lower-case hexadecimal text.

    Made by `Algorithm.parse` and `Algorithm.finish` only, so that `hex` is always a safe
    file name.
    """

    algorithm: str
    hex: str

    @property
    def shard(self) -> str:
        """The name of the directory that a file with this digest rests in."""
        return self.hex[:SHARD_DIGITS]

    def __str__(self) -> str:
        return self.hex


def algorithm(name: str) -> Algorithm:
    """Look up an algorithm by name.

    Raises `UnknownAlgorithm` when there is none, or when its package is not installed.
    """
    try:
        return _builtin(name) if name in _HASHLIB else _third_party(name)
    except KeyError:
        raise UnknownAlgorithm(f"unknown hash algorithm {name!r}; choose one of {', '.join(NAMES)}") from None
    except ImportError:
        raise UnknownAlgorithm(f"the hash algorithm {name} needs: pip install 'filestored[{name}]'") from None


def _builtin(name: str) -> Algorithm:
    new = _HASHLIB[name]
    return Algorithm(name, len(new().digest()), new)


def _third_party(name: str) -> Algorithm:
    module, size = _EXTRAS[name]
    return Algorithm(name, size, getattr(import_module(module), name))


def _md5() -> Hasher:
    return hashlib.md5(usedforsecurity=False)


def _sha1() -> Hasher:
    return hashlib.sha1(usedforsecurity=False)


_HEXADECIMAL = re.compile("[0-9a-f]+", re.ASCII)
_HASHLIB = {
    "md5": _md5,
    "sha1": _sha1,
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "blake2b": hashlib.blake2b,
}
_EXTRAS = {"blake3": ("blake3", 32)}

NAMES = (*_HASHLIB, *_EXTRAS)
"""The names that `algorithm` knows, in the order in which help texts list them."""
