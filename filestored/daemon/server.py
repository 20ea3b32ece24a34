"""Server of one process: acceptors, HTTP factory, I/O threads, access log.

`Server.stop` stops accepting at once, lets running requests finish within the drain timeout, then closes the
remaining connections. The same class serves in twistd's own process and in each worker.
"""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from filestored.daemon.acceptor import Acceptor, accept_from
from filestored.daemon.epoll import EpollSet
from filestored.daemon.listeners import ListeningSocket
from filestored.http.factory import HTTPFactory
from filestored.http.transport.tls import Certificate
from filestored.logs.access_log import AccessLog
from filestored.logs.json_access_log import JsonAccessLog
from filestored.storage.threads import ThreadPools


class Server:
    """Serves HTTP on listening sockets.

    `drain` is the drain timeout in seconds; `stop_background` stops decoders and other background work;
    `use_access` replaces the rules of access.
    """

    restarts = 0
    """See `MonitoredRunner`."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        factory: HTTPFactory,
        pools: ThreadPools,
        access_log: AccessLog | JsonAccessLog | None,
        drain: float,
        stop_background: "Callable[[], Deferred[Any]] | None" = None,
        use_access: Callable[[str], None] | None = None,
    ) -> None:
        self._reactor = reactor
        self._factory = factory
        self._pools = pools
        self._access_log = access_log
        self._drain = drain
        self._stop_background = stop_background
        self._use_access = use_access
        self._acceptors: list[Acceptor] = []
        self._epoll_set: EpollSet | None = None

    def start(self, listening: Sequence[ListeningSocket]) -> "Deferred[None]":
        """Serve on these sockets; fires at once."""
        self._pools.start()
        metrics = self._factory.metrics
        self._epoll_set = EpollSet(self._reactor, None if metrics is None else metrics.hits)
        for each in listening:
            self._acceptors.append(accept_from(self._epoll_set, each, self._factory))
        return succeed(None)

    def stop(self) -> "Deferred[None]":
        """Drain and stop; fires when all connections are closed and all threads ended or timed out."""
        return Deferred.fromCoroutine(self._stop())

    def abort(self) -> None:
        """Close all connections now; a `stop` under way then fires soon."""
        self._factory.abort()

    def alive(self) -> bool:
        """Return True: this is called by the reactor that serves."""
        return True

    def serving(self) -> int:
        """Return the number of processes that serve: this one, once it is started."""
        return 1 if self._acceptors else 0

    def reopen(self) -> None:
        """Reopen the access log."""
        if self._access_log is not None:
            self._access_log.reopen()

    def use_access(self, text: str) -> None:
        """Use these rules of access, which are JSON of `AccessRules`."""
        assert self._use_access is not None, "there was an access file at the start"
        self._use_access(text)

    def renew_certificates(self, certificates: Sequence[Certificate | None]) -> None:
        """Use these certificates, in the order of the listening sockets, for new connections."""
        for acceptor, certificate in zip(self._acceptors, certificates, strict=True):
            acceptor.use_certificate(certificate)

    async def _stop(self) -> None:
        for acceptor in self._acceptors:
            acceptor.stopListening()
        drain_timeout = self._reactor.callLater(self._drain, self._factory.abort)
        await self._factory.drain()
        if drain_timeout.active():
            drain_timeout.cancel()
        if self._epoll_set is not None:
            self._epoll_set.close()
        if self._stop_background is not None:
            await self._stop_background()
        if self._access_log is not None:
            self._access_log.close()
        if not self._pools.stop():
            self._log.warn("a disk hangs: the process ends without waiting for its last calls")
