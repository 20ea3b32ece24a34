"""The blocking half of an upload: bytes come in, are hashed and written, and get a name.

An `HashingWriter` lives in I/O threads, one job at a time; `upload.Upload` sees to that. The sink is
begun with the first bytes, so an upload without any that are worth a job never opens a file.
Bytes are hashed with the store's algorithm and with those of all the digests they are
expected to have. Before they are written they are counted against the room that is left (`headroom`).
"""

from collections.abc import Iterable

from filestored.digest import Algorithm, Digest, Hasher, algorithm
from filestored.errors import DigestMismatch
from filestored.interfaces import IBackend, ISink
from filestored.storage.free_space import FreeSpace


class HashingWriter:
    """One byte string on its way to `backend`, where its `own` algorithm names it, within `headroom`."""

    def __init__(
        self, backend: IBackend, own: Algorithm, expected: Iterable[Digest], headroom: FreeSpace
    ) -> None:
        self._backend = backend
        self._own = own
        self._expected = tuple(expected)
        self._headroom = headroom
        self._hasher = own.new()
        self._others: list[tuple[Algorithm, Hasher]] = []
        for name in {digest.algorithm for digest in self._expected} - {own.name}:
            other = algorithm(name)
            self._others.append((other, other.new()))
        self._sink: ISink | None = None

    @property
    def started(self) -> bool:
        """Whether there is something to `discard`."""
        return self._sink is not None

    def write(self, pieces: Iterable[bytes | bytearray]) -> None:
        """Hash and write the next bytes. Blocking.

        Raises `StorageFull` or `OSError`; the room of all bytes is free again then.
        """
        if self._sink is None:
            self._sink = self._backend.begin()
        try:
            for piece in pieces:
                self._headroom.spend(len(piece))
                self._hash(piece)
                self._sink.write(piece)
        except BaseException:
            self.discard()
            raise

    def digest(self, data: bytes | bytearray = b"") -> Digest:
        """The digest of everything, `data` being the end of it.

        Raises `DigestMismatch` when an expected digest is not what came out.
        """
        self._hash(data)
        digest = self._own.finish(self._hasher)
        if self._expected:
            found = {digest, *(other.finish(hasher) for other, hasher in self._others)}
            if not found.issuperset(self._expected):
                raise DigestMismatch
        return digest

    def complete(self, pieces: Iterable[bytes | bytearray]) -> tuple[Digest, bool, str | None]:
        """Take the last bytes, seal, publish: all but the flush of the name. Blocking.

        Returns the digest, whether it is new, and its encoding. Raises `UploadRefused` or `OSError`.
        """
        self.write(pieces)
        digest = self.digest()
        assert self._sink is not None, "absorb has begun it"
        self._sink.seal()
        created, encoding = self._sink.publish(digest), self._sink.encoding
        self.discard()
        return digest, created, encoding

    def discard(self) -> None:
        """Let go of what is held; nothing remains that has not been published. Blocking."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.discard()

    def _hash(self, data: bytes | bytearray) -> None:
        self._hasher.update(data)
        for _, hasher in self._others:
            hasher.update(data)
