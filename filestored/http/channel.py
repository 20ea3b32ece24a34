"""One connection: bytes become requests, responses become bytes.

A connection is always in one phase, and each phase has one reader for the bytes that arrive:

    IDLE -> HEAD -> BODY -> RESPONSE -> IDLE ...        and at the end LINGER -> GONE

Requests are rendered at the end of their head, one at a time, so that pipelined ones are
answered strictly in order. Bytes that nobody wants yet (the body's consumer is paused, or the
response to the last request is still under way) stay in `_unread`, and while there are any,
the transport is paused: the client feels the disk.

An exchange that cannot be read to its end (an early refusal, broken framing) is answered with
``Connection: close``; then our side is closed and a bounded rest dropped, so that the client can
read the answer before it meets a reset (RFC 9112 section 9.6).
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol as Shape

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.errors import BodyError, BodyLost, BodyMalformed, BodyStalled
from filestored.http.body import Body
from filestored.http.fields import BadRequest, Field, FieldBlock
from filestored.http.framing import ChunkedReader, LengthReader
from filestored.http.head import HeadReader, RequestHead
from filestored.http.limits import Limits
from filestored.http.outlet import IStreamTransport, SocketOutlet, outlet_for
from filestored.http.patience import Silence, Slowness
from filestored.http.request import FileTakingRequest, Request
from filestored.http.response import format_refusal

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLIENT_CLOSED = 499
"""What the access log says of a request whose client left before the answer; never sent."""


class Phase(Enum):
    """What a connection is about."""

    IDLE = auto()
    """Between requests; no byte of the next one has arrived."""
    HEAD = auto()
    """A head is arriving."""
    BODY = auto()
    """A request is being served whose body has not ended."""
    RESPONSE = auto()
    """The request has been read; its response is under way."""
    ABANDONED = auto()
    """The body came to a bad end; the response is under way and will be the last."""
    LINGER = auto()
    """Our side is closed; what still arrives is dropped."""
    GONE = auto()
    """The connection is closed."""


class Server(Shape):
    """What a connection needs of the server it belongs to."""

    limits: Limits
    now: float
    draining: bool

    def opened(self, channel: "Channel") -> bool:
        """A connection is there; False when it is one too many."""

    def closed(self, channel: "Channel") -> None:
        """A connection is gone."""

    def render(self, request: Request) -> None:
        """Have a request answered."""

    def answered(self, transport: ITransport, head: RequestHead | None, status: int, sent: int) -> None:
        """Note an answer in the access log; `head` is None where there was none."""


@implementer(IHalfCloseableProtocol)
class Channel(Protocol):
    """Serves HTTP/1.1 on one connection, for an `HTTPFactory`."""

    transport: IStreamTransport

    def __init__(self, server: Server) -> None:
        limits = self._limits = server.limits
        self._server = server
        self._phase = Phase.IDLE
        self._since = server.now
        self._unread = b""
        self._advancing = False
        self._paused = False
        self._input_ended = False
        self._heads = HeadReader(limits)
        self._received = 0
        self._dropped = 0
        self._body_silence = Silence(limits.body_silence)
        self._body_slowness = Slowness(limits.body_window, limits.body_rate)
        self._write_silence = Silence(limits.write_silence)
        self._request: Request | None = None
        self._on_drained: Callable[[], None] | None = None
        self._persistent = False

    def connectionMade(self) -> None:
        """Twisted says: the connection is there."""
        self._outlet = outlet_for(self.transport, self._drained)
        self._request_class = FileTakingRequest if isinstance(self._outlet, SocketOutlet) else Request
        if not self._server.opened(self):
            self._reject(503, "too many connections", (b"Retry-After", b"1"))

    # --- bytes come in --------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Twisted says: bytes have arrived."""
        self._received += len(data)
        self._unread = self._unread + data if self._unread else data
        self._advance()

    def _advance(self) -> None:
        """Read on, as far as the bytes at hand and the state of things allow."""
        if self._advancing:
            return  # A response ended while its request was read: the loop below goes on.
        self._advancing = True
        try:
            while self._unread and _READERS[self._phase](self):
                pass
        finally:
            self._advancing = False
        self._throttle()

    def _throttle(self) -> None:
        """Leave further bytes in the socket while there are some that nobody wants yet."""
        paused = bool(self._unread)
        if paused == self._paused or self._phase is Phase.GONE:
            return
        self._paused = paused
        if paused:
            self.transport.pauseProducing()
        else:
            self.transport.resumeProducing()

    # Each reader takes from `_unread` what its phase allows, and answers whether to go on.

    def _read_head(self) -> bool:
        data, self._unread = self._unread, b""
        if self._phase is Phase.IDLE:
            self._enter(Phase.HEAD)
        try:
            found = self._heads.feed(data)
        except BadRequest as error:
            self._reject(error.status, error.reason)
            return False
        if found is None:
            return False
        head, self._unread = found
        self._serve(head)
        return True

    def _read_body(self) -> bool:
        if not self._body.wanting:
            return False
        data, self._unread = self._unread, b""
        try:
            body, self._unread, complete = self._framing.feed(data)
        except BodyMalformed as error:
            self._abandon(error)
            return False
        if complete:
            self._enter(Phase.RESPONSE)
        if body:
            self._body.received(body)
        if complete:
            self._body.ended()
        return True

    def _hold(self) -> bool:
        return False

    def _drop(self) -> bool:
        self._dropped += len(self._unread)
        self._unread = b""
        if self._dropped > self._limits.linger_bytes:
            self.abort()
        return False

    # --- one request ------------------------------------------------------------------------------

    def _serve(self, head: RequestHead) -> None:
        self._head = head
        fields = head.fields
        self._body = Body(fields.has_body, fields.length, self._body_wanted)
        if self._body.complete:
            self._enter(Phase.RESPONSE)
        else:
            self._expect_body(fields)
        request = self._request = self._request_class(head, self._body, self)
        self._server.render(request)

    def _expect_body(self, fields: FieldBlock) -> None:
        self._framing = ChunkedReader(self._limits) if fields.chunked else LengthReader(fields.length or 0)
        self._continue = CONTINUE if fields.expects_continue else b""
        self._body_silence.relax()
        self._body_slowness.relax()
        self._enter(Phase.BODY)

    def _body_wanted(self) -> None:
        """Somebody wants the body, perhaps again."""
        go_ahead, self._continue = self._continue, b""
        if go_ahead and not self._unread and self._request is not None and not self._request.startedWriting:
            self._outlet.write(go_ahead)
        self._advance()

    def _abandon(self, error: BodyError) -> None:
        """The body cannot be read to its end."""
        self._unread = b""
        self._enter(Phase.ABANDONED)
        self._body.failed(error)

    def _conclude(self) -> None:
        """The client has taken the response in full."""
        request, self._request = self._request, None
        assert request is not None
        self._note(request, request.code)
        request.gone_out()
        if self._phase is not Phase.RESPONSE:
            self._linger()
        elif self._persistent and not self._input_ended:
            self._enter(Phase.IDLE)
            self._advance()
        else:
            self.close()

    def _note(self, request: Request, status: int) -> None:
        self._server.answered(self.transport, self._head, status, request.sent_length)

    # --- the exchange that a request sees ----------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether the client has not taken yet what was sent."""
        return self._outlet.pending

    def keeps_alive(self, delimited: bool) -> bool:
        """See `Exchange.keeps_alive`."""
        if self._phase is Phase.BODY and self._body.untouched and not self._continue:
            self._swallow_body()
        self._persistent = (
            delimited
            and self._phase is Phase.RESPONSE
            and self._head.fields.keep_alive
            and not self._server.draining
        )
        return self._persistent

    def _swallow_body(self) -> None:
        """Read a body that nobody asked for, if it is at hand."""
        self._body.discard()
        while self._unread and self._phase is Phase.BODY and self._read_body():
            pass

    def send(self, data: bytes, more: bool = False) -> None:
        """Send bytes to the client."""
        self._outlet.write(data, more)

    def send_file(self, descriptor: int, start: int, stop: int) -> Deferred[None]:
        """Send a range of a file to the client."""
        assert isinstance(self._outlet, SocketOutlet)
        return self._outlet.write_file(descriptor, start, stop)

    def responded(self) -> None:
        """The response is complete; conclude when the client has taken it."""
        self._when_drained(self._conclude)

    def _when_drained(self, action: Callable[[], None]) -> None:
        if self._phase is Phase.GONE:
            return
        if self._outlet.pending:
            self._on_drained = action
        else:
            action()

    def _drained(self) -> None:
        action, self._on_drained = self._on_drained, None
        if action is not None:
            action()
        elif self._request is not None:
            self._request.drained()

    # --- the end ----------------------------------------------------------------------------------

    def _reject(self, status: int, reason: str, *fields: Field) -> None:
        """Answer what is no request, and end."""
        self._unread = b""
        self._enter(Phase.LINGER)
        self._server.answered(self.transport, None, status, 0)
        self._outlet.write(format_refusal(status, reason, *fields))
        self._when_drained(self._linger)

    def _linger(self) -> None:
        """Close our side, and drop a bounded rest of theirs."""
        self._enter(Phase.LINGER)
        self._outlet.finish()
        self._advance()

    def close_if_idle(self) -> None:
        """Close the connection unless a request is under way."""
        if self._phase is Phase.IDLE:
            self.close()

    def close(self) -> None:
        """Close the connection in good order."""
        if self._unread:
            self._linger()
        else:
            self._enter(Phase.LINGER)
            self._outlet.close()

    def abort(self) -> None:
        """Close the connection at once."""
        if self._phase is not Phase.GONE:
            self._phase = Phase.GONE
            self._unread = b""
            self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        """Twisted says: the client sends no more, but may still read."""
        self._input_ended = True
        if self._phase in (Phase.IDLE, Phase.HEAD, Phase.LINGER):
            self.transport.loseConnection()
        elif self._phase is not Phase.RESPONSE:
            self.abort()

    def writeConnectionLost(self) -> None:
        """Twisted says: our side is closed."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted says: the connection is gone."""
        self._phase = Phase.GONE
        self._unread = b""
        request, self._request = self._request, None
        if request is not None:
            self._note(request, request.code if request.startedWriting else CLIENT_CLOSED)
            self._body.failed(BodyLost())
            request.connection_lost(reason)
        self._outlet.lost()
        self._server.closed(self)

    # --- time -------------------------------------------------------------------------------------

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._since = self._server.now

    def tick(self, now: float) -> None:
        """Give up on a peer that has kept us waiting too long; called about once a second."""
        if not self._outlet.pending:
            self._write_silence.relax()
        elif self._write_silence.exhausted(now, self._outlet.taken):
            self.abort()
        if self._phase is Phase.BODY:
            self._check_body(now)
        elif self._phase in _PATIENCE:
            seconds, give_up = _PATIENCE[self._phase]
            if now - self._since > seconds(self._limits):
                give_up(self)

    def _check_body(self, now: float) -> None:
        if not self._body.wanting:
            self._body_silence.relax()
            self._body_slowness.relax()
        elif self._body_silence.exhausted(now, self._received) | self._body_slowness.exhausted(
            now, self._received
        ):
            self._abandon(BodyStalled())

    def _head_timed_out(self) -> None:
        self._reject(408, "the request took too long to arrive")


_READERS: dict[Phase, Callable[[Channel], bool]] = {
    Phase.IDLE: Channel._read_head,
    Phase.HEAD: Channel._read_head,
    Phase.BODY: Channel._read_body,
    Phase.RESPONSE: Channel._hold,
    Phase.ABANDONED: Channel._drop,
    Phase.LINGER: Channel._drop,
    Phase.GONE: Channel._drop,
}

_PATIENCE: dict[Phase, tuple[Callable[[Limits], float], Callable[[Channel], None]]] = {
    Phase.IDLE: (lambda limits: limits.idle, Channel.close),
    Phase.HEAD: (lambda limits: limits.head_time, Channel._head_timed_out),
    Phase.ABANDONED: (lambda limits: limits.write_silence, Channel.abort),
    Phase.LINGER: (lambda limits: limits.linger_time, Channel.abort),
}
