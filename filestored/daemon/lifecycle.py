"""The service that twistd starts and stops.

Flow, in the order in which twistd calls it: ``setServiceParent`` makes our log the application's log;
``privilegedStartService``, after the fork, opens the sockets; ``startService``, after privileges are shed,
opens the log, makes the store ready and starts the body, which is one server or a supervisor of many;
``stopService`` drains. twistd itself keeps the pidfile, the umask and the first SIGTERM.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized

from filestored import __version__
from filestored.daemon.listeners import Listeners, ListeningSocket
from filestored.daemon.process_setup import on_reopen, on_second_stop
from filestored.daemon.sd_notify import SystemdNotifier
from filestored.daemon.startup_errors import CannotStart, one_line
from filestored.errors import FilestoredError
from filestored.logs.loguru_sink import LoguruSink
from filestored.logs.observer import LogObserver
from filestored.logs.writer_thread import MAX_FLUSH_SECONDS, ThreadedSink, is_fifo
from filestored.settings import Settings

DAEMON_LOG = "filestored.log"
"""Where a daemonised process logs, in its working directory, when nobody has said it: its stderr is gone."""


class Runner(Protocol):
    """Who does the work of a daemon."""

    def start(self, listening: Sequence[ListeningSocket]) -> "Deferred[None]":
        """Serve on these sockets; fires when it does."""

    def stop(self) -> "Deferred[None]":
        """Finish running requests within the time for draining; fires when all is over."""

    def abort(self) -> None:
        """Lose patience with a `stop` that is under way."""

    def alive(self) -> bool:
        """Return whether requests are answered, as far as can be known."""

    def reopen(self) -> None:
        """Open the files of logs anew."""


class Daemon(Service):
    """filestored as a service."""

    name = "filestored"
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        *,
        listeners: Listeners,
        observer: LogObserver,
        make_runner: Callable[[], Runner],
        notifier: SystemdNotifier,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._listeners = listeners
        self._observer = observer
        self._make_body = make_runner
        self._notifier = notifier
        self._body: Runner | None = None
        self._born_in = os.getpid()

    def setServiceParent(self, parent: Any) -> None:
        """Join an application, and become its log, before twistd starts one."""
        if isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Open the sockets; raises `CannotStart`."""
        super().privilegedStartService()
        try:
            self._listeners.open()
        except CannotStart:
            self._open_log()
            self._observer.finish(MAX_FLUSH_SECONDS)
            raise

    def startService(self) -> None:
        """Begin to serve; raises `CannotStart`."""
        super().startService()
        try:
            self._open_log()
            self._log.info(
                "filestored {version}, store {store}", version=__version__, store=self._settings.store
            )
            self._body = self._make_body()
            started = self._body.start(self._listeners.listening())
        except (FilestoredError, OSError, ValueError) as error:
            self._log.failure("cannot start")
            self._observer.finish(MAX_FLUSH_SECONDS)
            raise CannotStart(one_line(error)) from error
        on_reopen(self._reactor, self._reopen)
        self._reactor.addSystemEventTrigger("after", "shutdown", self._observer.finish, MAX_FLUSH_SECONDS)
        # Not before the reactor runs: until then a SIGTERM finds nobody who would end things in order.
        self._reactor.callWhenRunning(started.addCallback, self._started, self._body)
        started.addErrback(self._failed)

    def stopService(self) -> "Deferred[None]":
        """Drain and end; fires when everything is closed."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._notifier.stopping()
        on_second_stop(self._reactor, self._lose_patience)
        closed = self._listeners.close()
        if self._body is not None:
            await self._body.stop()
        await closed
        self._notifier.close()
        self._log.info("all requests have ended")

    def _started(self, _: None, body: Runner) -> None:
        addresses = ", ".join(self._listeners.addresses())
        self._log.info("listening on {addresses}", addresses=addresses)
        self._notifier.ready(f"listening on {addresses}", body.alive)

    def _failed(self, failure: Any) -> None:
        self._log.failure("cannot serve", failure)
        self._reactor.stop()

    def _lose_patience(self) -> None:
        self._log.warn("a second signal: ending at once")
        if self._body is not None:
            self._body.abort()

    def _reopen(self) -> None:
        self._observer.reopen()
        if self._body is not None:
            self._body.reopen()
        self._log.info("log files are open anew")

    def _open_log(self) -> None:
        log = self._settings.log
        daemonised = os.getpid() != self._born_in
        path = log.file or (os.path.abspath(DAEMON_LOG) if daemonised else None)
        make = partial(LoguruSink, log, path)
        self._observer.attach(ThreadedSink(make, later=path is not None and is_fifo(path)))
