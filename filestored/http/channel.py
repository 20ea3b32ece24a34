"""Requests and responses on a connection: bytes become requests, responses become bytes.

Requests are rendered at the end of their head, one at a time, so that pipelined ones are
answered strictly in order. While the response to one is under way, or the consumer of its body
has enough, nothing more is read.

An exchange that cannot be read to its end (an early refusal, broken framing) is answered with
``Connection: close`` and is the last one.
"""

from collections.abc import Callable
from math import inf

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from filestored.errors import BodyError, BodyMalformed, BodyStalled
from filestored.http.body import RequestBody
from filestored.http.connection import Connection
from filestored.http.parser.framing import ChunkedReader, LengthReader
from filestored.http.parser.headers import BadRequest, Field, Headers
from filestored.http.parser.request_head import RequestHead, RequestHeadParser
from filestored.http.protocols import ActiveResponse, ChannelOwner
from filestored.http.request import FileSendingRequest, Request
from filestored.http.response import format_error
from filestored.http.response_cache import MAX_HEAD_BYTES, CachedResponse, ResponseCache
from filestored.http.state import ConnectionState
from filestored.http.transport.output import SocketOutput
from filestored.interfaces import IBlob, IFileSource, IInMemory

_log = Logger()

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLIENT_CLOSED = 499
"""What the access log says of a request whose client left before the answer; never sent."""


class HTTPChannel(Connection):
    """Serves HTTP/1.1 on one connection, for an `HTTPFactory`."""

    def __init__(self, server: ChannelOwner) -> None:
        super().__init__(server)
        self._heads = RequestHeadParser(server.limits)
        self._response: ActiveResponse | None = None
        self._persistent = False

    def connectionMade(self) -> None:
        """Twisted says: the connection is there."""
        super().connectionMade()
        self._peer: str = getattr(self.transport.getPeer(), "host", "-")
        takes_files = isinstance(self._output, SocketOutput)
        self._request_class = FileSendingRequest if takes_files else Request
        self._cache = self._server.cache_for(self.transport.getHost()) if takes_files else _NO_CACHE
        if not self._server.opened(self):
            self._reject(503, "too many connections", (b"Retry-After", b"1"))

    # --- bytes come in --------------------------------------------------------------------------

    def _read(self) -> bool:
        return _READERS[self._state](self)

    def _read_request(self) -> bool:
        """The first bytes of a request, which may be all there is to say."""
        if len(self._input) <= MAX_HEAD_BYTES:  # more would be hashed for nothing
            answer = self._cache.get(self._input)
            if answer is not None and self._send_cached(answer):
                return False
        self._set_state(ConnectionState.HEAD)
        return self._read_head()

    def _read_head(self) -> bool:
        data, self._input = self._input, b""
        try:
            found = self._heads.feed(data)
        except BadRequest as error:
            self._reject(error.status, error.reason)
            return False
        if found is None:
            return False
        head, self._input = found
        self._start_request(head)
        return True

    def _read_body(self) -> bool:
        if not self._body.wanting:
            return False
        data, self._input = self._input, b""
        try:
            body, self._input, complete = self._framing.feed(data)
        except BodyMalformed as error:
            self._fail_body(error)
            return False
        self._body_size += len(body)
        if complete:
            self._server.receive_sizes.end(self.transport)
            self._set_state(ConnectionState.RESPONSE)
        if body:
            self._body.received(body)
        if complete:
            self._body.ended()
        elif self._input:
            self._defer()
            return False
        return True

    def _wait(self) -> bool:
        return False

    # --- a question that was answered before ------------------------------------------------------

    def _send_cached(self, answer: CachedResponse) -> bool:
        """Give a known answer; False when it does not hold any more."""
        blob = answer.blob()
        if blob is None:
            self._cache.forget(answer)
            return False
        self._input = b""
        self._head, self._response, self._persistent = answer.head, answer, True
        self._set_state(ConnectionState.RESPONSE)
        if IInMemory.providedBy(blob):
            self.send(answer.response.now() + blob.data)
            blob.close()
        else:
            self._send_cached_file(answer, blob)
        self.response_finished()
        return True

    def _send_cached_file(self, answer: CachedResponse, blob: IBlob) -> None:
        self.send(answer.response.now(), more=blob.size > 0)
        try:
            sending = self.send_file(IFileSource(blob), 0, blob.size) if blob.size else None
        except OSError:
            sending = fail()
        if sending is None:
            blob.close()
        else:
            sending.addBoth(self._cached_file_sent, blob)

    def _cached_file_sent(self, outcome: Failure | None, blob: IBlob) -> None:
        """The file has gone out, or can't."""
        blob.close()
        if outcome is not None:
            _log.failure("a file could not be sent to its end", outcome)
            self.abort()

    # --- one request ------------------------------------------------------------------------------

    def _start_request(self, head: RequestHead) -> None:
        self._head = head
        fields = head.fields
        self._body = RequestBody(fields.has_body, fields.length, self._on_body_wanted)
        if self._body.complete:
            self._set_state(ConnectionState.RESPONSE)
        else:
            self._start_body(fields)
        request = self._response = self._request_class(head, self._body, self)
        self._server.render(request)

    def _start_body(self, fields: Headers) -> None:
        self._body_size = 0
        self._framing = ChunkedReader(self._limits) if fields.chunked else LengthReader(fields.length or 0)
        self._continue = CONTINUE if fields.expects_continue else b""
        self._timeouts.reset_body()
        self._server.receive_sizes.begin(self.transport, fields.length)
        self._set_state(ConnectionState.BODY)

    def _on_body_wanted(self) -> None:
        """Somebody wants the body, perhaps again."""
        go_ahead, self._continue = self._continue, b""
        if go_ahead and not self._input and self._response is not None and not self._response.startedWriting:
            self._output.write(go_ahead)
        self._process_input()

    def _fail_body(self, error: BodyError) -> None:
        """The body cannot be read to its end."""
        self._input = b""
        self._set_state(ConnectionState.BODY_FAILED)
        self._body.failed(error)

    def _response_done(self) -> None:
        """The client has taken the response in full."""
        response, self._response = self._response, None
        assert response is not None
        self._log_access(response, response.code)
        response.sent()
        if self._state is not ConnectionState.RESPONSE:
            self._server.receive_sizes.end(self.transport)
            self._linger()
        elif self._persistent and (self._input or not self._input_ended):
            self._set_state(ConnectionState.IDLE)
            self._process_input()
            if self._server.draining and not self._input:
                self.close_if_idle()
        else:
            self.close()

    def _log_access(self, response: ActiveResponse, status: int) -> None:
        self._server.log_response(self._peer, self._head, response, status)

    # --- the exchange that a request sees ----------------------------------------------------

    def cache_response(self, answer: CachedResponse) -> None:
        """See `ResponseWriter.cache_response`."""
        self._cache.add(answer)

    def keeps_alive(self, delimited: bool) -> bool:
        """See `ResponseWriter.keeps_alive`."""
        if self._state is ConnectionState.BODY and self._body.unread and not self._continue:
            self._drain_body()
        self._persistent = (
            delimited
            and self._state is ConnectionState.RESPONSE
            and self._head.fields.keep_alive
            and not self._server.draining
        )
        return self._persistent

    def _drain_body(self) -> None:
        """Read a body that was not asked for, if it is at hand and of few chunks."""
        self._body.discard()
        if self._input:
            self._read_body()

    def send(self, data: bytes, more: bool = False) -> None:
        """Send bytes to the client."""
        self._output.write(data, more)

    def send_file(self, source: IFileSource, start: int, stop: int) -> Deferred[None] | None:
        """See `ResponseWriter.send_file`."""
        assert isinstance(self._output, SocketOutput)
        return self._output.write_file(source, start, stop)

    def response_finished(self) -> None:
        """The response is complete; conclude when the client has taken it."""
        self._when_drained(self._response_done)

    def _output_drained(self) -> None:
        if self._response is not None:
            self._response.drained()

    def _sender_closed(self) -> None:
        if self._response is not None:
            self._response.sender_closed()

    # --- the end ----------------------------------------------------------------------------------

    def _reject(self, status: int, reason: str, *fields: Field) -> None:
        """Answer what is no request, and end."""
        self._input = b""
        self._set_state(ConnectionState.LINGER)
        self._server.log_refusal(self._peer, status)
        self._output.write(format_error(status, reason, *fields))
        self._when_drained(self._linger)

    def _lost(self, reason: Failure) -> None:
        self._server.receive_sizes.end(self.transport)
        response, self._response = self._response, None
        if response is not None:
            self._log_access(response, response.code if response.startedWriting else CLIENT_CLOSED)
            response.connection_lost(reason)

    # --- time -------------------------------------------------------------------------------------

    def _check_body(self, now: float) -> None:
        if self._timeouts.body_expired(self._body.wanting, now, self._body_size):
            self._fail_body(BodyStalled())

    def _body_rate(self, now: float) -> float:
        awaited = self._state is ConnectionState.BODY and self._body.wanting
        return self._timeouts.body_rate(now, self._body_size) if awaited else inf

    def expire(self) -> None:
        """See `filestored.http.protocols.Connection.expire`."""
        if self._state is ConnectionState.IDLE:
            self.close()
        elif self._state is ConnectionState.BODY:
            self._fail_body(BodyStalled())
        elif self._state is ConnectionState.HEAD:
            self._reject(408, "the request took too long to arrive")
        else:
            self.abort()


_NO_CACHE = ResponseCache(0)
"""For connections that cannot take files: they have every head read."""

_READERS: dict[ConnectionState, Callable[[HTTPChannel], bool]] = {
    ConnectionState.IDLE: HTTPChannel._read_request,
    ConnectionState.HEAD: HTTPChannel._read_head,
    ConnectionState.BODY: HTTPChannel._read_body,
    ConnectionState.RESPONSE: HTTPChannel._wait,
    ConnectionState.BODY_FAILED: HTTPChannel._discard_input,
    ConnectionState.LINGER: HTTPChannel._discard_input,
    ConnectionState.CLOSED: HTTPChannel._discard_input,
}
