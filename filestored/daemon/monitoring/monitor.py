"""Monitor: the listener of ``--metrics``, and the work in the background of its figures.

It runs in the process that twistd runs, so it answers while all workers are dead or hang. It is opened with
the other sockets, and closed after all of them.
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.resource import IResource

from filestored.daemon.acceptor import Acceptor, accept_from
from filestored.daemon.listeners import Listeners, parse_endpoint
from filestored.daemon.monitoring.free_space import FreeSpace
from filestored.daemon.monitoring.resources import make_root
from filestored.daemon.monitoring.state import DaemonState, MonitoredRunner
from filestored.daemon.monitoring.store_count import StoreCount
from filestored.daemon.verification.status import VerificationStatus
from filestored.http.factory import HTTPFactory
from filestored.http.limits import Limits
from filestored.metrics.blocks import SharedBlocks
from filestored.metrics.collector import CONTENT_TYPE, MetricsCollector
from filestored.metrics.recorder import Recorder
from filestored.metrics.totals import Totals
from filestored.settings import Settings
from filestored.storage.object_store.url import is_url

OPTION = "--metrics"
"""The option that names the endpoint, in errors."""

MAX_CONNECTIONS = 64
"""Maximum number of connections."""

DRAIN_SECONDS = 1.0
"""Seconds that the stop waits for responses."""


def make_monitor(reactor: Any, settings: Settings, verification: VerificationStatus | None) -> "Monitor":
    """Return the monitor that the settings ask for. Raises `ValueError` or `OSError`."""
    listeners = Listeners([(settings.metrics, parse_endpoint(reactor, settings.metrics, OPTION))], OPTION)
    blocks = SharedBlocks.create(settings.workers + 1, shared=settings.workers > 1)
    totals = Totals(blocks.blocks)
    space = None if is_url(settings.store) else FreeSpace.in_thread(reactor, settings.store)
    state = DaemonState(totals, settings.workers, StoreCount(reactor, settings.store), space, verification)
    collector = MetricsCollector(totals, state.values)
    return Monitor(reactor, listeners, blocks, state, make_root(state, collector.text, CONTENT_TYPE))


class Monitor:
    """Serves `root` on `listeners`, of which there is one, and keeps `state`; `blocks` are the counters.

    The last block is that of the process which twistd runs, for lines of its log that are dropped.
    """

    def __init__(
        self,
        reactor: Any,
        listeners: Listeners,
        blocks: SharedBlocks,
        state: DaemonState,
        root: IResource,
    ) -> None:
        self.blocks = blocks
        self.count_dropped_lines = Recorder(blocks.blocks[-1]).from_threads.lines_dropped
        self._reactor = reactor
        self._listeners = listeners
        self._state = state
        self._factory = HTTPFactory(root, reactor, Limits(connections=MAX_CONNECTIONS))
        self._acceptors: list[Acceptor] = []

    def open(self) -> None:
        """Open the socket, with the privileges of the start. Raises `CannotStart`."""
        self._listeners.open()

    def start(self, runner: MonitoredRunner) -> None:
        """Serve; `runner` is about to start."""
        self._state.runner = runner
        self._acceptors = [
            accept_from(self._reactor, each, self._factory) for each in self._listeners.listening()
        ]
        self._reactor.callWhenRunning(self._state.count.start)

    def urls(self) -> list[str]:
        """Return the URLs for people."""
        return self._listeners.urls()

    def renew_certificates(self) -> None:
        """Read the certificate anew."""
        if self._listeners.renew_certificates():
            for acceptor, each in zip(self._acceptors, self._listeners.listening(), strict=True):
                acceptor.use_certificate(each.certificate)

    def stopping(self) -> None:
        """Report from now on that the daemon stops."""
        self._state.stopping = True
        self._state.count.stop()

    def stop(self) -> "Deferred[None]":
        """Stop serving; fires when all connections are closed."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._listeners.close()
        for acceptor in self._acceptors:
            acceptor.stopListening()
        timeout = self._reactor.callLater(DRAIN_SECONDS, self._factory.abort)
        await self._factory.drain()
        if timeout.active():
            timeout.cancel()
