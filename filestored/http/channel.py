"""Requests and responses on a connection: bytes become requests, responses become bytes.

Requests are rendered at the end of their head, one at a time, so that pipelined ones are
answered strictly in order. While the response to one is under way, or the consumer of its body
has enough, nothing more is read.

An exchange that cannot be read to its end (an early refusal, broken framing) is answered with
``Connection: close`` and is the last one.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from filestored.errors import BodyError, BodyLost, BodyMalformed, BodyStalled
from filestored.http.body import Body
from filestored.http.connection import Connection
from filestored.http.fields import BadRequest, Field, FieldBlock
from filestored.http.framing import ChunkedReader, LengthReader
from filestored.http.head import HeadReader, RequestHead
from filestored.http.outlet import SocketOutlet
from filestored.http.phase import Phase
from filestored.http.request import FileTakingRequest, Request
from filestored.http.response import format_refusal
from filestored.http.roles import Server

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLIENT_CLOSED = 499
"""What the access log says of a request whose client left before the answer; never sent."""


class Channel(Connection):
    """Serves HTTP/1.1 on one connection, for an `HTTPFactory`."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._heads = HeadReader(server.limits)
        self._request: Request | None = None
        self._persistent = False

    def connectionMade(self) -> None:
        """Twisted says: the connection is there."""
        super().connectionMade()
        self._request_class = FileTakingRequest if isinstance(self._outlet, SocketOutlet) else Request
        if not self._server.opened(self):
            self._reject(503, "too many connections", (b"Retry-After", b"1"))

    # --- bytes come in --------------------------------------------------------------------------

    def _read(self) -> bool:
        return _READERS[self._phase](self)

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
        self._patience.expect_body()
        self._outlet.expect(fields.length)
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

    def _wants_more(self) -> None:
        if self._request is not None:
            self._request.drained()

    # --- the end ----------------------------------------------------------------------------------

    def _reject(self, status: int, reason: str, *fields: Field) -> None:
        """Answer what is no request, and end."""
        self._unread = b""
        self._enter(Phase.LINGER)
        self._server.answered(self.transport, None, status, 0)
        self._outlet.write(format_refusal(status, reason, *fields))
        self._when_drained(self._linger)

    def _lost(self, reason: Failure) -> None:
        request, self._request = self._request, None
        if request is not None:
            self._note(request, request.code if request.startedWriting else CLIENT_CLOSED)
            self._body.failed(BodyLost())
            request.connection_lost(reason)

    # --- time -------------------------------------------------------------------------------------

    def _check_body(self, now: float) -> None:
        if self._patience.body_stalls(self._body.wanting, now, self._received):
            self._abandon(BodyStalled())

    def _give_up(self) -> None:
        if self._phase is Phase.IDLE:
            self.close()
        elif self._phase is Phase.HEAD:
            self._reject(408, "the request took too long to arrive")
        else:
            self.abort()


_READERS: dict[Phase, Callable[[Channel], bool]] = {
    Phase.IDLE: Channel._read_head,
    Phase.HEAD: Channel._read_head,
    Phase.BODY: Channel._read_body,
    Phase.RESPONSE: Channel._hold,
    Phase.ABANDONED: Channel._drop,
    Phase.LINGER: Channel._drop,
    Phase.GONE: Channel._drop,
}
