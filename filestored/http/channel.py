"""HTTP/1.1 on one connection: input becomes requests, responses become output.

A connection is always in one state, and each state has one reader for the input:

    IDLE -> HEAD -> BODY -> RESPONSE -> IDLE ...        and at the end LINGER -> CLOSED

A request is rendered at the end of its head, one at a time, so pipelined requests are answered in order.
Input that no reader takes yet waits in the `InputBuffer`.

An exchange that cannot be read to its end (an early refusal, broken framing) is answered with
``Connection: close`` and is the last one. The channel then closes its sending side first and discards input
for a bounded time (RFC 9112 section 9.6): a client that sends all of a body before it reads would lose the
response to a reset.
"""

from collections.abc import Callable
from math import inf
from time import monotonic, time
from typing import ParamSpec, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.errors import BodyError, BodyMalformed, BodyStalled
from filestored.http.body import RequestBody
from filestored.http.eviction import rank
from filestored.http.input_buffer import InputBuffer
from filestored.http.parser.forwarded import TrustedProxies
from filestored.http.parser.framing import ChunkedReader, LengthReader
from filestored.http.parser.headers import BadRequest, Field, Headers
from filestored.http.parser.request_head import RequestHead, RequestHeadParser
from filestored.http.parser.request_id import new_request_ids
from filestored.http.protocols import ActiveResponse, ChannelOwner, Rank
from filestored.http.request import FileSendingRequest, Request
from filestored.http.response import PreformattedHeaders, format_error
from filestored.http.response_cache import CachedResponse, CacheLookup, ResponseCache, SentFromCache, Span
from filestored.http.state import ConnectionState
from filestored.http.timeouts import Timeouts
from filestored.http.transport.output import IStreamTransport, Output, SocketOutput, make_output
from filestored.http.transport.receive_size import LARGE_BODY_BYTES
from filestored.http.transport.sendfile import INLINE_FILE_MAX_BYTES
from filestored.interfaces import AccessEntry, IBlob, IFileSource
from filestored.request_context import call_for_request

P = ParamSpec("P")

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLIENT_CLOSED = 499
"""Status in the access log of a request whose client left before the response; never sent."""


@implementer(IHalfCloseableProtocol)
class HTTPChannel(Protocol):
    """One connection of an `HTTPFactory`; the `ResponseWriter` of its requests."""

    transport: IStreamTransport
    _output: Output

    def __init__(self, server: ChannelOwner) -> None:
        self._server = server
        self._metrics = server.metrics
        self._hits = None if self._metrics is None else self._metrics.hits
        self._limits = server.limits
        self._timeouts = Timeouts(server.limits)
        self._set_state(ConnectionState.IDLE)
        self._heads = RequestHeadParser(server.limits)
        self._on_drained: Callable[[], None] | None = None
        self._response: ActiveResponse | None = None
        self._persistent = False
        self._large_body = False
        self._taken_before = 0
        """Value of ``taken`` of the output at the start of the request."""

    def connectionMade(self) -> None:
        """Register with the server, which may have no room for the connection."""
        self._input = InputBuffer(self.transport, self._read, self._input_ended, self._server.call_soon)
        self._output = make_output(self.transport, self._output_drained)
        self._peer: str | None = None
        self._proxies: TrustedProxies | None = None
        sends_files = isinstance(self._output, SocketOutput)
        self._request_class = FileSendingRequest if sends_files else Request
        cache = self._server.cache_for(self.transport.getHost()) if sends_files else _NO_CACHE
        self._lookup = CacheLookup(cache, self._limits)
        self._from_cache = SentFromCache()
        if not self._server.opened(self):
            if self._metrics is not None:
                self._metrics.connection_refused()
            self._reject(503, "too many connections", (b"Retry-After", b"1"))

    def _client_host(self, head: bytes) -> str:
        """Return the address of the client of a request, whose header lines are in `head`.

        It is that of the peer, which a PROXY header before the first request may name, unless the peer is a
        trusted proxy.
        """
        if self._peer is None:
            peer, proxies = self.transport.getPeer(), self._server.trusted_proxies
            self._peer = getattr(peer, "host", "-")
            self._proxies = proxies if proxies is not None and proxies.trusts(peer) else None
        return self._peer if self._proxies is None else self._proxies.client_of(head, self._peer)

    def _set_state(self, state: ConnectionState) -> None:
        self._state = state
        self._state_since = self._server.now

    # --- input ----------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Append to the input and process it; answer a request whose response is cached at once."""
        buffer = self._input
        if self._state is ConnectionState.IDLE and not buffer.data:
            cached = self._lookup.find(data)
            if cached is not None and self._send_cached(cached):
                return
        buffer.data = buffer.data + data if buffer.data else data
        buffer.process()

    def _read(self) -> bool:
        return _READERS[self._state](self)

    def _read_head(self) -> bool:
        data, self._input.data = self._input.data, b""
        try:
            found = self._heads.feed(data)
        except BadRequest as error:
            self._reject(error.status, error.reason)
            return False
        if found is None:
            state = ConnectionState.HEAD if self._heads.began else ConnectionState.IDLE
            if state is not self._state:
                self._set_state(state)
            return False
        head, self._input.data = found
        self._start_request(head)
        return True

    def _read_body(self) -> bool:
        if not self._body.wanting:
            return False
        data, self._input.data = self._input.data, b""
        try:
            body, self._input.data, complete = self._framing.feed(data)
        except BodyMalformed as error:
            self._fail_body(error)
            return False
        self._body_size += len(body)
        if self._metrics is not None:
            self._metrics.received(len(body))
        if complete:
            self._restore_receive_size()
            self._set_state(ConnectionState.RESPONSE)
        if body:
            self._call_for_request(self._body.received, body)
        if complete:
            self._call_for_request(self._body.ended)
        elif self._input.data:
            self._input.defer()
            return False
        return True

    def _wait(self) -> bool:
        return False

    def _discard_input(self) -> bool:
        self._input.discard()
        return False

    # --- one request ----------------------------------------------------------------------------

    def _send_cached(self, cached: CachedResponse) -> bool:
        """Send a cached response, or the requested range of it; False when it cannot be sent."""
        span, log = self._lookup.span, self._server.access_log
        response = self._response = self._from_cache
        response.request_id = request_id = self._lookup.request_id or next(new_request_ids)
        response.code = 200 if span is None else 206
        if log is not None:
            response.description = cached.describe(log, span)
            self._head_at = monotonic()
        hits, sent = self._hits, self._cached_sent
        if hits is not None and cached.size > INLINE_FILE_MAX_BYTES:
            sent = self._time_large_hit(cached.size, span)
            hits = None
        self._state = ConnectionState.RESPONSE
        output = cast("SocketOutput", self._output)  # other connections have no cache
        if not cached.send(output, span, request_id, self.abort):
            self._response = None
            response.sent_length = 0
            self._state = ConnectionState.IDLE
            return False
        self._persistent = True
        if hits is not None:
            hits.add(cached.size if span is None else min(span[1], cached.size) - span[0])
        if output.pending:
            self._on_drained = sent
        elif self._state is ConnectionState.RESPONSE:  # sending may have failed, and aborted the connection
            sent()
        return True

    def _time_large_hit(self, size: int, span: Span | None) -> Callable[[], None]:
        """Note the beginning of a large cached response; return the function to call when it was sent."""
        self._from_cache.sent_length = size if span is None else min(span[1], size) - span[0]
        self._head_at = self._first_byte_at = monotonic()  # the first byte is sent at once
        self._taken_before = self._output.taken
        return self._large_hit_sent

    def _large_hit_sent(self) -> None:
        """Count a large cached response, and continue."""
        self._count_response(self._from_cache, self._from_cache.code)
        self._from_cache.sent_length = 0
        self._cached_sent()

    def _cached_sent(self) -> None:
        """Continue after a cached response: as `_response_done`, with fewer calls in the usual case."""
        if self._input.data or self._input.ended or self._server.draining:
            self._response_done()
            return
        log, self._response = self._server.access_log, None
        if log is not None:
            response = self._from_cache
            assert response.description is not None, "it was described"
            client = self._client_host(self._lookup.block)
            log.log(time(), client, response.description, monotonic() - self._head_at, response.request_id)
        self._state = ConnectionState.IDLE
        self._state_since = self._server.now

    def _start_request(self, head: RequestHead) -> None:
        self._head = head
        self._head_at = monotonic()
        self._taken_before = self._output.taken
        fields = head.fields
        self._body = RequestBody(fields.has_body, fields.length, self._on_body_wanted, self._read_whole_body)
        if self._body.complete:
            self._set_state(ConnectionState.RESPONSE)
        else:
            self._start_body(fields)
        request = self._response = self._request_class(head, self._body, self)
        call_for_request(request.request_id, self._server.render, request)

    def _call_for_request(self, function: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call a function on behalf of the present request."""
        response = self._response
        call_for_request(response.request_id if response is not None else b"", function, *args, **kwargs)

    def _start_body(self, fields: Headers) -> None:
        length = fields.length
        self._body_size = 0
        self._framing = ChunkedReader(self._limits) if fields.chunked else LengthReader(length or 0)
        self._continue = CONTINUE if fields.expects_continue else b""
        if self._timeouts.measures_body:
            self._timeouts.reset_body()
        self._large_body = length is None or length > LARGE_BODY_BYTES
        if self._large_body:
            self._server.receive_sizes.begin(self.transport)
        self._set_state(ConnectionState.BODY)

    def _restore_receive_size(self) -> None:
        if self._large_body:
            self._large_body = False
            self._server.receive_sizes.end(self.transport)

    def _on_body_wanted(self) -> None:
        """Send ``100 Continue`` if it is due, and process the input."""
        go_ahead, self._continue = self._continue, b""
        response = self._response
        if go_ahead and not self._input.data and response is not None and not response.startedWriting:
            self._output.write(go_ahead)
        self._input.process()

    def _read_whole_body(self) -> bytes | None:
        """Return the body if its length is known and all of it is in the input; no part was read before."""
        length, data = self._body.length, self._input.data
        if length is None or len(data) < length:
            return None
        self._input.data = data[length:]
        if self._metrics is not None:
            self._metrics.received(length)
        if self._large_body:
            self._restore_receive_size()
        self._set_state(ConnectionState.RESPONSE)
        return data[:length]

    def _fail_body(self, error: BodyError) -> None:
        """End a body that cannot be read to its end."""
        self._input.data = b""
        self._set_state(ConnectionState.BODY_FAILED)
        self._call_for_request(self._body.failed, error)

    def _response_done(self) -> None:
        """Log the response, which the client has received; continue with the next request, or close."""
        response, self._response = self._response, None
        assert response is not None
        self._log_response(response, response.code)
        if self._metrics is not None and response is not self._from_cache:  # which has been counted
            self._count_response(response, response.code)
        response.sent()
        if self._state is not ConnectionState.RESPONSE:
            self._restore_receive_size()
            self._linger()
        elif self._persistent and (self._input.data or not self._input.ended):
            self._set_state(ConnectionState.IDLE)
            self._input.process()
            if self._server.draining and not self._input.data:
                self.close_if_idle()
        elif self._input.ended:
            self.close()
        else:  # what the client may still send must not reset the connection before it has the response
            self._linger()

    # --- ResponseWriter -------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """See `ResponseWriter.pending`."""
        return self._output.pending

    def cache_response(self, headers: PreformattedHeaders, reopen: Callable[[], IBlob], size: int) -> None:
        """See `ResponseWriter.cache_response`."""
        self._lookup.add(self._head, headers, reopen, size)

    def keeps_alive(self, delimited: bool) -> bool:
        """See `ResponseWriter.keeps_alive`."""
        self._first_byte_at = monotonic() if self._metrics is not None else 0.0
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
        """Read a body that the resource did not ask for, if all of it is in the input and of few chunks."""
        self._body.discard()
        if self._input.data:
            self._read_body()

    def send(self, data: bytes, more: bool = False) -> None:
        """See `ResponseWriter.send`."""
        self._output.write(data, more)

    def send_file(self, source: IFileSource, start: int, stop: int) -> Deferred[None] | None:
        """See `ResponseWriter.send_file`."""
        assert isinstance(self._output, SocketOutput)
        return self._output.write_file(source, start, stop)

    def response_finished(self) -> None:
        """See `ResponseWriter.response_finished`."""
        self._when_drained(self._response_done)

    def _when_drained(self, action: Callable[[], None]) -> None:
        """Call `action` as soon as all output has been sent."""
        if self._state is ConnectionState.CLOSED:
            return
        if self._output.pending:
            self._on_drained = action
        else:
            action()

    def _output_drained(self) -> None:
        action, self._on_drained = self._on_drained, None
        if action is not None:
            action()
        elif self._response is not None:
            self._call_for_request(self._response.resume)

    def _log_response(self, response: ActiveResponse, status: int) -> None:
        """Write the request and its response to the access log."""
        log = self._server.access_log
        if log is None:
            return
        if response.description is None:
            head, headers = self._head, self._head.fields.last
            referer, agent = headers.get(b"referer"), headers.get(b"user-agent")
            size = response.sent_length
            entry = AccessEntry(head.method, head.target, head.version, status, size, referer, agent)
            response.description = log.format_entry(entry)
        client = self._client_host(self._lookup.block if response is self._from_cache else self._head.raw)
        log.log(time(), client, response.description, monotonic() - self._head_at, response.request_id)

    def _count_response(self, response: ActiveResponse, status: int, lost: bool = False) -> None:
        """Count the request and its response in the metrics; of a lost one the bytes that were taken."""
        metrics = self._metrics
        if metrics is None:
            return
        sent = response.sent_length
        if lost and isinstance(self._output, SocketOutput):
            sent = min(sent, self._output.taken - self._taken_before)
        seconds = monotonic() - self._head_at
        method = b"GET" if response is self._from_cache else self._head.method
        first_byte = self._first_byte_at - self._head_at if response.startedWriting else None
        metrics.response(method, status, response.refusal, seconds, first_byte, sent)

    # --- end of the connection ------------------------------------------------------------------

    def _reject(self, status: int, reason: str, *fields: Field) -> None:
        """Answer input that is no request, or a connection too many, and end the connection."""
        self._input.data = b""
        self._set_state(ConnectionState.LINGER)
        if self._metrics is not None:
            self._metrics.rejected(status)
        log, request_id = self._server.access_log, next(new_request_ids)
        if log is not None:
            entry = AccessEntry(b"-", b"-", b"-", status, 0, None, None)
            log.log(time(), self._client_host(b""), log.format_entry(entry), 0.0, request_id)
        self._output.write(format_error(status, reason, *fields, (b"X-Request-Id", request_id)))
        self._when_drained(self._linger)

    def close_if_idle(self) -> None:
        """See `ManagedConnection.close_if_idle`."""
        if self._state is ConnectionState.IDLE and not self._input.data:
            self.close()

    def close(self) -> None:
        """Close the connection after all output; linger if there is input."""
        if self._input.data:
            self._linger()
        else:
            self._set_state(ConnectionState.LINGER)
            self._output.close()

    def _linger(self) -> None:
        """Close the sending side, and discard input for a bounded time."""
        self._set_state(ConnectionState.LINGER)
        self._output.finish()
        self._input.process()

    def abort(self) -> None:
        """Close the connection at once."""
        if self._state is not ConnectionState.CLOSED:
            self._state = ConnectionState.CLOSED
            self._input.close()
            self._on_drained = None
            self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        """Handle a client that has closed its sending side, and may still read."""
        self._input.end()

    def _input_ended(self) -> None:
        if self._state in (ConnectionState.IDLE, ConnectionState.HEAD, ConnectionState.LINGER):
            self.transport.loseConnection()
        elif self._state is not ConnectionState.RESPONSE:
            self.abort()
        elif self._response is not None:
            self._response.sender_closed()

    def writeConnectionLost(self) -> None:
        """Ignore the end of this side, which the channel has closed itself."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the response and the server; log a response that was not sent in full."""
        self._state = ConnectionState.CLOSED
        self._input.close()
        self._restore_receive_size()
        response, self._response = self._response, None
        if response is not None:
            status = response.code if response.startedWriting else CLIENT_CLOSED
            self._log_response(response, status)
            if response is not self._from_cache or response.sent_length:  # else it has been counted
                self._count_response(response, status, lost=True)
            call_for_request(response.request_id, response.connection_lost, reason)
        self._output.lost()
        self._server.closed(self)

    # --- timeouts -------------------------------------------------------------------------------

    def check_timeouts(self, now: float) -> None:
        """See `ManagedConnection.check_timeouts`."""
        if self._timeouts.write_expired(self._output.pending, now, self._output.taken):
            self.abort()
        elif self._state is ConnectionState.BODY:
            if self._timeouts.body_expired(self._body.wanting, now, self._body_size):
                self._fail_body(BodyStalled())
        elif self._state is ConnectionState.LINGER:
            seconds = now - self._state_since
            if self._timeouts.linger_expired(now, seconds, self._input.discarded, self._server.draining):
                self._output.end_linger()
        elif self._timeouts.is_expired(self._state, now - self._state_since):
            self.expire()

    def expire(self) -> None:
        """See `ManagedConnection.expire`."""
        if self._state is ConnectionState.IDLE:
            self.close()
        elif self._state is ConnectionState.BODY:
            self._fail_body(BodyStalled())
        elif self._state is ConnectionState.HEAD:
            self._reject(408, "the request took too long to arrive")
        else:
            self.abort()

    def eviction_rank(self, now: float) -> Rank | None:
        """See `ManagedConnection.eviction_rank`."""
        arriving = self._state is ConnectionState.BODY and self._body.wanting
        rate = self._timeouts.body_rate(now, self._body_size) if arriving else inf
        stalled = self._timeouts.write_stalled_seconds(now)
        return rank(self._state, now - self._state_since, stalled, rate)


_NO_CACHE = ResponseCache(0)
"""For connections that cannot send files: each head is parsed."""

_READERS: dict[ConnectionState, Callable[[HTTPChannel], bool]] = {
    ConnectionState.IDLE: HTTPChannel._read_head,
    ConnectionState.HEAD: HTTPChannel._read_head,
    ConnectionState.BODY: HTTPChannel._read_body,
    ConnectionState.RESPONSE: HTTPChannel._wait,
    ConnectionState.BODY_FAILED: HTTPChannel._discard_input,
    ConnectionState.LINGER: HTTPChannel._discard_input,
    ConnectionState.CLOSED: HTTPChannel._discard_input,
}
"""The reader of each state; it returns whether the loop continues."""
