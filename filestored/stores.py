"""Composition of the stores: the default bucket, the buckets that are opened on demand, and the images.

Both kinds of buckets are on the same backend, a disk or an object store, and share threads, upload slots and
health. The images are on a backend of their own.
"""

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from filestored.access.values import DEFAULT_BUCKET
from filestored.digest import Algorithm, algorithm
from filestored.images import directory as image_directory
from filestored.images.service import ImageParts, ImageService
from filestored.interfaces import IBackend
from filestored.metrics.recorder import Recorder
from filestored.settings import Settings
from filestored.storage.admission import UploadSlots
from filestored.storage.buckets import BucketHealth, Buckets, EmptyStore, OpenedStore
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.file_cache import FileCache
from filestored.storage.disk.layout import BUCKETS, DEFAULT_HASH, prepare, prepare_bucket, repair
from filestored.storage.disk.syscalls import Syscalls, with_timed_flushes
from filestored.storage.health import DeviceHealth, Health
from filestored.storage.limits.disk_usage import DiskUsage
from filestored.storage.limits.expiry import ExpirySweeper
from filestored.storage.limits.ledger import MakeLedger
from filestored.storage.limits.limited_backend import LimitedBackend
from filestored.storage.object_store.url import is_url, parse_url
from filestored.storage.recovery import Recovery
from filestored.storage.store import Store
from filestored.storage.threads import MAX_REMOTE_THREADS, MAX_THREADS, IOThreads, JobCount, ThreadPools

if TYPE_CHECKING:
    from collections.abc import Callable

    from filestored.storage.object_store.backend import ObjectBackend
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
        metrics: Recorder | None = None,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._metrics = metrics
        self._calls = flush_timed(metrics)
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
        self._default = self._make_default()

    @property
    def default(self) -> Store:
        """The store of the default bucket."""
        return self._default.store

    def buckets(self, closing: "Callable[[], None]", max_open: int) -> Buckets:
        """Return all buckets; see `Buckets` for `closing` and `max_open`."""
        open_bucket = self._open_object_bucket if is_url(self._settings.store) else self._open_disk_bucket
        return Buckets(
            self._reactor,
            open_bucket,
            self._threads.read,
            EmptyStore(self._algorithm, self._settings.max_size),
            sweeper=ExpirySweeper(self._reactor),
            default=(DEFAULT_BUCKET, self._default),
            closing=closing,
            max_open=max_open,
        )

    def _open_client(self, recovery: Recovery) -> None:
        from filestored.storage.object_store.spool import Spool

        self._client = connect(self._settings, self._settings.store, self._health, recovery)
        self._spool = Spool(self._settings.spool, self._settings.reserve)
        self._algorithm = algorithm(self._settings.hash_name or DEFAULT_HASH)

    def _make_default(self) -> OpenedStore:
        backend: IBackend
        if is_url(self._settings.store):
            backend, make_ledger = self._object_backend(self._client, self._algorithm)
        else:
            backend, make_ledger = self._disk_backend(self._settings.store, self._algorithm, FileCache())
        if self._settings.access:
            backend = LimitedBackend(backend, make_ledger)
        store = self._make_store(backend, self._algorithm, self._threads, self._health)
        return OpenedStore(store, backend, JobCount())

    def _disk_backend(
        self, path: str, own: Algorithm, file_cache: FileCache
    ) -> tuple[DiskBackend, MakeLedger]:
        backend = DiskBackend(path, own, self._calls, self._settings.reserve, file_cache=file_cache)
        return backend, partial(DiskUsage, path)

    def _object_backend(
        self, client: "ObjectStoreClient", own: Algorithm
    ) -> tuple["ObjectBackend", MakeLedger]:
        from filestored.storage.limits.object_usage import ObjectUsage
        from filestored.storage.object_store.backend import ObjectBackend

        record = None if self._metrics is None else self._metrics.from_threads.flushed
        return ObjectBackend(client, own, self._spool, record), partial(ObjectUsage, client)

    def _make_store(self, backend: IBackend, own: Algorithm, threads: IOThreads, health: Health) -> Store:
        return Store(
            backend,
            own,
            threads,
            max_size=self._settings.max_size,
            slots=self._slots,
            health=health,
            call_soon=partial(self._reactor.callLater, 0),
            metrics=self._metrics,
        )

    def _open_disk_bucket(self, name: str, *, create: bool) -> OpenedStore:
        path, own = prepare_bucket(self._settings.store, name, self._algorithm, create=create)
        backend, make_ledger = self._disk_backend(path, own, FileCache(MAX_CACHED_FILES_OF_BUCKET))
        return self._opened(LimitedBackend(backend, make_ledger), own, backend.close)

    def _open_object_bucket(self, name: str, *, create: bool) -> OpenedStore:
        from filestored.storage.object_store import layout

        client = self._client.below(f"{BUCKETS}/{name}", confirms=False)
        own = layout.prepare_bucket(client, self._algorithm, create=create)
        backend, make_ledger = self._object_backend(client, own)
        return self._opened(LimitedBackend(backend, make_ledger), own)

    def _opened(
        self, backend: LimitedBackend, own: Algorithm, close_files: "Callable[[], None] | None" = None
    ) -> OpenedStore:
        def close() -> None:
            backend.close()
            if close_files is not None:
                close_files()

        jobs, health = JobCount(), BucketHealth(self._health)
        store = self._make_store(backend, own, self._threads.counted(jobs), cast("Health", health))
        return OpenedStore(store, backend, jobs, close, health)


def open_images(
    reactor: Any,
    settings: Settings,
    pools: ThreadPools,
    devices: DeviceHealth,
    recovery: Recovery,
    must_exist: bool,
    metrics: Recorder | None,
) -> ImageService:
    """Return the images of one process, with the arguments of `FileStores`. Blocking, and raises as that."""
    path = settings.images
    health = devices.of(path, remote=is_url(path))
    return ImageService(
        reactor,
        _open_image_parts(settings, health, recovery, must_exist, metrics),
        make_pools(pools, "images", path),
        health,
        max_size=settings.max_size,
        max_uploads=settings.max_uploads,
        max_pixels=settings.max_pixels,
        reserve=settings.reserve,
        metrics=metrics,
    )


def _open_image_parts(
    settings: Settings, health: Health, recovery: Recovery, must_exist: bool, metrics: Recorder | None
) -> ImageParts:
    path = settings.images
    if not is_url(path):
        report = recovery.add(health, partial(image_directory.repair, path))
        return image_directory.open_parts(path, report, must_exist, settings.reserve, flush_timed(metrics))
    from filestored.images import bucket
    from filestored.storage.object_store.spool import Spool

    client = connect(settings, path, health, recovery)
    recovery.monitor(health, client.below(bucket.BLOBS).confirm_format)
    record = None if metrics is None else metrics.from_threads.flushed
    return bucket.open_parts(client, Spool(settings.spool, settings.reserve), record)


def flush_timed(metrics: Recorder | None) -> Syscalls | None:
    """Return system calls of which `metrics` counts the flushes; None for the usual ones."""
    return None if metrics is None else with_timed_flushes(metrics.from_threads.flushed)


def connect(settings: Settings, url: str, health: Health, recovery: Recovery) -> "ObjectStoreClient":
    """Return the client of an object store, which `recovery` tries again after an outage."""
    from filestored.storage.object_store.client import ObjectStoreClient

    client = ObjectStoreClient(parse_url(url), settings.engine_timeout)
    recovery.monitor(health, client.confirm_format)
    return client


def make_pools(pools: ThreadPools, api: str, place: str) -> IOThreads:
    """Return the threads for a directory or an object store; `api` prefixes their names."""
    return pools.make(api, MAX_REMOTE_THREADS if is_url(place) else MAX_THREADS)
