"""Comparison of content with a name, chunk by chunk. Pure."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from filestored.digest import Algorithm, Digest, algorithm


class ContentCheck(Protocol):
    """A comparison under way."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Add the next bytes."""

    def matches(self, digest: Digest) -> bool:
        """Return whether all bytes have the hash in this name."""


class HashCheck:
    """The comparison with a name that is the hash of the stored bytes, by `own`."""

    def __init__(self, own: Algorithm) -> None:
        self._own = own
        self._hasher = own.new()
        self.update = self._hasher.update

    def matches(self, digest: Digest) -> bool:
        """See `ContentCheck`."""
        return self._own.finish(self._hasher) == digest


class Naming(NamedTuple):
    """The names of a kind of store: `lookup` finds its algorithms, `new_check` starts a comparison."""

    lookup: Callable[[str], Algorithm] = algorithm
    new_check: Callable[[Algorithm], ContentCheck] = HashCheck
