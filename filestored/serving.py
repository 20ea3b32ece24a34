"""What one process serves, put together: store, images, site, factory.

In: the reactor and the `Settings`. Out: a `Server`, which runs in twistd's own process or in a worker.
With `assembly`, which is about the processes around it, and `imageservice` this is the composition root.
"""

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from filestored import imageservice
from filestored.daemon.descriptors import make_room
from filestored.daemon.server import Server
from filestored.daemon.settings import Settings
from filestored.http.limits import Limits
from filestored.http.server import HTTPFactory
from filestored.logs.access import open_access_log
from filestored.storage.devices import DeviceHealth
from filestored.storage.disk import DiskBackend
from filestored.storage.jobs import ThreadPools
from filestored.storage.layout import furnish, prepare
from filestored.storage.premises import require_format
from filestored.storage.recent import RecentFiles
from filestored.storage.recovery import Recovery
from filestored.storage.store import Store
from filestored.web.accounts import Registration
from filestored.web.site import make_site


def make_server(reactor: Any, settings: Settings, devices: DeviceHealth | None = None) -> Server:
    """What one process serves. Blocking: it makes the store ready. Raises `FilestoredError` or `OSError`.

    `devices` shares the health of disks with other processes. Where there are such, the directories exist:
    one that is missing was removed or is not mounted, and an empty one must not take its place.
    """
    if devices is not None:
        require_format(settings.store, "store")
        imageservice.require(settings.images)
    devices = devices or DeviceHealth()
    make_room(settings.max_connections, settings.max_uploads)
    pools = ThreadPools(reactor)
    recovery = Recovery(reactor, pools.make_run("recovery", 1))
    health = devices.of(settings.store)
    report = recovery.add(health, partial(furnish, settings.store))
    algorithm = prepare(settings.store, settings.hash_name, report=report)
    store = Store(
        DiskBackend(settings.store, algorithm, recent=RecentFiles()),
        algorithm,
        pools.make("files"),
        max_size=settings.max_size,
        max_uploads=settings.max_uploads,
        health=health,
    )
    images = imageservice.ImageService(
        reactor,
        settings.images,
        pools.make("images"),
        devices,
        recovery,
        max_size=settings.max_size,
        max_uploads=settings.max_uploads,
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
    recovery.start()

    def stop_helpers() -> "Deferred[None]":
        recovery.stop()
        return images.stop()

    return Server(reactor, factory, pools, access_log, settings.drain, stop_helpers)


def _registration(settings: Settings) -> Registration:
    if settings.no_registration:
        return Registration.OFF
    return Registration.OPEN if settings.open_registration else Registration.LOCAL
