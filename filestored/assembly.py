"""Composition root: `make_daemon` for the process that twistd runs, `make_server` for a process that serves.

No other module names the concrete classes. Only checks happen before the fork; then the sockets are opened
with the privileges of the start, these are dropped, and `make_runner` prepares the directories.

Functions import what only they need: a supervisor goes without HTTP, a worker without twistd's services and
loguru. That saves several MiB per process.
"""

import dataclasses
import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from filestored.daemon.process_setup import raise_open_file_limit, tune_gc, use_monotonic_clock
from filestored.daemon.startup import engine_check
from filestored.daemon.startup_errors import exit_with
from filestored.errors import FilestoredError
from filestored.images import directory as image_directory
from filestored.images.service import ImageService
from filestored.interfaces import BucketLimits
from filestored.logs.access_log import AccessLog
from filestored.logs.json_access_log import JsonAccessLog
from filestored.logs.observer import LogObserver, ignore
from filestored.logs.writers import FileWriter, LogWriter
from filestored.settings import MAX_OPEN_BUCKETS, Settings
from filestored.storage.buckets import Buckets
from filestored.storage.disk.layout import check, prepare
from filestored.storage.health import DeviceHealth
from filestored.storage.object_store.url import is_url
from filestored.storage.recovery import ENGINE_INTERVAL_SECONDS, INTERVAL_SECONDS, Recovery
from filestored.storage.threads import ThreadPools
from filestored.stores import FileStores, open_images

if TYPE_CHECKING:
    from filestored.access.rules import AccessRules
    from filestored.access.rules_in_force import RulesInForce
    from filestored.daemon.lifecycle import Daemon, Runner
    from filestored.daemon.monitoring.monitor import Monitor
    from filestored.daemon.sd_notify import SystemdNotifier
    from filestored.daemon.server import Server
    from filestored.daemon.supervisor import Supervisor
    from filestored.daemon.verification.schedule import VerificationSchedule
    from filestored.http.factory import HTTPFactory
    from filestored.http.parser.forwarded import TrustedProxies
    from filestored.metrics.blocks import SharedBlocks
    from filestored.metrics.recorder import Recorder
    from filestored.web.guard import Guard
    from filestored.web.imageapi.tokens import RegistrationPolicy

WORKER_MODULE = "filestored.worker"
"""The module that a supervisor runs as a worker process."""

_log = Logger()


def make_daemon(settings: Settings, pid_file: str = "") -> "Daemon":
    """Return twistd's service. A setting that cannot work ends the process with one line on stderr."""
    from twisted.internet import reactor

    from filestored.daemon.lifecycle import Daemon
    from filestored.daemon.listeners import Listeners, parse_endpoint
    from filestored.daemon.sd_notify import SystemdNotifier

    use_monotonic_clock(reactor)
    try:
        settings = _check_stores(settings)
        listeners = Listeners([(text, parse_endpoint(reactor, text)) for text in settings.listen])
        verification = _make_verification(reactor, settings)
        monitor = _make_monitor(reactor, settings, verification)
    except (FilestoredError, OSError, ValueError) as error:
        exit_with(error)
    observer = LogObserver()
    notifier = SystemdNotifier.from_environment(reactor, os.environ)
    return Daemon(
        reactor,
        settings,
        hash_name=settings.hash_name or "",
        listeners=listeners,
        observer=observer,
        make_runner=_make_runner(
            reactor, settings, observer, notifier, None if monitor is None else monitor.blocks
        ),
        notifier=notifier,
        pid_file=pid_file,
        verification=verification,
        monitor=monitor,
    )


def _make_verification(reactor: Any, settings: Settings) -> "VerificationSchedule | None":
    """Return the schedule of verification of files and images; None if that is not wanted."""
    if settings.verify_every is None:
        return None
    from filestored.daemon.verification.schedule import VerificationSchedule
    from filestored.daemon.verification.task import Task

    more = settings.verify_every, settings.verify_rate, settings.engine_timeout
    places = ((settings.store, ""), (settings.images, "images/"))
    return VerificationSchedule(reactor, [(Task(place, *more), prefix) for place, prefix in places])


def _make_monitor(
    reactor: Any, settings: Settings, verification: "VerificationSchedule | None"
) -> "Monitor | None":
    """Return the listener of metrics; None without ``--metrics``. Raises `ValueError` or `OSError`."""
    if not settings.metrics:
        return None
    if find_spec("prometheus_client") is None:
        raise ValueError("--metrics needs prometheus-client: in the checkout run pip install '.[metrics]'")
    from filestored.daemon.monitoring.monitor import make_monitor

    return make_monitor(reactor, settings, None if verification is None else verification.status)


def _check_stores(settings: Settings) -> Settings:
    """Check both stores; return the settings with the algorithm of the store.

    Raises `FilestoredError` or `OSError`.
    """
    if not is_url(settings.images):
        image_directory.check(settings.images)
    found = engine_check.check(settings) or check(settings.store, settings.hash_name).name
    return dataclasses.replace(settings, hash_name=found)


def _make_runner(
    reactor: Any,
    settings: Settings,
    observer: LogObserver,
    notifier: "SystemdNotifier",
    blocks: "SharedBlocks | None",
) -> "Callable[[str | None], Runner]":
    """Return the function that makes the server of this process, or the supervisor of several workers.

    It gets the rules of access, as JSON.
    """
    if settings.workers > 1:
        return partial(_make_supervisor, reactor, settings, observer, notifier, blocks)
    return partial(_make_only_server, reactor, settings, observer, blocks)


def _make_only_server(
    reactor: Any,
    settings: Settings,
    observer: LogObserver,
    blocks: "SharedBlocks | None",
    access: str | None,
) -> "Runner":
    from filestored.metrics.recorder import Recorder

    _request_sweep(settings)
    metrics = None if blocks is None else Recorder(blocks.blocks[0])
    server = make_server(reactor, settings, access=access, metrics=metrics)
    tune_gc()
    return server


def _make_supervisor(
    reactor: Any,
    settings: Settings,
    observer: LogObserver,
    notifier: "SystemdNotifier",
    blocks: "SharedBlocks | None",
    access: str | None,
) -> "Supervisor":
    """Return a supervisor. Raises the error that would keep each worker from starting."""
    from filestored.daemon.supervisor import Supervisor

    if not is_url(settings.store):
        prepare(settings.store, settings.hash_name, report=_report)
    if not is_url(settings.images):
        image_directory.prepare(settings.images, report=_report)
    _request_sweep(settings)
    if access_log := _open_access_log(reactor, settings):
        access_log.close()
    return Supervisor(reactor, settings, observer.write, notifier.status, WORKER_MODULE, access, blocks)


def _request_sweep(settings: Settings) -> None:
    if not is_url(settings.images):
        image_directory.request_sweep(settings.images)


def _report(error: OSError) -> None:
    """Log that a disk cannot be written to; the workers serve what can be read."""
    _log.error("the workers start without a disk to write to: {reason}", reason=str(error))


def make_server(
    reactor: Any,
    settings: Settings,
    devices: DeviceHealth | None = None,
    access: str | None = None,
    metrics: "Recorder | None" = None,
) -> "Server":
    """Return what one process serves. Blocking: prepares both directories.

    `devices` shares the health of disks with other processes. The directories must exist then: a missing
    one was removed or is not mounted, and is not replaced by an empty one. `access` has the rules of
    access, as JSON. `metrics` counts. Raises `FilestoredError` or `OSError`.
    """
    from filestored.access.rules_in_force import RulesInForce
    from filestored.daemon.server import Server
    from filestored.web.guard import Guard

    must_exist = devices is not None
    devices = _observed(devices or DeviceHealth(), metrics)
    buckets_wanted = 0 if access is None else MAX_OPEN_BUCKETS
    max_buckets = raise_open_file_limit(settings.max_connections, settings.max_uploads, buckets_wanted)
    pools = ThreadPools(reactor)
    recovery = _make_recovery(reactor, settings, pools)
    stores = FileStores(reactor, settings, pools, devices, recovery, must_exist, metrics)
    images = open_images(reactor, settings, pools, devices, recovery, must_exist, metrics)
    guard = Guard(lists=settings.open_access)
    buckets = stores.buckets(lambda: factory.clear_caches(), max_buckets)
    site = _make_site(settings, stores, buckets, guard, images)
    access_log = _open_access_log(reactor, settings, metrics)
    factory = _make_factory(reactor, settings, site, access_log, metrics)
    recovery.start()
    rules = RulesInForce(reactor, partial(_use_rules, guard, buckets, factory))
    if access is not None:
        rules.use(access)
    stop_background = partial(_stop_background, recovery, rules, buckets, images)
    return Server(reactor, factory, pools, access_log, settings.drain, stop_background, rules.use)


def _stop_background(
    recovery: Recovery, rules: "RulesInForce", buckets: Buckets, images: ImageService
) -> "Deferred[Any]":
    recovery.stop()
    rules.stop()
    return gatherResults([buckets.stop(), images.stop()])


def _observed(devices: DeviceHealth, metrics: "Recorder | None") -> DeviceHealth:
    """Return `devices`, whose suspensions `metrics` counts."""
    if metrics is not None:
        devices.observe(metrics.suspended)
    return devices


def _make_recovery(reactor: Any, settings: Settings, pools: ThreadPools) -> Recovery:
    remote = is_url(settings.store) or is_url(settings.images)
    interval = ENGINE_INTERVAL_SECONDS if remote else INTERVAL_SECONDS
    return Recovery(reactor, pools.make_run("recovery", 1), interval)


def _make_site(
    settings: Settings,
    stores: FileStores,
    buckets: Buckets,
    guard: "Guard",
    images: ImageService,
) -> Any:
    from filestored.web.site import make_site

    return make_site(
        stores.default,
        images.images,
        buckets=buckets,
        guard=guard,
        registration=_registration(settings),
        thumbnails=images.thumbnails,
        hosts=settings.hosts,
        trusted_proxies=_trusted_proxies(settings),
    )


def _use_rules(guard: "Guard", buckets: Buckets, factory: "HTTPFactory", rules: "AccessRules") -> None:
    """Use rules of access for all requests and responses that follow."""
    guard.rules = rules
    buckets.use_limits(
        {name: BucketLimits(each.quota, each.max_files, each.expire) for name, each in rules.buckets.items()}
    )
    factory.clear_caches()


def _trusted_proxies(settings: Settings) -> "TrustedProxies | None":
    """Return the trusted proxies, None for none."""
    from filestored.http.parser.forwarded import TrustedProxies

    return TrustedProxies(settings.trusted_proxies) if settings.trusted_proxies else None


def _make_factory(
    reactor: Any,
    settings: Settings,
    site: Any,
    access_log: AccessLog | JsonAccessLog | None,
    metrics: "Recorder | None",
) -> "HTTPFactory":
    from filestored.http.factory import HTTPFactory
    from filestored.http.limits import Limits

    limits = Limits(connections=settings.max_connections, keep_alive_timeout=settings.keep_alive)
    proxies = _trusted_proxies(settings)
    return HTTPFactory(site, reactor, limits, access_log, trusted_proxies=proxies, metrics=metrics)


def _open_access_log(
    reactor: Any, settings: Settings, metrics: "Recorder | None" = None
) -> AccessLog | JsonAccessLog | None:
    """Return the access log that the settings ask for; `metrics` counts dropped lines. Raises `OSError`."""
    if not settings.access_log:
        return None
    if settings.access_log != "-":
        on_dropped = ignore if metrics is None else metrics.from_threads.lines_dropped
        return AccessLog(reactor, FileWriter(settings.access_log, settings.log, on_dropped))
    return JsonAccessLog() if settings.log.json else AccessLog(reactor, LogWriter())


def _registration(settings: Settings) -> "RegistrationPolicy":
    from filestored.web.imageapi.tokens import RegistrationPolicy

    if settings.no_registration:
        return RegistrationPolicy.OFF
    return RegistrationPolicy.OPEN if settings.open_registration else RegistrationPolicy.LOCAL
