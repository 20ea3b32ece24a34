"""The gzip form: a backend made of a backend, which compresses what goes through where that pays.

Way in: the first piece of an upload is compressed. When that saves at least a tenth, gzip it is from
there to the end; else all is kept as it came. `GzipSink.encoding` reports which of the two it was.

Way out: a backend gives what is kept. `GunzippedFile` reads it as it was, in order, piece after piece, with
the state of one decompressor. The work of one read is bounded, in input and in output.

Rejected: reading from an offset, which means to decompress everything before it.

All of this runs in I/O threads. ISA-L compresses as well as zlib at its best, many times as fast, and
is used where it is installed. Of zlib the first level is six times as fast as the sixth, for a fiftieth
more bytes.
"""

import errno
import zlib
from collections.abc import Iterable
from typing import Protocol

from zope.interface import alsoProvides, implementer

from filestored.digest import Digest
from filestored.interfaces import IBackend, INonBlockingOpen, ISink, IStoredFile
from filestored.storage.health import ReadFailed

WORTH = 0.9
"""How large a compressed piece may be, as a share of the original, for compression to pay."""

_GZIP = 16 + zlib.MAX_WBITS

MAX_OUTPUT_BYTES = 256 * 1024
"""Bytes that one read decompresses."""

INPUT_BYTES = 64 * 1024
"""Bytes that are taken from the compressed file at a time."""

MAX_INPUT_BYTES = 1024 * 1024
"""Compressed bytes that may decompress to nothing in one read; compressors write output for far fewer."""


class Compressor(Protocol):
    """A running compression, as the objects of `zlib.compressobj` are."""

    def compress(self, data: bytes | bytearray | memoryview, /) -> bytes:
        """Compress the next bytes."""

    def flush(self) -> bytes:
        """The end of what is compressed."""


@implementer(IBackend)
class GzipBackend:
    """A backend that keeps what it is given in `inner`, compressed where that pays."""

    def __init__(self, inner: IBackend) -> None:
        self._inner = inner
        if INonBlockingOpen.providedBy(inner):
            alsoProvides(self, INonBlockingOpen)

    def begin(self) -> ISink:
        """A sink that compresses."""
        return GzipSink(self._inner.begin())

    def flush_names(self, digests: Iterable[Digest]) -> None:
        """As `inner` does."""
        self._inner.flush_names(digests)

    def open(self, digest: Digest) -> IStoredFile:
        """What is kept, as it is kept."""
        return self._inner.open(digest)

    def delete(self, digest: Digest) -> bool:
        """As `inner` does."""
        return self._inner.delete(digest)

    def digests(self, after: Digest | None, limit: int) -> list[Digest]:
        """As `inner` does."""
        return self._inner.digests(after, limit)

    def free_space(self) -> int:
        """As `inner` does: who knows what will pay."""
        return self._inner.free_space()


@implementer(ISink)
class GzipSink:
    """A sink that compresses what goes into `inner`, if the first piece says that it pays."""

    def __init__(self, inner: ISink) -> None:
        self._inner = inner
        self._compressor: Compressor | None = None
        self._begun = False

    @property
    def encoding(self) -> str | None:
        """The coding ``gzip``, or that of `inner`."""
        return "gzip" if self._compressor else self._inner.encoding

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Compress, or pass on."""
        if not self._begun and len(data):
            self._begun = True
            self._compressor = new_compressor() if _pays(data) else None
        self._inner.write(self._compressor.compress(data) if self._compressor else data)

    def seal(self, flush: bool = True) -> None:
        """Write the end of the compression, then seal."""
        if self._compressor:
            self._inner.write(self._compressor.flush())
        self._inner.seal(flush)

    def publish(self, digest: Digest) -> bool:
        """As `inner` does."""
        return self._inner.publish(digest)

    def discard(self) -> None:
        """As `inner` does."""
        self._inner.discard()


@implementer(IStoredFile)
class GunzippedFile:
    """The `size` original bytes of what is kept compressed in `inner`, read in order from first to last.

    The last byte is given only when the checksum at the end is right.
    """

    def __init__(self, inner: IStoredFile, size: int) -> None:
        self.size = size
        self._inner = inner
        self._unzip = zlib.decompressobj(_GZIP)
        self._position = 0
        self._taken = 0

    def read(self, offset: int, count: int) -> bytes:
        """The next bytes, at most `count`. Raises `OSError` for what does not decompress.

        `offset` is where the last read ended. Raises `ValueError` for any other.
        """
        if offset != self._position:
            raise ValueError(f"compressed bytes are read in order: {self._position} comes next, not {offset}")
        count = min(count, MAX_OUTPUT_BYTES, self.size - self._position)
        data = self._produce(count) if count else b""
        self._position += len(data)
        if data and self._position == self.size and self._produce(1):
            raise _damaged("it is longer than it was")
        return data

    def close(self) -> None:
        """Close `inner`."""
        self._inner.close()

    def _produce(self, count: int) -> bytes:
        """Decompress at least one byte, unless the end comes first."""
        data = b""
        limit = self._taken + MAX_INPUT_BYTES
        while not data and not self._unzip.eof:
            packed = self._unzip.unconsumed_tail or self._take()
            data = self._decompress(packed, count)
            if not (packed or data):  # without more input, zlib may still have had output
                raise _damaged("it is shorter than it was")
            if not data and self._taken > limit:
                raise _damaged("a long part of it decompresses to nothing")
        if not data and self._position < self.size:
            raise _damaged("it is shorter than it was")
        return data

    def _take(self) -> bytes:
        packed = self._inner.read(self._taken, INPUT_BYTES)
        self._taken += len(packed)
        return packed

    def _decompress(self, packed: bytes, count: int) -> bytes:
        try:
            return self._unzip.decompress(packed, count)
        except zlib.error as error:
            raise _damaged(str(error)) from None


def _damaged(reason: str) -> OSError:
    return ReadFailed(errno.EBADMSG, f"a compressed file is damaged: {reason}")


def _pays(piece: bytes | bytearray | memoryview) -> bool:
    trial = new_compressor()
    return len(trial.compress(piece)) + len(trial.flush()) <= WORTH * len(piece)


def new_compressor() -> Compressor:
    """The best compressor there is, for the gzip format."""
    return _new()


def _zlib() -> Compressor:
    return zlib.compressobj(1, zlib.DEFLATED, _GZIP)


try:
    from isal import isal_zlib
except ImportError:
    _new = _zlib
else:

    def _isal() -> Compressor:
        return isal_zlib.compressobj(2, isal_zlib.DEFLATED, _GZIP)

    _new = _isal
