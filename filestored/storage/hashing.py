"""Hashing writer: hashes the content of an upload, compares digests, and writes to a sink. Blocking.

`HashingWriter` is used in I/O threads, one job at a time (`upload.Upload`). The sink is opened with the first
bytes, so a small upload, which needs no job, opens none. Content is hashed with the algorithm of the store
and with those of all expected digests. Bytes are counted against the free space before they are written.

`HashingWriter.digest` alone serves content in memory, which the group commit writes. It does not block.
"""

from collections.abc import Iterable

from filestored.digest import Algorithm, Digest, Hasher, algorithm
from filestored.errors import DigestMismatch
from filestored.interfaces import IBackend, ISink
from filestored.storage.admission import FreeSpace


class HashingWriter:
    """Writes one upload to `backend`; its digest is of `own`, the algorithm of the store."""

    def __init__(
        self, backend: IBackend, own: Algorithm, expected: Iterable[Digest], free_space: FreeSpace
    ) -> None:
        self._backend = backend
        self._own = own
        self._expected = tuple(expected)
        self._free_space = free_space
        self._hasher = own.new()
        self._others: list[tuple[Algorithm, Hasher]] = []
        if self._expected:
            for name in {digest.algorithm for digest in self._expected} - {own.name}:
                other = algorithm(name)
                self._others.append((other, other.new()))
        self._sink: ISink | None = None

    @property
    def started(self) -> bool:
        """True while there is a sink to `discard`."""
        return self._sink is not None

    def write(self, chunks: Iterable[bytes | bytearray]) -> None:
        """Hash and write bytes. Raises `StorageFull` or `OSError`; the sink is discarded then."""
        if self._sink is None:
            self._sink = self._backend.begin()
        try:
            for chunk in chunks:
                self._free_space.spend(len(chunk))
                self._hash(chunk)
                self._sink.write(chunk)
        except BaseException:
            self.discard()
            raise

    def digest(self, data: bytes | bytearray = b"") -> Digest:
        """Return the digest of all bytes, `data` being the last ones. Raises `DigestMismatch`."""
        self._hash(data)
        digest = self._own.finish(self._hasher)
        if self._expected:
            found = {digest, *(other.finish(hasher) for other, hasher in self._others)}
            if not found.issuperset(self._expected):
                raise DigestMismatch
        return digest

    def finish(self, chunks: Iterable[bytes | bytearray]) -> tuple[Digest, bool, str | None]:
        """Write the last bytes, seal, and publish; the caller flushes the name.

        Returns the digest, whether it is new, and its `ISink.encoding`. Raises `UploadRefused` or `OSError`.
        """
        self.write(chunks)
        digest = self.digest()
        assert self._sink is not None, "write has opened it"
        self._sink.seal()
        created, encoding = self._sink.publish(digest), self._sink.encoding
        self.discard()
        return digest, created, encoding

    def discard(self) -> None:
        """Discard the sink; only published content stays."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.discard()

    def _hash(self, data: bytes | bytearray) -> None:
        self._hasher.update(data)
        for _, hasher in self._others:
            hasher.update(data)
