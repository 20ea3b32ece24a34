"""Object store backend: files as objects ``ab/abcdef…``, laid out as on a disk. Blocking.

Requests of each operation:

- upload: a conditional PUT; beyond 1 MiB a HEAD first; beyond 64 MiB a multipart upload instead
- open: a GET of what is wanted first; a whole object of up to `MAX_MEMORY_BYTES` is kept; else a HEAD
- delete: a HEAD, then a DELETE
- digests, entries: a LIST for each 1,000 objects
- renewal: a conditional PUT if it was stored, a LIST, a HEAD

A missing object takes one more GET, of ``FORMAT`` (`client`).
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager

from zope.interface import implementer

from filestored.digest import Algorithm, Digest
from filestored.errors import MalformedDigest, NotFound
from filestored.interfaces import (
    IBackend,
    IDurablePublish,
    IExpiringBackend,
    IOpenToRead,
    IQuarantine,
    ISink,
    IStoredFile,
    StoredFileInfo,
    WantedRange,
)
from filestored.metrics.timing import OnDuration
from filestored.storage.disk.shards import SHARD_NAMES
from filestored.storage.limits.object_expiry import ExpiryMarkers
from filestored.storage.object_store.client import NoSuchRange, ObjectInfo, ObjectStoreClient
from filestored.storage.object_store.sink import QUARANTINE, ObjectSink, key_of
from filestored.storage.object_store.spool import MAX_MEMORY_BYTES, Spool
from filestored.storage.object_store.stored_file import ObjectFile, SmallObject

_ASIDE = ".orphan"

REASON = ".reason"
"""Suffix of the object with the reason, behind the name in quarantine."""


@implementer(IBackend, IDurablePublish, IExpiringBackend, IOpenToRead, IQuarantine)
class ObjectBackend:
    """The files of one store in `client`, named by `algorithm`; uploads wait in `spool`.

    `record` receives the duration of each request that makes an upload durable.
    """

    def __init__(
        self,
        client: ObjectStoreClient,
        algorithm: Algorithm,
        spool: Spool,
        record: OnDuration | None = None,
    ) -> None:
        self._client = client
        self._record = record
        self._algorithm = algorithm
        self._spool = spool
        self._markers = ExpiryMarkers(client)

    def begin(self) -> ISink:
        """Return a sink that spools."""
        return ObjectSink(self._client, self._spool.open(), self._algorithm, self._markers, self._record)

    def flush_names(self, digests: Iterable[Digest]) -> None:
        """Do nothing: see `IDurablePublish`."""

    def open(self, digest: Digest) -> IStoredFile:
        """Open an object; no byte is requested yet."""
        try:
            return ObjectFile(self._client, self._client.head(key_of(digest)))
        except FileNotFoundError:
            raise NotFound from None

    def open_to_read(self, digest: Digest, wanted: WantedRange) -> IStoredFile:
        """See `IOpenToRead`. A range that the object does not have is left to `open`."""
        try:
            body = self._client.get(key_of(digest), *wanted)
        except FileNotFoundError:
            raise NotFound from None
        except NoSuchRange:
            return self.open(digest)
        if body.span == (0, body.info.size) and body.info.size <= MAX_MEMORY_BYTES:
            return SmallObject(body.read_all())
        file = ObjectFile(self._client, body.info, body)
        file.read_first()
        return file

    def delete(self, digest: Digest) -> bool:
        """Delete an object, durably. After an error it may still be deleted, also later."""
        try:
            self._client.head(key_of(digest))
        except FileNotFoundError:
            return False
        self._client.delete(key_of(digest))
        return True

    def digests(self, after: Digest | None, limit: int) -> list[Digest]:
        """List objects, as `entries`."""
        return [each.digest for each in self.entries(after, limit)]

    def describe(self, digest: Digest) -> StoredFileInfo:
        """Return size and time of an object: a HEAD."""
        try:
            return _stored_file(digest, self._client.head(key_of(digest)))
        except FileNotFoundError:
            raise NotFound from None

    def entries(self, after: Digest | None, limit: int) -> list[StoredFileInfo]:
        """List objects; other directories beside the shards are left out."""
        found: list[StoredFileInfo] = []
        offset: str | None = "" if after is None else key_of(after)
        while offset is not None and len(found) < limit:
            offset = self._list_some(offset, limit, found)
        return found

    def free_space(self) -> int:
        """Return the free space of the spool, and what needs none; that of the object store is not known."""
        return max(self._spool.free_space(), MAX_MEMORY_BYTES)

    def claimed_sweep(self, interval: float) -> AbstractContextManager[float | None]:
        """See `IExpiringBackend`; by the clock of the service."""
        return self._markers.claimed_sweep(interval)

    def delete_expired(self, digest: Digest, before: float) -> bool:
        """See `IExpiringBackend`. After an error it may still be deleted, also later."""
        return self._markers.delete_expired(key_of(digest), before)

    # --- quarantine -----------------------------------------------------------------------------

    def changed_at(self, digest: Digest) -> float:
        """See `IQuarantine`; by the clock of the service."""
        try:
            return self._client.head(key_of(digest)).changed.timestamp()
        except FileNotFoundError:
            raise NotFound from None

    def move_to_quarantine(self, digest: Digest, reason: str) -> bool:
        """Copy the object, then delete it, so that it exists at any time."""
        name = f"{QUARANTINE}/{digest.hex}{_ASIDE}"
        try:
            self._client.copy(key_of(digest), name)
        except FileNotFoundError:
            return False
        self._client.put(name + REASON, reason.encode() + b"\n")
        self._client.delete(key_of(digest))
        return True

    def restore(self, digest: Digest) -> bool:
        """Copy the object back. The copy in quarantine stays: another process may be moving it just now."""
        try:
            self._client.head(key_of(digest))
            return False
        except FileNotFoundError:
            pass
        try:
            self._client.copy(f"{QUARANTINE}/{digest.hex}{_ASIDE}", key_of(digest))
        except FileNotFoundError:
            return False
        return True

    def _list_some(self, offset: str, limit: int, found: list[StoredFileInfo]) -> str | None:
        """Add objects after the key `offset`; return the key to continue after, or None at the end."""
        for info in self._client.objects(after=offset):
            digest = self._digest(info.key)
            if digest is not None:
                found.append(_stored_file(digest, info))
                if len(found) == limit:
                    return None
            elif "/" in info.key and info.key.partition("/")[0] not in SHARD_NAMES:
                return _end_of_directory(info.key)
        return None

    def _digest(self, key: str) -> Digest | None:
        """Return the digest of a key; None unless it is a file."""
        try:
            digest = self._algorithm.parse(key[key.find("/") + 1 :])
        except MalformedDigest:
            return None
        return digest if key_of(digest) == key else None


def _stored_file(digest: Digest, info: ObjectInfo) -> StoredFileInfo:
    return StoredFileInfo(digest, info.size, info.changed.timestamp())


def _end_of_directory(key: str) -> str:
    """Return a key after all those in the directory of `key`: the character 0 follows the slash in ASCII."""
    return f"{key.partition('/')[0]}0"
