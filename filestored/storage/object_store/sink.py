"""Sink of an object store: the content of one upload, from the spool to one PUT.

The name decides what is written: an object is created only if there is none, by a conditional PUT. Content
beyond `MAX_PUT_BYTES` is a multipart upload, which has no condition; it is begun after a HEAD.

An existing object of the same size has the same content, because its name is its hash. Where the algorithm
is broken (`COLLIDING`), its bytes are compared: a collision changes nothing and is an error. An object of
another size, or whose bytes have another hash, is damaged: it is copied to quarantine, and replaced. That is
confirmed, because verification may be deleting the damaged object (`object_expiry`).

Rejected: comparing the bytes for each algorithm. The service checks its own bytes, and the second upload of a
large file would read it all.
"""

import secrets
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from twisted.logger import Logger
from zope.interface import implementer

from filestored.digest import Algorithm, Digest
from filestored.errors import Collision, EngineError, OutcomeUnknown
from filestored.interfaces import IRenewableSink, IRepairingSink, ISink, Usage
from filestored.metrics.timing import OnDuration, timed
from filestored.storage.limits.object_expiry import ExpiryMarkers
from filestored.storage.object_store.client import (
    MAX_PUT_BYTES,
    Buffer,
    ObjectChanged,
    ObjectInfo,
    ObjectStoreClient,
)
from filestored.storage.object_store.spool import SpooledContent

_P = ParamSpec("_P")
_T = TypeVar("_T")

COLLIDING = frozenset({"md5", "sha1"})
"""Algorithms for which different contents with one digest are known."""

QUARANTINE = "quarantine"
"""Directory of damaged files, and of blobs that no image refers to."""

_READ_CHUNK_BYTES = 1024 * 1024
_MAX_ATTEMPTS = 100


def key_of(digest: Digest) -> str:
    """Return the key of a file."""
    return f"{digest.shard}/{digest.hex}"


@implementer(ISink, IRenewableSink, IRepairingSink)
class ObjectSink:
    """The sink of one upload; `write` and `discard` are those of the spooled content.

    `record` receives the duration of each request that makes the content durable.
    """

    encoding = None
    displaced = Usage(0, 0)
    _log = Logger()

    def __init__(
        self,
        client: ObjectStoreClient,
        content: SpooledContent,
        algorithm: Algorithm,
        markers: ExpiryMarkers,
        record: OnDuration | None = None,
    ) -> None:
        self._client = client
        self._record = record
        self._markers = markers
        self._stored: ObjectInfo | None = None
        self._content = content
        self._algorithm = algorithm
        self.write = content.write
        self.discard = content.discard

    def seal(self, flush: bool = True) -> None:
        """Do nothing: the answer to the PUT says that the content is durable."""

    def publish(self, digest: Digest) -> bool:
        """Write the object of `digest`, unless it is stored. Raises `Collision` or `EngineError`."""
        key, data = key_of(digest), self._content.buffer()
        if self._content.in_memory and self._create(key, data):
            return True
        for _ in range(_MAX_ATTEMPTS):
            existing = self._client.find(key)
            if existing is None:
                if self._create(key, data):
                    return True
            elif self._is_stored(existing, data, digest):
                self._stored = existing
                return False
            elif self._replace(existing, data) and self._markers.confirm(key):
                return True
        raise EngineError(f"{key} is created and removed all the time")

    def renew(self, digest: Digest, created: bool) -> bool:
        """Write a stored object again, if it was not replaced meanwhile; confirm that no sweep deletes it."""
        return (created or self._rewrite()) and self._markers.confirm(key_of(digest))

    def _rewrite(self) -> bool:
        assert self._stored is not None, "publish has found it"
        key, data = self._stored.key, self._content.buffer()
        if self._content.size > MAX_PUT_BYTES:
            self._timed(self._client.put)(key, data)
            return True
        try:
            return self._timed(self._client.replace)(key, data, self._stored.version)
        except OutcomeUnknown:
            return False

    def _create(self, key: str, data: Buffer) -> bool:
        """Create the object; return False if it exists, perhaps by a request of this call without answer."""
        if self._content.size > MAX_PUT_BYTES:
            self._timed(self._client.put)(key, data)
            return True
        try:
            return self._timed(self._client.create)(key, data)
        except OutcomeUnknown:
            return False

    def _timed(self, write: Callable[_P, _T]) -> Callable[_P, _T]:
        """Return a request that writes, of which `record` receives the duration."""
        return write if self._record is None else timed(self._record, write)

    def _is_stored(self, existing: ObjectInfo, data: Buffer, digest: Digest) -> bool:
        """Return whether the object has the content; False if it is damaged. Raises `Collision`."""
        same_size = existing.size == self._content.size
        if same_size and (self._algorithm.name not in COLLIDING or self._has_content(existing, data)):
            return True
        if self._rehash(existing) != digest:
            return False
        self._log.critical("two contents with the digest {digest}", digest=digest.hex)
        raise Collision

    def _has_content(self, existing: ObjectInfo, data: Buffer) -> bool:
        offset = 0
        for chunk in self._chunks(existing):
            if data[offset : offset + len(chunk)] != chunk:
                return False
            offset += len(chunk)
        return offset == len(data)

    def _rehash(self, existing: ObjectInfo) -> Digest:
        hasher = self._algorithm.new()
        for chunk in self._chunks(existing):
            hasher.update(chunk)
        return self._algorithm.finish(hasher)

    def _chunks(self, existing: ObjectInfo) -> Iterator[bytes]:
        """Yield the bytes of an existing object. Raises `EngineError` when it changes or disappears."""
        try:
            yield from self._client.get(existing.key, etag=existing.etag).chunks(_READ_CHUNK_BYTES)
        except (FileNotFoundError, ObjectChanged):
            raise EngineError(f"{existing.key} was changed while it was compared") from None

    def _replace(self, existing: ObjectInfo, data: Buffer) -> bool:
        """Copy a damaged object to quarantine and replace it; return False if it has changed meanwhile."""
        name = f"{QUARANTINE}/{existing.key.rpartition('/')[2]}.{secrets.token_hex(4)}"
        try:
            self._client.copy(existing.key, name)
        except FileNotFoundError:
            return False
        self._log.error("{key} copied to {name}: it is damaged", key=existing.key, name=name)
        if self._content.size > MAX_PUT_BYTES:
            self._timed(self._client.put)(existing.key, data)
        elif not self._timed(self._client.replace)(existing.key, data, existing.version):
            return False
        self.displaced = Usage(1, existing.size)
        return True
