"""HTTPFactory: all connections of one process, their timeouts, draining and access log.

The factory makes an `HTTPChannel` for each connection and renders requests from one resource tree. One coarse
clock, which runs only while there are connections, polls the timeouts of all of them.
"""

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocolNegotiationFactory,
    IReactorTime,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.web.resource import IResource
from zope.interface import implementer

from filestored.http.channel import HTTPChannel
from filestored.http.eviction import Eviction
from filestored.http.limits import Limits
from filestored.http.parser.forwarded import TrustedProxies
from filestored.http.protocols import IRenderable, ManagedConnection
from filestored.http.rendering import render_tree
from filestored.http.response_cache import MAX_ENTRIES, ResponseCache
from filestored.http.transport.loopback import is_on_loopback
from filestored.http.transport.receive_size import ReceiveSizes
from filestored.http.transport.tls import ALPN_PROTOCOLS
from filestored.interfaces import IAccessLog
from filestored.metrics.recorder import Recorder

_log = Logger()

TIMEOUT_POLL_SECONDS = 0.5
"""Interval of the timeout polls."""


@implementer(IProtocolNegotiationFactory)
class HTTPFactory(Factory):
    """Serves a resource tree on all ports of a process.

    `clock` gives monotonic seconds; `access_log` gets an entry for each response, with the client that one of
    `trusted_proxies` names; at most `max_cached_responses` are cached. `metrics` counts.
    """

    noisy = False

    def __init__(
        self,
        root: IResource,
        clock: IReactorTime,
        limits: Limits | None = None,
        access_log: IAccessLog | None = None,
        max_cached_responses: int = MAX_ENTRIES,
        trusted_proxies: TrustedProxies | None = None,
        metrics: Recorder | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.now = clock.seconds()
        self.draining = False
        self.receive_sizes = ReceiveSizes()
        self._cache = ResponseCache(max_cached_responses)
        self._loopback_cache = ResponseCache(max_cached_responses)
        self.render: Callable[[IRenderable], None] = partial(render_tree, root)
        self.access_log = access_log
        self.trusted_proxies = trusted_proxies
        self.metrics = metrics
        self._clock = clock
        self._connections: set[ManagedConnection] = set()
        self._poll: IDelayedCall | None = None
        self._on_drained: list[Deferred[None]] = []
        self._eviction = Eviction()

    @property
    def connections(self) -> int:
        """The number of connections."""
        return len(self._connections)

    def buildProtocol(self, addr: IAddress | None) -> HTTPChannel:
        """Return a channel for a new connection."""
        if self._poll is None:
            self.now = self._clock.seconds()
        return HTTPChannel(self)

    def acceptableProtocols(self) -> list[bytes]:
        """See `IProtocolNegotiationFactory.acceptableProtocols`; TLS endpoints of plugins ask for it."""
        return list(ALPN_PROTOCOLS)

    def drain(self) -> Deferred[None]:
        """Close idle connections and let requests finish; fires when no connection is left."""
        self.draining = True
        self.clear_caches()
        for connection in list(self._connections):
            connection.close_if_idle()
        if not self._connections:
            return succeed(None)
        drained: Deferred[None] = Deferred()
        self._on_drained.append(drained)
        return drained

    def clear_caches(self) -> None:
        """Remove all cached responses, and close the files that were kept open for them."""
        self._cache.clear()
        self._loopback_cache.clear()

    def abort(self) -> None:
        """Close all connections at once."""
        for connection in list(self._connections):
            connection.abort()

    # --- ChannelOwner ---------------------------------------------------------------------------

    def opened(self, connection: ManagedConnection) -> bool:
        """See `ChannelOwner.opened`."""
        self._connections.add(connection)
        if self.metrics is not None:
            self.metrics.connection_made()
        if self._poll is None:
            self._poll = self._clock.callLater(TIMEOUT_POLL_SECONDS, self._check_timeouts)
        if len(self._connections) <= self.limits.connections:
            return True
        return self._eviction.evict(self._connections, self.now)

    def closed(self, connection: ManagedConnection) -> None:
        """See `ChannelOwner.closed`."""
        self._connections.discard(connection)
        if self.metrics is not None:
            self.metrics.connection_lost()
        if self._connections:
            return
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None
        for cache in (self._cache, self._loopback_cache):
            cache.files.drop_all()
        waiting, self._on_drained = self._on_drained, []
        for drained in waiting:
            drained.callback(None)

    def call_soon(self, action: Callable[[], None]) -> None:
        """See `ChannelOwner.call_soon`."""
        self._clock.callLater(0, action)

    def cache_for(self, address: IAddress) -> ResponseCache:
        """See `ChannelOwner.cache_for`.

        There are two caches because a resource may refuse on a loopback address what it serves elsewhere.
        """
        return self._loopback_cache if is_on_loopback(address) else self._cache

    def _check_timeouts(self) -> None:
        self.now = now = self._clock.seconds()
        self._poll = self._clock.callLater(TIMEOUT_POLL_SECONDS, self._check_timeouts)
        for cache in (self._cache, self._loopback_cache):
            cache.files.drop_idle()
        for connection in list(self._connections):
            try:
                connection.check_timeouts(now)
            except Exception:
                _abort_failed(connection)


def _abort_failed(connection: ManagedConnection) -> None:
    """Abort a connection whose poll has failed, so that the others are still polled."""
    _log.failure("a connection failed in a poll of the timeouts")
    try:
        connection.abort()
    except Exception:
        _log.failure("a connection failed as it was aborted")
