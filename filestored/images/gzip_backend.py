"""Gzip backend: compresses uploads to another backend where that saves space.

Write: the first piece of an upload is compressed on trial. If that saves at least a tenth, the whole upload
is compressed; else it is stored as it came. `GzipSink.encoding` reports which.

Read: the backend returns files as stored. `GunzippedFile` decompresses one in order, piece after piece, with
one decompressor. The work of one read is bounded, in input and in output.

Rejected: reads from any offset, which decompress everything before it.

Blocking; runs in I/O threads. ISA-L is used where it is installed: it compresses as well as zlib at its best,
many times as fast. Level 1 of zlib is six times as fast as level 6, for a fiftieth more bytes.
"""

import errno
import zlib
from collections.abc import Iterable
from typing import Protocol

from zope.interface import alsoProvides, implementer

from filestored.digest import Digest
from filestored.interfaces import (
    IBackend,
    IDurablePublish,
    INonBlockingOpen,
    IOpenToRead,
    ISink,
    IStoredFile,
    StoredFileInfo,
    WantedRange,
)
from filestored.storage.health import ReadFailed

MAX_RATIO = 0.9
"""Maximum size of a compressed first piece, as a share of the original."""

_GZIP_WBITS = 16 + zlib.MAX_WBITS

MAX_OUTPUT_BYTES = 256 * 1024
"""Maximum output of one read in bytes."""

INPUT_BYTES = 64 * 1024
"""Bytes read from the compressed file at a time."""

MAX_INPUT_BYTES = 1024 * 1024
"""Maximum input of one read that yields no output, in bytes; compressors need far fewer."""


class Compressor(Protocol):
    """A compression in progress, as returned by `zlib.compressobj`."""

    def compress(self, data: bytes | bytearray | memoryview, /) -> bytes:
        """Compress the next bytes; return the output so far."""

    def flush(self) -> bytes:
        """Return the rest of the output."""


@implementer(IBackend)
class GzipBackend:
    """A backend that stores in `inner`, compressed where that saves space."""

    def __init__(self, inner: IBackend) -> None:
        self._inner = inner
        for each in (INonBlockingOpen, IDurablePublish, IOpenToRead):
            if each.providedBy(inner):
                alsoProvides(self, each)

    def begin(self) -> ISink:
        """Return a `GzipSink`."""
        return GzipSink(self._inner.begin())

    def flush_names(self, digests: Iterable[Digest]) -> None:
        """Flush the names in `inner`."""
        self._inner.flush_names(digests)

    def open(self, digest: Digest) -> IStoredFile:
        """Open a file as stored, compressed or not."""
        return self._inner.open(digest)

    def open_to_read(self, digest: Digest, wanted: WantedRange) -> IStoredFile:
        """See `IOpenToRead`, which this backend provides if `inner` does."""
        return IOpenToRead(self._inner).open_to_read(digest, wanted)

    def delete(self, digest: Digest) -> bool:
        """Delete the file from `inner`."""
        return self._inner.delete(digest)

    def digests(self, after: Digest | None, limit: int) -> list[Digest]:
        """Return digests of `inner`."""
        return self._inner.digests(after, limit)

    def describe(self, digest: Digest) -> StoredFileInfo:
        """Return size and time of a file of `inner`, as stored."""
        return self._inner.describe(digest)

    def entries(self, after: Digest | None, limit: int) -> list[StoredFileInfo]:
        """Return files of `inner`."""
        return self._inner.entries(after, limit)

    def free_space(self) -> int:
        """Return the free space of `inner`; savings are unknown in advance."""
        return self._inner.free_space()


@implementer(ISink)
class GzipSink:
    """A sink to `inner` that compresses if the first piece is compressible."""

    def __init__(self, inner: ISink) -> None:
        self._inner = inner
        self._compressor: Compressor | None = None
        self._started = False

    @property
    def encoding(self) -> str | None:
        """Return ``gzip``, or the encoding of `inner`."""
        return "gzip" if self._compressor else self._inner.encoding

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write to `inner`, compressed or not. Raises `OSError`."""
        if not self._started and len(data):
            self._started = True
            self._compressor = new_compressor() if _is_compressible(data) else None
        self._inner.write(self._compressor.compress(data) if self._compressor else data)

    def seal(self, flush: bool = True) -> None:
        """Write the rest of the compressed output, then seal."""
        if self._compressor:
            self._inner.write(self._compressor.flush())
        self._inner.seal(flush)

    def publish(self, digest: Digest) -> bool:
        """Publish in `inner`."""
        return self._inner.publish(digest)

    def discard(self) -> None:
        """Discard the inner sink."""
        self._inner.discard()


@implementer(IStoredFile)
class GunzippedFile:
    """The `size` original bytes of the gzip file `inner`, read in order.

    The last byte is returned only if the checksum at the end is right.
    """

    def __init__(self, inner: IStoredFile, size: int) -> None:
        self.size = size
        self._inner = inner
        self._decompressor = zlib.decompressobj(_GZIP_WBITS)
        self._position = 0
        self._input_position = 0

    def read(self, offset: int, count: int) -> bytes:
        """Return the next bytes, at most `count`. Raises `OSError` for corrupt input.

        `offset` is the end of the last read. Raises `ValueError` for any other.
        """
        if offset != self._position:
            raise ValueError(f"compressed bytes are read in order: {self._position} comes next, not {offset}")
        count = min(count, MAX_OUTPUT_BYTES, self.size - self._position)
        data = self._decompress_some(count) if count else b""
        self._position += len(data)
        if data and self._position == self.size and self._decompress_some(1):
            raise _damaged("it is longer than it was")
        return data

    def close(self) -> None:
        """Close `inner` as well."""
        self._inner.close()

    def _decompress_some(self, count: int) -> bytes:
        """Return at least one decompressed byte, or nothing at the end. Raises `OSError`."""
        data = b""
        limit = self._input_position + MAX_INPUT_BYTES
        while not data and not self._decompressor.eof:
            compressed = self._decompressor.unconsumed_tail or self._read_input()
            data = self._decompress(compressed, count)
            if not (compressed or data):  # without more input, zlib may still have had output
                raise _damaged("it is shorter than it was")
            if not data and self._input_position > limit:
                raise _damaged("a long part of it decompresses to nothing")
        if not data and self._position < self.size:
            raise _damaged("it is shorter than it was")
        return data

    def _read_input(self) -> bytes:
        compressed = self._inner.read(self._input_position, INPUT_BYTES)
        self._input_position += len(compressed)
        return compressed

    def _decompress(self, compressed: bytes, count: int) -> bytes:
        try:
            return self._decompressor.decompress(compressed, count)
        except zlib.error as error:
            raise _damaged(str(error)) from None


def _damaged(reason: str) -> OSError:
    return ReadFailed(errno.EBADMSG, f"a compressed file is damaged: {reason}")


def _is_compressible(piece: bytes | bytearray | memoryview) -> bool:
    trial = new_compressor()
    return len(trial.compress(piece)) + len(trial.flush()) <= MAX_RATIO * len(piece)


def new_compressor() -> Compressor:
    """Return the best installed compressor, for the gzip format."""
    return _new_compressor()


def _zlib() -> Compressor:
    return zlib.compressobj(1, zlib.DEFLATED, _GZIP_WBITS)


try:
    from isal import isal_zlib
except ImportError:
    _new_compressor = _zlib
else:

    def _isal() -> Compressor:
        return isal_zlib.compressobj(2, isal_zlib.DEFLATED, _GZIP_WBITS)

    _new_compressor = _isal
