"""All connections of one worker: who is there, how long they may stay, how they end.

The factory makes a `HTTPChannel` for each connection and renders requests from one resource tree.
One coarse clock, running only while somebody is connected, sweeps over all connections;
none of them sets a timer of its own.
"""

from collections.abc import Callable
from time import time

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.web.resource import IResource

from filestored.http.channel import HTTPChannel
from filestored.http.eviction import Eviction
from filestored.http.limits import Limits
from filestored.http.parser.request_head import RequestHead
from filestored.http.protocols import ActiveResponse, IAnswerable, ManagedConnection
from filestored.http.rendering import render_tree
from filestored.http.response_cache import ResponseCache
from filestored.http.transport.loopback import is_on_loopback
from filestored.http.transport.receive_size import ReceiveSizes
from filestored.interfaces import AccessEntry, IAccessLog

_log = Logger()

TIMEOUT_POLL_SECONDS = 0.5
"""Seconds between two looks at all connections."""


class HTTPFactory(Factory):
    """Serves a resource tree; one for each worker, shared by all of its ports.

    `clock` gives monotonic seconds; `access_log` is told of each answer.
    """

    noisy = False

    def __init__(
        self,
        root: IResource,
        clock: IReactorTime,
        limits: Limits | None = None,
        access_log: IAccessLog | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.now = clock.seconds()
        self.draining = False
        self._cache = ResponseCache()
        self._loopback_cache = ResponseCache()
        self.receive_sizes = ReceiveSizes()
        self._root = root
        self._clock = clock
        self._access_log = access_log
        self._connections: set[ManagedConnection] = set()
        self._poll: IDelayedCall | None = None
        self._drained: list[Deferred[None]] = []
        self._eviction = Eviction()

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def buildProtocol(self, addr: IAddress | None) -> HTTPChannel:
        """A channel for a new connection."""
        if self._poll is None:
            self.now = self._clock.seconds()
        return HTTPChannel(self)

    def drain(self) -> Deferred[None]:
        """Let requests under way finish and idle connections go; fires when none is left."""
        self.draining = True
        self._cache.clear()
        self._loopback_cache.clear()
        for connection in list(self._connections):
            connection.close_if_idle()
        if not self._connections:
            return succeed(None)
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        return drained

    def abort(self) -> None:
        """End all connections at once."""
        for connection in list(self._connections):
            connection.abort()

    # --- from the channels ----------------------------------------------------------------------

    def opened(self, connection: ManagedConnection) -> bool:
        """See `filestored.http.protocols.ChannelOwner.opened`."""
        self._connections.add(connection)
        if self._poll is None:
            self._poll = self._clock.callLater(TIMEOUT_POLL_SECONDS, self._check_timeouts)
        if len(self._connections) <= self.limits.connections:
            return True
        return self._eviction.evict(self._connections, self.now)

    def closed(self, connection: ManagedConnection) -> None:
        """See `filestored.http.protocols.ChannelOwner.closed`."""
        self._connections.discard(connection)
        if self._connections:
            return
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None
        waiting, self._drained = self._drained, []
        for drained in waiting:
            drained.callback(None)

    def call_soon(self, action: Callable[[], None]) -> None:
        """See `filestored.http.protocols.ChannelOwner.call_soon`."""
        self._clock.callLater(0, action)

    def cache_for(self, address: IAddress) -> ResponseCache:
        """See `filestored.http.protocols.ChannelOwner.cache_for`.

        Two caches, because a resource may refuse on a loopback address what it answers elsewhere.
        """
        return self._loopback_cache if is_on_loopback(address) else self._cache

    def render(self, request: IAnswerable) -> None:
        """See `filestored.http.protocols.ChannelOwner.render`."""
        render_tree(self._root, request)

    def log_response(self, peer: str, head: RequestHead, response: ActiveResponse, status: int) -> None:
        """See `filestored.http.protocols.ChannelOwner.log_response`."""
        log = self._access_log
        if log is None:
            return
        if response.description is None:
            response.description = log.format_entry(_entry(head, status, response.sent_length))
        log.record(time(), peer, response.description)

    def log_refusal(self, peer: str, status: int) -> None:
        """See `filestored.http.protocols.ChannelOwner.log_refusal`."""
        log = self._access_log
        if log is not None:
            log.record(time(), peer, log.format_entry(AccessEntry(b"-", b"-", b"-", status, 0, None, None)))

    def _check_timeouts(self) -> None:
        self.now = now = self._clock.seconds()
        self._poll = self._clock.callLater(TIMEOUT_POLL_SECONDS, self._check_timeouts)
        for connection in list(self._connections):
            try:
                connection.check_timeouts(now)
            except Exception:
                _end_failed(connection)


def _end_failed(connection: ManagedConnection) -> None:
    """End a connection whose tick has failed; it must not keep the others from their deadlines."""
    _log.failure("a connection failed in a sweep")
    try:
        connection.abort()
    except Exception:
        _log.failure("a connection failed as it was aborted")


def _entry(head: RequestHead, status: int, sent: int) -> AccessEntry:
    return AccessEntry(
        method=head.method,
        target=head.target,
        version=head.version,
        status=status,
        sent=sent,
        referer=head.fields.last.get(b"referer"),
        agent=head.fields.last.get(b"user-agent"),
    )
