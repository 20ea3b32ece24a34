"""What one process serves: sockets it accepts from, a factory, its I/O threads, its access log.

Flow: `Server.start` with the sockets that somebody has opened -> connections; `Server.stop` accepts no
more at once, lets running requests finish within the time for draining, then cuts the rest off.

The same object serves alone in twistd's own process and in each worker; it gets everything it
needs in its constructor.
"""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from filestored.daemon.acceptor import Acceptor, accept_from
from filestored.daemon.epoll import EpollSet
from filestored.daemon.listeners import ListeningSocket
from filestored.http.factory import HTTPFactory
from filestored.logs.access_log import AccessLog
from filestored.storage.threads import ThreadPools


class Server:
    """One process's share of the work.

    `drain` is how many seconds a stop waits for running requests; `stop_helpers` ends what has helped them.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        factory: HTTPFactory,
        pools: ThreadPools,
        access_log: AccessLog | None,
        drain: float,
        stop_helpers: "Callable[[], Deferred[None]] | None" = None,
    ) -> None:
        self._reactor = reactor
        self._factory = factory
        self._pools = pools
        self._access_log = access_log
        self._drain = drain
        self._stop_helpers = stop_helpers
        self._acceptors: list[Acceptor] = []
        self._hub: EpollSet | None = None

    def start(self, listening: Sequence[ListeningSocket]) -> "Deferred[None]":
        """Serve on these sockets. Fires when it does, which is at once."""
        self._pools.start()
        self._hub = EpollSet(self._reactor)
        for each in listening:
            self._acceptors.append(accept_from(self._hub, each, self._factory))
        return succeed(None)

    def stop(self) -> "Deferred[None]":
        """Finish; fires when the last connection is gone, and the last thread or its time."""
        return Deferred.fromCoroutine(self._stop())

    def abort(self) -> None:
        """End all connections now; `stop`, which has been called, then fires soon."""
        self._factory.abort()

    def alive(self) -> bool:
        """Return True: the reactor that calls this also serves."""
        return True

    def reopen(self) -> None:
        """Open the files of logs anew."""
        if self._access_log is not None:
            self._access_log.reopen()

    async def _stop(self) -> None:
        for acceptor in self._acceptors:
            acceptor.stopListening()
        patience = self._reactor.callLater(self._drain, self._factory.abort)
        await self._factory.drain()
        if patience.active():
            patience.cancel()
        if self._hub is not None:
            self._hub.close()
        if self._stop_helpers is not None:
            await self._stop_helpers()
        if self._access_log is not None:
            self._access_log.close()
        if not self._pools.stop():
            self._log.warn("a disk hangs: the process ends without waiting for its last calls")
