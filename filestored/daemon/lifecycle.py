"""Service that twistd starts and stops.

In the order in which twistd calls it: ``setServiceParent`` makes `LogObserver` the application's log;
``privilegedStartService``, after the fork, opens the sockets; ``startService``, after privileges are dropped,
opens the log and starts the runner: one server, or a supervisor of several workers. ``stopService`` drains.
twistd itself manages the pidfile and the umask.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized

from filestored import __version__
from filestored.access.watcher import AccessWatcher
from filestored.daemon.listeners import Listeners, ListeningSocket
from filestored.daemon.monitoring.state import MonitoredRunner
from filestored.daemon.process_setup import collect_orphans, on_reopen, on_stop
from filestored.daemon.sd_notify import SystemdNotifier
from filestored.daemon.startup import pid_file
from filestored.daemon.startup_errors import CannotStart
from filestored.errors import FilestoredError
from filestored.http.transport.tls import Certificate
from filestored.logs.journal import as_error
from filestored.logs.loguru_sink import LoguruSink
from filestored.logs.observer import LogObserver, ignore
from filestored.logs.writer_thread import MAX_FLUSH_SECONDS, ThreadedSink, is_fifo
from filestored.settings import Settings, format_size
from filestored.storage.admission import reserved_bytes

if TYPE_CHECKING:
    from filestored.daemon.monitoring.monitor import Monitor
    from filestored.daemon.verification.schedule import VerificationSchedule

DAEMON_LOG = "filestored.log"
"""Default log file of a daemonised process, in its working directory: it has no stderr."""


class Runner(MonitoredRunner, Protocol):
    """The server or supervisor that a daemon runs."""

    def start(self, listening: Sequence[ListeningSocket]) -> "Deferred[None]":
        """Serve on these sockets; fires when it serves."""

    def stop(self) -> "Deferred[None]":
        """Finish running requests within the drain timeout; fires when everything has ended."""

    def abort(self) -> None:
        """End a `stop` that is under way at once."""

    def reopen(self) -> None:
        """Reopen all log files."""

    def use_access(self, text: str) -> None:
        """Use these rules of access, which are JSON of `AccessRules`."""

    def renew_certificates(self, certificates: Sequence[Certificate | None]) -> None:
        """Use these certificates, in the order of the listening sockets, for new connections."""


class Daemon(Service):
    """The twisted.application service of filestored; `hash_name` is that of the store.

    `verification` verifies files in the background; None if that is not wanted.
    """

    name = "filestored"
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        *,
        hash_name: str,
        listeners: Listeners,
        observer: LogObserver,
        make_runner: Callable[[str | None], Runner],
        notifier: SystemdNotifier,
        pid_file: str = "",
        verification: "VerificationSchedule | None" = None,
        monitor: "Monitor | None" = None,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._hash_name = hash_name
        self._listeners = listeners
        self._observer = observer
        self._make_runner = make_runner
        self._notifier = notifier
        self._pid_file = pid_file
        self._verification = verification
        self._monitor = monitor
        self._runner: Runner | None = None
        self._access = AccessWatcher(reactor, settings.access, self._use_access) if settings.access else None
        self._initial_pid = os.getpid()
        self._log_is_open = False
        self._store = settings.store
        self._images = settings.images

    def setServiceParent(self, parent: Any) -> None:
        """Join an application and provide its log observer, before twistd starts logging."""
        if isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Lock the pid file and open the listening sockets. Raises `CannotStart`."""
        super().privilegedStartService()
        if self._pid_file:
            pid_file.hold(self._pid_file)
        with self._failure_reported():
            self._listeners.open()
            self._check_reachable()
            if self._monitor is not None:
                self._monitor.open()

    def startService(self) -> None:
        """Start serving. Raises `CannotStart`."""
        began = time.monotonic()
        super().startService()
        with self._failure_reported():
            if self._log_file():
                self._open_log()
            self._log.info("filestored {version} starts", version=__version__)
            self._runner = self._make_runner(None if self._access is None else self._access.read())
            # Not in the reactor, where a hung disk would keep a daemon that serves from being ready.
            self._store = self._with_reserve(self._settings.store)
            self._images = self._with_reserve(self._settings.images)
            if self._monitor is not None:
                self._monitor.start(self._runner)
            started = self._runner.start(self._listeners.listening())
        if not self._log_file():
            self._open_log()
        if self._access is not None:
            self._access.start()
        on_reopen(self._reactor, self._reopen)
        collect_orphans(self._reactor)
        self._reactor.addSystemEventTrigger("after", "shutdown", self._observer.finish, MAX_FLUSH_SECONDS)
        # Once the reactor runs: before that, no handler of SIGTERM stops the service in order.
        self._reactor.callWhenRunning(on_stop, self._reactor, self._force_stop)
        self._reactor.callWhenRunning(started.addCallback, self._started, self._runner, began)

    def stopService(self) -> "Deferred[None]":
        """Drain and stop; fires when everything is closed."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        began = time.monotonic()
        self._notifier.stopping()
        if self._monitor is not None:
            self._monitor.stopping()
        if self._access is not None:
            self._access.stop()
        closed = self._listeners.close()
        verified = self._verification.stop() if self._verification is not None else None
        if self._runner is not None:
            await self._runner.stop()
        await closed
        if verified is not None:
            await verified
        self._notifier.close()
        if self._monitor is not None:
            await self._monitor.stop()
        self._log.info("all requests have ended, after {duration:.3f} s", **_duration_since(began))

    def _started(self, _: None, body: Runner, began: float) -> None:
        if not self.running:  # a signal came during the start
            return
        self._notifier.ready(f"listening on {', '.join(self._listeners.addresses())}", body.alive)
        self._log.info(
            "listening on {urls}, store {store}, images {images}, hash {hash}, workers {workers}, "
            "after {duration:.3f} s",
            urls=", ".join(self._listeners.urls()),
            store=self._store,
            images=self._images,
            hash=self._hash_name,
            workers=self._settings.workers,
            **_duration_since(began),
        )
        if self._monitor is not None:
            self._log.info("metrics on {urls}", urls=", ".join(self._monitor.urls()))
        if self._verification is not None:
            self._verification.start()

    def _check_reachable(self) -> None:
        """Raise `CannotStart` if other machines reach the files, and nothing says what they may do."""
        found = self._listeners.reachable()
        if found and not (self._settings.access or self._settings.open_access):
            raise CannotStart(
                f"--listen {found[0]}: other machines may reach this; name an access file with --access, "
                "or let all clients read, write and delete with --open"
            )

    def _use_access(self, text: str) -> None:
        if self._runner is not None:
            self._runner.use_access(text)

    def _force_stop(self) -> None:
        self._log.warn("a second signal: ending at once")
        if self._verification is not None:
            self._verification.abort()
        if self._runner is not None:
            self._runner.abort()

    def _reopen(self) -> None:
        self._observer.reopen()
        if self._runner is not None:
            self._runner.reopen()
        self._log.info("log files reopened")
        if not self.running:  # no new connections
            return
        if self._access is not None:
            self._access.check()
        if self._monitor is not None:
            self._monitor.renew_certificates()
        if self._listeners.renew_certificates() and self._runner is not None:
            self._runner.renew_certificates([each.certificate for each in self._listeners.listening()])
            self._log.info("new connections get the new certificate")

    @contextmanager
    def _failure_reported(self) -> Iterator[None]:
        """Write expected errors to stderr, and to a log that is a file; raise them as `CannotStart`."""
        try:
            yield
        except (CannotStart, FilestoredError, OSError, ValueError) as error:
            reason = error if isinstance(error, CannotStart) else CannotStart(error)
            os.write(2, f"{as_error(str(reason))}\n".encode("utf-8", "backslashreplace"))
            with suppress(OSError):
                if self._log_file():
                    self._open_log()
                    self._log.error("cannot start: {reason}", reason=str(reason))
                    self._observer.finish(MAX_FLUSH_SECONDS)
            raise reason from None

    def _with_reserve(self, directory: str) -> str:
        """Return the path of a directory, and the free space that uploads leave there if it can be read."""
        try:
            reserve = reserved_bytes(os.statvfs(directory), self._settings.reserve)
        except OSError:
            return directory
        return f"{directory} (leaving {format_size(reserve)} free)"

    def _log_file(self) -> str | None:
        """Return the path of the log; None is stderr, which a daemonised process does not have."""
        daemonised = os.getpid() != self._initial_pid
        return self._settings.log.file or (os.path.abspath(DAEMON_LOG) if daemonised else None)

    def _open_log(self) -> None:
        if self._log_is_open:
            return
        path = self._log_file()
        make = partial(LoguruSink, self._settings.log, path)
        self._log_is_open = True
        on_dropped = ignore if self._monitor is None else self._monitor.count_dropped_lines
        later = path is not None and is_fifo(path)
        self._observer.attach(ThreadedSink(make, later=later, on_dropped=on_dropped))


def _duration_since(began: float) -> dict[str, Any]:
    """Return the fields of a log event that took so long, in seconds, by the monotonic clock."""
    duration = round(time.monotonic() - began, 3)
    return {"duration": duration, "json_fields": {"duration": duration}}
