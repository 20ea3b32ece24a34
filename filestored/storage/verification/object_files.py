"""Files of a bucket in an object store: read as streams, and copied to quarantine before they are deleted.

A DELETE has no condition, so a marker and a look at the version protect objects that an upload has replaced
(`object_expiry`). The version is entity tag and time: content that was healed may have the entity tag that
it had before it was damaged. A copy that was made of a replaced object is deleted again.
"""

import errno
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress

from filestored.digest import Algorithm, Digest
from filestored.errors import EngineError, EngineUnavailable, NotFound
from filestored.interfaces import Usage
from filestored.storage.health import ReadFailed
from filestored.storage.limits.object_expiry import ExpiryMarkers
from filestored.storage.limits.object_usage import UncountedObjectUsage
from filestored.storage.object_store.backend import REASON, ObjectBackend
from filestored.storage.object_store.client import ObjectInfo, ObjectStoreClient
from filestored.storage.object_store.sink import QUARANTINE, key_of
from filestored.storage.verification.content import ContentCheck
from filestored.storage.verification.interfaces import Examined, Listed

_PAGE_FILES = 1000


class ObjectFiles:
    """The files in `backend`, which are objects of `client`; see `Place.opened` for the other arguments."""

    def __init__(
        self,
        client: ObjectStoreClient,
        backend: ObjectBackend,
        algorithm: Algorithm,
        new_check: Callable[[Algorithm], ContentCheck],
        before: float | None,
        chunk_bytes: int,
        count: Callable[[int], None],
    ) -> None:
        self._client = client
        self._backend = backend
        self._algorithm = algorithm
        self._new_check = new_check
        self._before = before
        self._chunk_bytes = chunk_bytes
        self._count = count
        self._markers = ExpiryMarkers(client)
        self.parse = algorithm.parse

    def listed(self, after: str) -> Iterator[Listed]:
        """See `VerifiedFiles`; a page of names in memory at a time."""
        last = self._algorithm.parse(after) if after else None
        while page := self._backend.entries(last, _PAGE_FILES):
            self._count(0)
            for entry in page:
                if self._before is None or entry.modified < self._before:
                    yield Listed(entry.digest.hex, entry.digest)
            if len(page) < _PAGE_FILES:
                return
            last = page[-1].digest

    def count(self) -> int | None:
        """See `VerifiedFiles`; unknown, because each 1,000 names are a request."""
        return None

    def exists(self, digest: Digest) -> bool:
        """See `VerifiedFiles`."""
        try:
            self._backend.describe(digest)
        except NotFound:
            return False
        return True

    def examine(self, digest: Digest, *, again: bool) -> Examined | None:
        """See `VerifiedFiles`; each call is a GET."""
        check = self._new_check(self._algorithm)
        try:
            body = self._client.get(key_of(digest))
            for chunk in body.chunks(self._chunk_bytes):
                check.update(chunk)
                self._count(len(chunk))
        except FileNotFoundError:
            return None
        except EngineUnavailable:
            raise
        except EngineError as error:
            raise ReadFailed(errno.EIO, error.reason) from error
        return Examined(body.info.size, check.matches(digest), body.info)

    def quarantine(self, digest: Digest, examined: Examined, reason: str) -> bool:
        """See `VerifiedFiles`."""
        version = examined.version
        assert isinstance(version, ObjectInfo)
        name = f"{QUARANTINE}/{digest.hex}.{secrets.token_hex(4)}"
        names = (name, f"{name}{REASON}")
        try:
            self._client.copy(version.key, name)
        except FileNotFoundError:
            return False
        self._client.put(names[1], reason.encode() + b"\n")
        if not self._markers.delete_version(version):
            for each in names:
                with suppress(EngineError):
                    self._client.delete(each)
            return False
        self._subtract(version.size)
        return True

    def _subtract(self, size: int) -> None:
        """Subtract a file from the recorded usage of the bucket, if it has one. Raises `EngineError`."""
        ledger = UncountedObjectUsage(self._client, self._backend)
        ledger.open()
        ledger.add(Usage(-1, -size))
