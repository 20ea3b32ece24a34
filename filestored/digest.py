"""Hash algorithms and the `Digest` value: parse, print, shard. Pure.

`algorithm` looks an `Algorithm` up by name; `Algorithm.parse` makes a `Digest` of a client's text. The text
of a `Digest` is a safe file name: lower-case hexadecimal of the one right length.

Upper-case digits are no file name: they would give one content several. Requests with them are changed to
lower-case ones before.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import NamedTuple, Protocol

from filestored.errors import MalformedDigest, UnknownAlgorithm

SHARD_DIGITS = 2
"""Leading hexadecimal digits of a digest that name its shard directory."""


class Hasher(Protocol):
    """A running hash computation, as in `hashlib`."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Hash more bytes."""

    def digest(self) -> bytes:
        """Return the hash of all bytes so far."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A hash algorithm: `name` in options, `size` of a digest in bytes; `new` starts a computation."""

    name: str
    size: int
    new: Callable[[], Hasher] = field(repr=False, compare=False)

    def parse(self, text: str) -> "Digest":
        """Parse lower-case hexadecimal of the right length. Raises `MalformedDigest`."""
        if len(text) == 2 * self.size and _HEXADECIMAL.fullmatch(text):
            return Digest(self.name, text)
        raise MalformedDigest(f"a {self.name} digest has {2 * self.size} hexadecimal digits")

    def finish(self, hasher: Hasher) -> "Digest":
        """Return the digest of `hasher`, which `new` has started."""
        return Digest(self.name, hasher.digest().hex())

    def digest(self, data: bytes | bytearray) -> "Digest":
        """Return the digest of `data`."""
        hasher = self.new()
        hasher.update(data)
        return Digest(self.name, hasher.digest().hex())


class Digest(NamedTuple):
    """The hash of a byte string: algorithm name and lower-case hexadecimal text.

    Only `Algorithm` creates it, so `hex` is always a safe file name.
    """

    algorithm: str
    hex: str

    @property
    def shard(self) -> str:
        """The name of the shard directory."""
        return self.hex[:SHARD_DIGITS]

    def __str__(self) -> str:
        return self.hex


def algorithm(name: str) -> Algorithm:
    """Look an algorithm up by name. Raises `UnknownAlgorithm` if it or its package is missing."""
    try:
        return _builtin(name) if name in _HASHLIB else _third_party(name)
    except KeyError:
        raise UnknownAlgorithm(
            f"unknown hash algorithm {name!r}; choose one of {', '.join(ALGORITHMS)}"
        ) from None
    except ImportError:
        raise UnknownAlgorithm(
            f"{name} is not installed: in the checkout run pip install '.[{name}]'"
        ) from None


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

ALGORITHMS = (*_HASHLIB, *_EXTRAS)
"""Names of all algorithms, in the order of help texts."""
