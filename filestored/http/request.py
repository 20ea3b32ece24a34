"""Request and response of one exchange, as a `twisted.web` resource sees them.

In: a `RequestHead` and a `RequestBody`. Out: one head and one stream of bytes, given to a `ResponseWriter`.
No resource can split a response: line breaks in header values are replaced. A response that turns out shorter
or longer than announced ends the connection, so that no client takes it for a whole one.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import cast
from urllib.parse import parse_qsl, unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProducer, IPullProducer, IPushProducer
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from zope.interface import implementer

from filestored.errors import BodyLost
from filestored.http.body import RequestBody
from filestored.http.parser.request_head import RequestHead
from filestored.http.parser.request_id import find_request_id, new_request_ids
from filestored.http.protocols import IRenderable, ResponseWriter
from filestored.http.rendering import fail_request, render
from filestored.http.response import format_head, request_id_line
from filestored.http.transport.sendfile import INLINE_FILE_MAX_BYTES, read_range
from filestored.http.twisted_compat import PullToPush, TwistedRequest
from filestored.interfaces import CacheScope, IBlob, ICacheable, IFileSender, IFileSource
from filestored.metrics.refusals import Refusal

BODILESS = (204, 304)
"""Statuses of responses that have no body (RFC 9110 section 6.4.1)."""

MAX_JOINED_BYTES = 64 * 1024
"""Maximum size of a piece that is joined with the head; copying a larger one takes longer than a call."""

_LAST_CHUNK = b"0\r\n\r\n"


@implementer(IRenderable)
class Request(TwistedRequest):
    """A request that is answered through `write` and `finish`; `received` are the last values of its headers.

    Attributes that most requests never change are class attributes, which makes a request cheap to create.
    """

    startedWriting = False
    finished = False
    sent_length = 0
    description: str | None = None
    refusal: Refusal | None = None
    _announced: int | None = None
    _chunked = False
    _lost = False
    _producer: IPushProducer | None = None
    _finish_waiters: tuple[Deferred[None], ...] = ()
    _cacheable: tuple[Callable[[], IBlob], int] | None = None
    cache_scope = CacheScope.PUBLIC
    _left = False
    _on_left: Callable[[], None] | None = None

    def __init__(self, head: RequestHead, body: RequestBody, writer: ResponseWriter) -> None:
        path = head.path
        self.method = head.method
        self.uri = head.target
        self.path = path
        self.clientproto = head.version
        self.body = body
        self.received = head.fields.last
        self.transport = writer.transport
        self.prepath = []
        self.postpath = path[1:].split(b"/")
        if b"%" in path:
            self.postpath = [unquote_to_bytes(segment) for segment in self.postpath]
        self._head = head
        self._lines = {}
        self._writer = writer
        self._bodiless = head.method == b"HEAD"

    # --- the request ----------------------------------------------------------------------------

    @cached_property
    def request_id(self) -> bytes:
        """See `IStreamedRequest.request_id`."""
        return find_request_id(self._head.raw) or next(new_request_ids)

    @cached_property
    def args(self) -> dict[bytes, list[bytes]]:
        """Names and values of the query, decoded. Only ``&`` separates fields."""
        args: dict[bytes, list[bytes]] = {}
        query = self._head.query.decode("ascii")
        for name, value in parse_qsl(query, keep_blank_values=True, encoding="latin-1"):
            args.setdefault(name.encode("latin-1"), []).append(value.encode("latin-1"))
        return args

    def getHeader(self, key: bytes | str) -> bytes | str | None:
        """Return the last value of a header, of the type of its name, or None."""
        if isinstance(key, bytes):
            return self._head.fields.last.get(key.lower())
        value = self._head.fields.last.get(key.lower().encode())
        return None if value is None else value.decode("utf-8", "replace")

    def getAllHeaders(self) -> dict[bytes, bytes]:
        """Return the last value of each header."""
        return dict(self._head.fields.last)

    def header(self, name: bytes) -> bytes | None:
        """See `IStreamedRequest.header`."""
        headers = self._head.fields
        if name not in headers.last or len(headers.last) == len(headers.lines):
            return headers.last.get(name)
        return b", ".join(headers.values(name))

    def header_values(self, name: bytes) -> Sequence[bytes]:
        """See `IStreamedRequest.header_values`."""
        return self._head.fields.values(name)

    def getHost(self) -> IAddress:
        """Return the local address of the connection."""
        return self.transport.getHost()

    def getRequestHostname(self) -> bytes:
        """Return the host of the ``Host`` header, without a port."""
        value = self._head.fields.last.get(b"host")
        if not value:
            return str(getattr(self.getHost(), "host", "localhost")).encode()
        if value.startswith(b"["):
            return value[1:].partition(b"]")[0]
        return value.partition(b":")[0]

    # --- the response ---------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send a piece of the body; the head is sent before the first."""
        if self._lost:
            return
        head = b"" if self.startedWriting else self._start_response()
        if self._bodiless:
            data = b""
        self.sent_length += len(data)
        if self._chunked and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if head or data:
            if head and len(data) > MAX_JOINED_BYTES:
                self._writer.send(head, more=True)
                self._writer.send(data)
            else:
                self._writer.send(head + data)
            if self._producer is not None:
                self._pause_if_behind()

    def finish(self) -> None:
        """Complete the response."""
        if self._lost:
            return
        if self.finished:
            raise RuntimeError("the response has been finished already")
        if not self.startedWriting:
            if not (self._bodiless or self.code in BODILESS or self.has(b"content-length")):
                self.setHeader(b"Content-Length", b"0")
            self._writer.send(self._start_response() + (_LAST_CHUNK if self._chunked else b""))
        elif self._chunked:
            self._writer.send(_LAST_CHUNK)
        self.finished = True
        if self._bodiless or self._announced in (None, self.sent_length):
            self._writer.response_finished()
        else:
            self._writer.abort()

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer 500; see `twisted.web.server.Request.processingFailed`."""
        fail_request(self, reason)
        return reason

    def render(self, resource: IResource) -> None:
        """Have another resource answer; see `twisted.web.server.Request.render`."""
        render(resource, self)

    def abort(self) -> None:
        """See `IStreamedRequest.abort`."""
        self._writer.abort()

    def on_disconnect(self, action: Callable[[], None]) -> None:
        """See `IStreamedRequest.on_disconnect`."""
        if self._left:
            action()
        else:
            self._on_left = action

    def notifyFinish(self) -> Deferred[None]:
        """See `IStreamedRequest.notifyFinish`."""
        waiter: Deferred[None] = Deferred()
        self._finish_waiters += (waiter,)
        return waiter

    def _start_response(self) -> bytes:
        """Return the head of the response, and decide how its end is marked."""
        self.startedWriting = True
        self._announced = self.content_length()
        self._bodiless = self._bodiless or self.code in BODILESS
        http11 = self.clientproto == b"HTTP/1.1"
        self._chunked = self._announced is None and not self._bodiless and http11
        delimited = self._bodiless or self._chunked or self._announced is not None
        lines = [*self._lines.values(), request_id_line(self.request_id)]
        if self._chunked:
            lines.append(b"Transfer-Encoding: chunked")
        if not self._writer.keeps_alive(delimited):
            lines.append(b"Connection: close")
        elif not http11:
            lines.append(b"Connection: keep-alive")
        elif self._cacheable is not None and self._is_whole_or_range():
            self._writer.cache_response(self._lines, *self._cacheable)
        return format_head(self.code, self.code_message, lines)

    def _is_whole_or_range(self) -> bool:
        """Return whether the response has a whole body, or a single range of it."""
        return not self._bodiless and (self.code == 200 or (self.code == 206 and self.has(b"content-range")))

    # --- IConsumer ------------------------------------------------------------------------------

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Have `producer` write the rest of the body, paused while the client is behind."""
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        if self._lost:
            producer.stopProducing()
            return
        self._producer = (
            cast("IPushProducer", producer) if streaming else PullToPush(cast("IPullProducer", producer))
        )
        self._pause_if_behind()

    def unregisterProducer(self) -> None:
        """Release the producer, which has written everything."""
        producer, self._producer = self._producer, None
        if isinstance(producer, PullToPush):
            producer.unregistered()

    def _pause_if_behind(self) -> None:
        if self._producer is not None and self._writer.pending:
            self._producer.pauseProducing()

    # --- ActiveResponse -------------------------------------------------------------------------

    def resume(self) -> None:
        """See `ActiveResponse.resume`."""
        if self._producer is not None:
            self._producer.resumeProducing()

    def sent(self) -> None:
        """See `ActiveResponse.sent`."""
        waiters, self._finish_waiters = self._finish_waiters, ()
        for waiter in waiters:
            waiter.callback(None)

    def sender_closed(self) -> None:
        """See `ActiveResponse.sender_closed`."""
        self._left = True
        action, self._on_left = self._on_left, None
        if action is not None:
            action()

    def connection_lost(self, reason: Failure) -> None:
        """See `ActiveResponse.connection_lost`."""
        self._lost = True
        self.sender_closed()
        self.body.failed(BodyLost())
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        waiters, self._finish_waiters = self._finish_waiters, ()
        for waiter in waiters:
            waiter.errback(reason)


@implementer(IFileSender, ICacheable)
class FileSendingRequest(Request):
    """A request on a connection that sends files itself."""

    def write_file(self, source: IFileSource, start: int, stop: int) -> Deferred[None] | None:
        """See `IFileSender.write_file`."""
        if self._lost:
            return None
        if self._bodiless or start == stop:
            self.write(b"")
            return None
        if stop - start <= INLINE_FILE_MAX_BYTES and not source.slow:
            self.write(read_range(source, start, stop))
            return None
        head = b"" if self.startedWriting else self._start_response()
        self.sent_length += stop - start
        if self._chunked:
            head += b"%x\r\n" % (stop - start)
        self._writer.send(head, more=True)
        done = self._writer.send_file(source, start, stop)
        if self._chunked:
            self._writer.send(b"\r\n")
        return done

    def cache_with(self, reopen: Callable[[], IBlob], size: int) -> None:
        """See `ICacheable.cache_with`."""
        self._cacheable = reopen, size
