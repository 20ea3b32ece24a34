"""A connection as such: bytes that wait to be read, the phase it is in, and all the ways in which it ends.

A connection is always in one phase, and each phase has one reader for the bytes that arrive:

    IDLE -> HEAD -> BODY -> RESPONSE -> IDLE ...        and at the end LINGER -> GONE

Bytes that nobody wants yet stay in `_input`, and while there are any, the transport is paused:
the client feels the disk. What the bytes mean is the business of `channel.HTTPChannel`.

One turn of the reactor reads a bounded number of requests and chunks of a connection (`MAX_READS`,
`framing.MAX_CHUNKS`). More of them wait in `_input` for the next turn, behind the other connections.

A connection that ends with bytes still on their way to us closes its own side first and drops a
bounded rest, so that the client can read the last answer before it meets a reset (RFC 9112 section 9.6).
"""

from collections.abc import Callable
from math import inf

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.http.protocols import ChannelOwner
from filestored.http.state import ConnectionState
from filestored.http.timeouts import Timeouts
from filestored.http.transport.output import IStreamTransport, Output, make_output

MAX_READS = 16
"""Calls of a reader in one turn of the reactor; a pipelined request takes one, or two with a body."""

MIN_IDLE_SECONDS = 1.0
"""Seconds that a connection waits for a request, or its head, before it may be closed for a new one."""

MIN_STALL_SECONDS = 10.0
"""Seconds in which a client reads nothing of its response before it may be closed for a new one."""

MIN_BODY_RATE = 16 * 1024
"""Bytes a second of a body below which its connection may be closed for a new one."""


@implementer(IHalfCloseableProtocol)
class Connection(Protocol):
    """One connection of a server; the readers of its phases are a subclass's."""

    transport: IStreamTransport
    _output: Output

    def __init__(self, server: ChannelOwner) -> None:
        self._server = server
        self._limits = server.limits
        self._timeouts = Timeouts(server.limits)
        self._set_state(ConnectionState.IDLE)
        self._input = b""
        self._dropped = 0
        self._processing = False
        self._deferred = False
        self._paused = False
        self._input_ended = False
        self._on_drained: Callable[[], None] | None = None

    def connectionMade(self) -> None:
        """Twisted says: the connection is there."""
        self._output = make_output(self.transport, self._drained)

    def _set_state(self, state: ConnectionState) -> None:
        self._state = state
        self._state_since = self._server.now

    # --- bytes come in --------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Twisted says: bytes have arrived."""
        self._input = self._input + data if self._input else data
        self._process_input()

    def _process_input(self) -> None:
        """Read on, as far as the bytes at hand, the state of things and the bound of one turn allow."""
        if self._processing or self._deferred:
            return  # A response ended while its request was read: the loop below goes on, or the next turn.
        self._processing = True
        try:
            reads = 1
            while self._input and self._read():
                reads += 1
                if reads > MAX_READS and self._input:
                    self._defer()
                    break
        finally:
            self._processing = False
        self._pause_or_resume()

    def _defer(self) -> None:
        """Read on in the next turn of the reactor."""
        if not self._deferred:
            self._deferred = True
            self._server.call_soon(self._resume)

    def _resume(self) -> None:
        self._deferred = False
        self._process_input()
        if self._input_ended and not self._deferred:
            self.readConnectionLost()

    def _read(self) -> bool:
        """Take from `_input` what the phase allows; answer whether to go on."""
        return self._discard_input()

    def _discard_input(self) -> bool:
        self._dropped += len(self._input)
        self._input = b""
        if self._dropped > self._limits.linger_bytes:
            self.abort()
        return False

    def _pause_or_resume(self) -> None:
        """Leave further bytes in the socket while there are some that nobody wants yet."""
        paused = bool(self._input)
        if paused == self._paused or self._state is ConnectionState.CLOSED:
            return
        self._paused = paused
        if paused:
            self.transport.pauseProducing()
        else:
            self.transport.resumeProducing()

    # --- bytes go out -----------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether the client has not taken yet what was sent."""
        return self._output.pending

    def _when_drained(self, action: Callable[[], None]) -> None:
        """Do something as soon as the client has taken everything."""
        if self._state is ConnectionState.CLOSED:
            return
        if self._output.pending:
            self._on_drained = action
        else:
            action()

    def _drained(self) -> None:
        action, self._on_drained = self._on_drained, None
        if action is not None:
            action()
        else:
            self._output_drained()

    def _output_drained(self) -> None:
        """The client has taken what was sent so far of something longer."""

    # --- the end ----------------------------------------------------------------------------------

    def close_if_idle(self) -> None:
        """Close the connection unless a request is under way, or waits to be read in the next turn."""
        if self._state is ConnectionState.IDLE and not self._input:
            self.close()

    def close(self) -> None:
        """Close the connection in good order."""
        if self._input:
            self._linger()
        else:
            self._set_state(ConnectionState.LINGER)
            self._output.close()

    def _linger(self) -> None:
        """Close our side, and drop a bounded rest of theirs."""
        self._set_state(ConnectionState.LINGER)
        self._output.finish()
        self._process_input()

    def abort(self) -> None:
        """Close the connection at once."""
        if self._state is not ConnectionState.CLOSED:
            self._state = ConnectionState.CLOSED
            self._input = b""
            self._on_drained = None
            self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        """Twisted says: the client sends no more, but may still read."""
        self._input_ended = True
        if self._deferred:
            return  # the end of the body, or further requests, may be among the bytes not read yet
        if self._state in (ConnectionState.IDLE, ConnectionState.HEAD, ConnectionState.LINGER):
            self.transport.loseConnection()
        elif self._state is not ConnectionState.RESPONSE:
            self.abort()
        else:
            self._sender_closed()

    def _sender_closed(self) -> None:
        """The client may have left; it sends nothing after the request that is being answered."""

    def writeConnectionLost(self) -> None:
        """Twisted says: our side is closed."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted says: the connection is gone."""
        self._state = ConnectionState.CLOSED
        self._input = b""
        self._lost(reason)
        self._output.lost()
        self._server.closed(self)

    def _lost(self, reason: Failure) -> None:
        """Whatever was under way can't go on."""

    # --- time -------------------------------------------------------------------------------------

    def check_timeouts(self, now: float) -> None:
        """See `filestored.http.protocols.Connection.check_timeouts`."""
        if self._timeouts.write_expired(self._output.pending, now, self._output.taken):
            self.abort()
        elif self._state is ConnectionState.BODY:
            self._check_body(now)
        elif self._timeouts.is_expired(self._state, self._state_since, now):
            self.expire()

    def eviction_rank(self, now: float) -> tuple[int, float] | None:
        """See `filestored.http.protocols.Connection.eviction_rank`."""
        if self._state is ConnectionState.CLOSED:
            return None
        if self._state in (ConnectionState.IDLE, ConnectionState.HEAD, ConnectionState.LINGER):
            return (0, self._state_since) if now - self._state_since >= MIN_IDLE_SECONDS else None
        stalled = self._timeouts.write_stalled_since
        if stalled is not None:
            return (1, stalled) if now - stalled >= MIN_STALL_SECONDS else None
        rate = self._body_rate(now)
        return (2, rate) if rate < MIN_BODY_RATE else None

    def _body_rate(self, now: float) -> float:
        """Return the bytes a second at which a body arrives; infinite when none is awaited."""
        return inf

    def _check_body(self, now: float) -> None:
        """Give up on a body that does not come."""

    def expire(self) -> None:
        """See `filestored.http.protocols.Connection.expire`."""
        self.abort()
