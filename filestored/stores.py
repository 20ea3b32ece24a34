"""Composition of the stores of files: the default bucket, and the buckets that are opened on demand.

Both are on the same backend, a disk or an object store, and share threads, upload slots and health.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from filestored.digest import Algorithm, algorithm
from filestored.interfaces import IBackend
from filestored.settings import Settings
from filestored.storage.admission import UploadSlots
from filestored.storage.buckets import Buckets, EmptyStore, OpenedStore
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.file_cache import FileCache
from filestored.storage.disk.layout import BUCKETS, DEFAULT_HASH, prepare, prepare_bucket, repair
from filestored.storage.health import DeviceHealth, Health
from filestored.storage.object_store.url import is_url, parse_url
from filestored.storage.recovery import Recovery
from filestored.storage.store import Store
from filestored.storage.threads import MAX_REMOTE_THREADS, MAX_THREADS, IOThreads, JobCount, ThreadPools

if TYPE_CHECKING:
    from collections.abc import Callable

    from filestored.storage.object_store.client import ObjectStoreClient

MAX_CACHED_FILES_OF_BUCKET = 128
"""Maximum number of small files that the cache of a bucket holds, besides the default one."""


class FileStores:
    """The stores of files of one process.

    `must_exist` refuses a directory that has no ``FORMAT``. Blocking; raises `FilestoredError` or `OSError`.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        pools: ThreadPools,
        devices: DeviceHealth,
        recovery: Recovery,
        must_exist: bool,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._threads = make_pools(pools, "files", settings.store)
        self._slots = UploadSlots(settings.max_uploads)
        self._health = devices.of(settings.store, remote=is_url(settings.store))
        if is_url(settings.store):
            self._open_client(recovery)
        else:
            report = recovery.add(self._health, partial(repair, settings.store))
            self._algorithm = prepare(
                settings.store, settings.hash_name, report=report, must_exist=must_exist
            )
        self.default = self._make_default()

    def buckets(self, closing: "Callable[[], None]") -> Buckets:
        """Return the buckets besides the default one; see `Buckets` for `closing`."""
        open_bucket = self._open_object_bucket if is_url(self._settings.store) else self._open_disk_bucket
        empty = EmptyStore(self._algorithm, self._settings.max_size)
        return Buckets(self._reactor, open_bucket, self._threads.read, empty, closing)

    def _open_client(self, recovery: Recovery) -> None:
        from filestored.storage.object_store.spool import Spool

        self._client = connect(self._settings, self._settings.store, self._health, recovery)
        self._spool = Spool(self._settings.spool, self._settings.reserve)
        self._algorithm = algorithm(self._settings.hash_name or DEFAULT_HASH)

    def _make_default(self) -> Store:
        if is_url(self._settings.store):
            from filestored.storage.object_store.backend import ObjectBackend

            backend: IBackend = ObjectBackend(self._client, self._algorithm, self._spool)
        else:
            backend = DiskBackend(
                self._settings.store,
                self._algorithm,
                reserve=self._settings.reserve,
                file_cache=FileCache(),
            )
        return self._make_store(backend, self._algorithm, self._threads)

    def _make_store(self, backend: IBackend, own: Algorithm, threads: IOThreads) -> Store:
        return Store(
            backend,
            own,
            threads,
            max_size=self._settings.max_size,
            slots=self._slots,
            health=self._health,
            call_soon=partial(self._reactor.callLater, 0),
        )

    def _open_disk_bucket(self, name: str, *, create: bool) -> OpenedStore:
        path, own = prepare_bucket(self._settings.store, name, self._algorithm, create=create)
        cache = FileCache(MAX_CACHED_FILES_OF_BUCKET)
        backend = DiskBackend(path, own, reserve=self._settings.reserve, file_cache=cache)
        jobs = JobCount()
        return OpenedStore(self._make_store(backend, own, self._threads.counted(jobs)), jobs, backend.close)

    def _open_object_bucket(self, name: str, *, create: bool) -> OpenedStore:
        from filestored.storage.object_store import layout
        from filestored.storage.object_store.backend import ObjectBackend

        client = self._client.below(f"{BUCKETS}/{name}", confirms=False)
        own = layout.prepare_bucket(client, self._algorithm, create=create)
        backend = ObjectBackend(client, own, self._spool)
        jobs = JobCount()
        return OpenedStore(self._make_store(backend, own, self._threads.counted(jobs)), jobs, _do_nothing)


def connect(settings: Settings, url: str, health: Health, recovery: Recovery) -> "ObjectStoreClient":
    """Return the client of an object store, which `recovery` tries again after an outage."""
    from filestored.storage.object_store.client import ObjectStoreClient

    client = ObjectStoreClient(parse_url(url), settings.engine_timeout)
    recovery.monitor(health, client.confirm_format)
    return client


def make_pools(pools: ThreadPools, api: str, place: str) -> IOThreads:
    """Return the threads for a directory or an object store; `api` prefixes their names."""
    return pools.make(api, MAX_REMOTE_THREADS if is_url(place) else MAX_THREADS)


def _do_nothing() -> None:
    """Close a bucket of an object store, which holds nothing."""
