"""What one process serves, put together: store, images, site, factory.

In: the reactor and the `Settings`. Out: a `Server`, which runs in twistd's own process or in a worker.
With `assembly`, which is about the processes around it, and `imageservice` this is the composition root.
"""

from typing import Any

from twisted.python.threadpool import ThreadPool

from filestored.daemon.descriptors import make_room
from filestored.daemon.server import Server
from filestored.daemon.settings import Settings
from filestored.http.limits import Limits
from filestored.http.server import HTTPFactory
from filestored.imageservice import ImageService
from filestored.logs.access import open_access_log
from filestored.storage.disk import DiskBackend
from filestored.storage.jobs import in_threads
from filestored.storage.layout import prepare
from filestored.storage.recent import RecentFiles
from filestored.storage.store import Store
from filestored.web.accounts import Registration
from filestored.web.site import make_site

IO_THREADS = 16
"""Threads of a process that wait for the disk. More of them would only queue there."""


def make_server(reactor: Any, settings: Settings) -> Server:
    """What one process serves. Blocking: it makes the store ready. Raises `FilestoredError` or `OSError`."""
    make_room(settings.max_connections, settings.max_uploads)
    algorithm = prepare(settings.store, settings.hash_name)
    pool = ThreadPool(minthreads=1, maxthreads=IO_THREADS, name="filestored-io")
    run = in_threads(reactor, pool)
    store = Store(
        DiskBackend(settings.store, algorithm, recent=RecentFiles()),
        algorithm,
        run,
        max_size=settings.max_size,
        max_uploads=settings.max_uploads,
    )
    images = ImageService(
        reactor, settings.images, run, max_size=settings.max_size, max_uploads=settings.max_uploads
    )
    site = make_site(
        store,
        images.images,
        registration=_registration(settings),
        thumbnails=images.thumbnails,
        hosts=settings.hosts,
    )
    access_log = open_access_log(reactor, settings.access_log)
    factory = HTTPFactory(site, reactor, Limits(connections=settings.max_connections), access_log)
    return Server(reactor, factory, pool, access_log, settings.drain, images.stop)


def _registration(settings: Settings) -> Registration:
    if settings.no_registration:
        return Registration.OFF
    return Registration.OPEN if settings.open_registration else Registration.LOCAL
