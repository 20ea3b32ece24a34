"""A store in an object store, opened by a command, also beside running daemons. Blocking.

Unfinished multipart uploads are not among the leftovers: ``obstore`` cannot list them. A rule of the service
ends them.
"""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial

from filestored.digest import Algorithm, algorithm
from filestored.errors import UnusableStore
from filestored.storage.disk import format_file
from filestored.storage.disk.layout import check_algorithm
from filestored.storage.limits.limited_backend import LimitedBackend
from filestored.storage.limits.object_expiry import MARKERS
from filestored.storage.limits.object_usage import UncountedObjectUsage
from filestored.storage.maintenance.opened_bucket import Leftover, OpenedBucket
from filestored.storage.object_store.backend import REASON, ObjectBackend
from filestored.storage.object_store.client import ObjectStoreClient
from filestored.storage.object_store.layout import (
    PROBES,
    bucket_client,
    bucket_names,
    error_context,
    read_format,
)
from filestored.storage.object_store.sink import QUARANTINE
from filestored.storage.object_store.spool import Spool

MIN_AGE_SECONDS = 24 * 60 * 60.0
"""Age from which the probe of a start, or the marker of a sweep, is that of a process that has ended."""


class ObjectStore:
    """The store of `client`; see `OpenedStore`. Raises `UnusableStore` or `EngineError`."""

    def __init__(self, client: ObjectStoreClient) -> None:
        self._client = client
        with error_context(client):
            self.format = format_file.required(read_format(client))

    def bucket_names(self) -> list[str]:
        """See `OpenedStore.bucket_names`."""
        return bucket_names(self._client)

    @contextmanager
    def opened(self, bucket: str | None, *, counts: bool = False) -> Iterator[OpenedBucket]:
        """See `OpenedStore.opened`; other processes never wait, so nothing is counted."""
        client = self._client if bucket is None else bucket_client(self._client, bucket)
        with error_context(self._client):
            found = self.format if bucket is None else read_format(client)
            if found is None:
                raise UnusableStore(f"there is no bucket {bucket}")
            own = check_algorithm(found, None, algorithm)
        with closing(_limited(client, own)) as limited:
            leftovers = ObjectLeftovers(client, [PROBES, MARKERS], MIN_AGE_SECONDS)
            quarantine = ObjectLeftovers(client, [f"{QUARANTINE}/"])
            yield OpenedBucket(str(client.url), own, limited, leftovers, quarantine)

    def space(self) -> None:
        """Return None."""


class ObjectLeftovers:
    """The objects of `client` in directories, from an age in seconds on; see `Leftovers`."""

    def __init__(self, client: ObjectStoreClient, prefixes: list[str], min_age: float = 0.0) -> None:
        self._client = client
        self._prefixes = prefixes
        self._min_age = min_age

    def __iter__(self) -> Iterator[Leftover]:
        """Yield objects by the time of their last change."""
        latest = datetime.now(UTC).timestamp() - self._min_age
        for prefix in self._prefixes:
            content = ""
            for info in self._client.objects(prefix.partition("/")[0]):
                is_reason, content = info.key == content + REASON, info.key
                changed = info.changed.timestamp()
                if info.key.startswith(prefix) and changed <= latest and not is_reason:
                    yield Leftover(info.key, info.size, changed)

    def remove(self, leftover: Leftover) -> bool:
        """Delete an object, then its reason."""
        self._client.delete(leftover.path)
        self._client.delete(leftover.path + REASON)
        return True


def _limited(client: ObjectStoreClient, own: Algorithm) -> LimitedBackend:
    """Return the backend with exact usage after removals. Nothing is uploaded, so the spool stays empty."""
    backend = ObjectBackend(client, own, Spool(tempfile.gettempdir()))
    limited = LimitedBackend(backend, partial(UncountedObjectUsage, client))
    limited.record_removals()
    return limited
