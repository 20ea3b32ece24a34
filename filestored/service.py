"""The composition root: the only module that names concrete classes.

Flow: `Options` -> `makeService`, behind both doors (``twistd filestored`` and ``twistd -y filestored.tac``)
-> a `Daemon`, twistd's service. Nothing but looking happens before the fork; then the sockets are opened
with the privileges of the start, those are shed, and the rest is done: log, store, server or workers.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from filestored import imageservice
from filestored.daemon.descriptors import make_room
from filestored.daemon.lifecycle import Body, Daemon
from filestored.daemon.listeners import Listeners, parse_endpoint
from filestored.daemon.notify import Notifier
from filestored.daemon.options import Options
from filestored.daemon.refusals import refuse
from filestored.daemon.server import Server
from filestored.daemon.settings import Settings
from filestored.daemon.supervisor import Supervisor
from filestored.errors import FilestoredError
from filestored.http.limits import Limits
from filestored.http.server import HTTPFactory
from filestored.imageservice import ImageService
from filestored.logs.access import AccessLog, FileWriter, LogWriter
from filestored.logs.observer import LogObserver
from filestored.storage.disk import DiskBackend
from filestored.storage.layout import inspect, prepare
from filestored.storage.recent import RecentFiles
from filestored.storage.store import Store
from filestored.web.site import make_site

IO_THREADS = 16
"""Threads of a process that wait for the disk. More of them would only queue there."""


def makeService(options: Options) -> Daemon:
    """The service that twistd runs; a setting that cannot work ends the program with one line."""
    from twisted.internet import reactor

    settings = options.settings
    try:
        inspect(settings.store, settings.hash_name)
        imageservice.inspect(settings.images)
        endpoints = [(text, parse_endpoint(reactor, text)) for text in settings.listen]
    except (FilestoredError, ValueError) as error:
        refuse(error)
    observer = LogObserver()
    return Daemon(
        reactor,
        settings,
        listeners=Listeners(endpoints),
        observer=observer,
        make_body=_body(reactor, settings, observer),
        notifier=Notifier.from_environment(reactor, os.environ),
    )


def make_server(reactor: Any, settings: Settings) -> Server:
    """What one process serves. Blocking: it makes the store ready. Raises `FilestoredError` or `OSError`."""
    make_room(settings.max_connections, settings.max_uploads)
    algorithm = prepare(settings.store, settings.hash_name)
    pool = ThreadPool(minthreads=1, maxthreads=IO_THREADS, name="filestored-io")
    run = partial(deferToThreadPool, reactor, pool)
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
        open_registration=settings.open_registration,
        thumbnails=images.thumbnails,
    )
    access_log = _access_log(reactor, settings.access_log)
    factory = HTTPFactory(site, reactor, Limits(connections=settings.max_connections), access_log)
    return Server(reactor, factory, pool, access_log, settings.drain, images.stop)


def _body(reactor: Any, settings: Settings, observer: LogObserver) -> Callable[[], Body]:
    """Who does the work: this process alone, or workers under its supervision."""
    if settings.workers == 1:
        return partial(make_server, reactor, settings)
    return partial(_supervisor, reactor, settings, observer)


def _supervisor(reactor: Any, settings: Settings, observer: LogObserver) -> Supervisor:
    """A supervisor; what would make every worker fail fails here first."""
    prepare(settings.store, settings.hash_name)
    imageservice.prepare(settings.images)
    if access_log := _access_log(reactor, settings.access_log):
        access_log.close()
    return Supervisor(reactor, settings, observer.write)


def _access_log(reactor: Any, path: str) -> AccessLog | None:
    if not path:
        return None
    return AccessLog(reactor, LogWriter() if path == "-" else FileWriter(path))
