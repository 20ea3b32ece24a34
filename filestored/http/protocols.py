"""Protocols (structural types) between the parts of this package, so that no part imports another's class."""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, ITransport
from twisted.python.failure import Failure
from zope.interface import Attribute

from filestored.http.limits import Limits
from filestored.http.parser.forwarded import TrustedProxies
from filestored.http.response import PreformattedHeaders
from filestored.http.response_cache import ResponseCache
from filestored.http.transport.receive_size import ReceiveSizes
from filestored.interfaces import IAccessLog, IBlob, IFileSource, IStreamedRequest
from filestored.metrics.recorder import Recorder
from filestored.metrics.refusals import Refusal

Rank = tuple[int, float]
"""The rank of a connection for `filestored.http.eviction`."""


class ResponseWriter(Protocol):
    """The connection, as a request sees it: sends one response."""

    @property
    def transport(self) -> ITransport:
        """The connection's transport."""

    @property
    def pending(self) -> bool:
        """True while the client has not taken all that was sent."""

    def cache_response(self, headers: PreformattedHeaders, reopen: Callable[[], IBlob], size: int) -> None:
        """Store the response to this request, which is about to start, in the response cache.

        See `filestored.interfaces.ICacheable.cache_with`; `headers` are those of a 200 or 206.
        """

    def keeps_alive(self, delimited: bool) -> bool:
        """Return whether another request may follow on the connection.

        Called once, before the head is sent; `delimited` is true if the end of the response is marked.
        """

    def send(self, data: bytes, more: bool = False) -> None:
        """Send bytes; `more` announces a file after them."""

    def send_file(self, source: IFileSource, start: int, stop: int) -> Deferred[None] | None:
        """Send a range of a file; see `filestored.interfaces.IFileSender.write_file`."""

    def response_finished(self) -> None:
        """Note that all of the response was sent."""

    def abort(self) -> None:
        """Close the connection at once."""


class IRenderable(IStreamedRequest):
    """A request, as rendering sees it."""

    startedWriting: bool = Attribute("True once the head of the response has been sent.")
    finished: bool = Attribute("True once the response is complete.")
    has: Callable[[bytes], bool] = Attribute("Returns whether the response has a header, by lower-case name.")


class ManagedConnection(Protocol):
    """A connection, as the server sees it."""

    def check_timeouts(self, now: float) -> None:
        """Close the connection if a timeout has expired; the server polls this."""

    def eviction_rank(self, now: float) -> Rank | None:
        """Return `filestored.http.eviction.rank` of the connection."""

    def expire(self) -> None:
        """End the connection, whose client was waited for too long."""

    def close_if_idle(self) -> None:
        """Close the connection unless it has a request, or input for the next iteration of the reactor."""

    def abort(self) -> None:
        """Close the connection at once."""


class ActiveResponse(Protocol):
    """The response that is being sent, as its connection sees it.

    `description` caches the entry of the access log. `refusal` is its reason, where the status does not tell.
    """

    code: int
    startedWriting: bool
    description: str | None
    refusal: Refusal | None

    @property
    def request_id(self) -> bytes:
        """The id of the request."""

    @property
    def sent_length(self) -> int:
        """Bytes of the body that were sent."""

    def resume(self) -> None:
        """Continue: the client has taken all that was sent so far."""

    def sent(self) -> None:
        """Note that the client has taken all of the response."""

    def sender_closed(self) -> None:
        """Note that the client has closed its sending side, or all of the connection."""

    def connection_lost(self, reason: Failure) -> None:
        """Note that the connection was lost before the client had all of the response."""


class ChannelOwner(Protocol):
    """The server, as its connections see it; `now` is the coarse time in seconds.

    `render` lets a resource answer a request.
    """

    limits: Limits
    receive_sizes: ReceiveSizes
    now: float
    draining: bool
    access_log: IAccessLog | None
    trusted_proxies: TrustedProxies | None
    metrics: Recorder | None
    render: Callable[[IRenderable], None]

    def cache_for(self, address: IAddress) -> ResponseCache:
        """Return the response cache of connections to this local address."""

    def opened(self, connection: ManagedConnection) -> bool:
        """Add a connection; return False if there are too many and none could be evicted."""

    def closed(self, connection: ManagedConnection) -> None:
        """Remove a connection."""

    def call_soon(self, action: Callable[[], None]) -> None:
        """Call `action` in the next iteration of the reactor."""
