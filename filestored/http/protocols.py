"""What the parts of this floor need of each other, so that none has to know another's class."""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, ITransport
from twisted.python.failure import Failure
from zope.interface import Attribute

from filestored.http.limits import Limits
from filestored.http.parser.request_head import RequestHead
from filestored.http.response_cache import CachedResponse, ResponseCache
from filestored.http.transport.receive_size import ReceiveSizes
from filestored.interfaces import IFileSource, IStreamedRequest


class ResponseWriter(Protocol):
    """What a request needs of its connection: one response goes out."""

    @property
    def transport(self) -> ITransport:
        """The connection's transport."""

    @property
    def pending(self) -> bool:
        """Whether the client has not taken yet what was sent."""

    def cache_response(self, answer: CachedResponse) -> None:
        """Give the answer to this request again when the same head comes."""

    def keeps_alive(self, delimited: bool) -> bool:
        """Whether another request may follow on the connection.

        Asked once, before the head is sent; `delimited` says that the response's end is marked.
        """

    def send(self, data: bytes, more: bool = False) -> None:
        """Send bytes; `more` says that a file follows."""

    def send_file(self, source: IFileSource, start: int, stop: int) -> Deferred[None] | None:
        """Send a range of a file; see `filestored.interfaces.IFileSender.write_file`."""

    def response_finished(self) -> None:
        """All of the response was sent."""

    def abort(self) -> None:
        """End the connection at once."""


class IAnswerable(IStreamedRequest):
    """What rendering needs of a request."""

    startedWriting: bool = Attribute("Whether the head of the response has been sent.")
    finished: bool = Attribute("Whether the response is complete.")


class ManagedConnection(Protocol):
    """What a server needs of its connections."""

    def check_timeouts(self, now: float) -> None:
        """Give up on a peer that has kept us waiting too long; the server calls this again and again."""

    def eviction_rank(self, now: float) -> tuple[int, float] | None:
        """How readily it may be closed for a new one, the lowest value first; None when it may not.

        First those that wait for a request, or for the rest of its head, the longest wait first; then those
        whose client has not read anything of a response for long; then those on which a body arrives
        slowly, the slowest first.
        """

    def expire(self) -> None:
        """End the connection, for the client has been waited for too long."""

    def close_if_idle(self) -> None:
        """Close the connection unless a request is under way."""

    def abort(self) -> None:
        """Close the connection at once."""


class ActiveResponse(Protocol):
    """What a connection needs of the response that is under way, whoever makes it.

    `description` is kept for the access log: what it says of this response, once it was asked.
    """

    code: int
    startedWriting: bool
    description: str | None

    @property
    def sent_length(self) -> int:
        """Bytes of the body that were sent."""

    def drained(self) -> None:
        """The client has taken everything that was sent so far."""

    def sent(self) -> None:
        """The response has left."""

    def sender_closed(self) -> None:
        """The client has closed its sending side, or all of the connection."""

    def connection_lost(self, reason: Failure) -> None:
        """The connection was lost before the response had left."""


class ChannelOwner(Protocol):
    """What a connection needs of the server it belongs to; `now` is the coarse time in seconds."""

    limits: Limits
    receive_sizes: ReceiveSizes
    now: float
    draining: bool

    def cache_for(self, address: IAddress) -> ResponseCache:
        """Return the answers that may be given again on connections to this address of ours."""

    def opened(self, connection: ManagedConnection) -> bool:
        """A connection is there; False when it is one too many, and no other could be closed for it."""

    def closed(self, connection: ManagedConnection) -> None:
        """A connection is gone."""

    def call_soon(self, action: Callable[[], None]) -> None:
        """Call `action` in the next turn of the reactor."""

    def render(self, request: IAnswerable) -> None:
        """Have a request answered."""

    def log_response(self, peer: str, head: RequestHead, response: ActiveResponse, status: int) -> None:
        """Note in the access log what somebody at `peer` was answered, with that status."""

    def log_refusal(self, peer: str, status: int) -> None:
        """Note in the access log that something at `peer` was refused that was no request."""
