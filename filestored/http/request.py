"""The request that a `twisted.web` resource is rendered with.

What a resource says (`setHeader`, `write`, `finish`) becomes one head and one stream of bytes,
given to the connection as an `ResponseWriter`. Field values are made safe on the way out: no resource
can split a response. One that turns out shorter or longer than announced ends the connection
instead of being taken for whole.
"""

import os
from collections.abc import Callable
from errno import EIO
from math import ceil, inf
from time import monotonic
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProducer, IPullProducer, IPushProducer
from twisted.python.failure import Failure
from twisted.web.http import CACHED, datetimeToString, stringToDatetime
from twisted.web.resource import IResource
from zope.interface import implementer

from filestored.errors import BodyLost
from filestored.http.body import RequestBody
from filestored.http.incoming import IncomingRequest
from filestored.http.parser.request_head import RequestHead
from filestored.http.protocols import IAnswerable, ResponseWriter
from filestored.http.rendering import fail_request, render
from filestored.http.response import CachedHead, ResponseHeaders, format_head
from filestored.http.response_cache import CachedResponse
from filestored.http.twisted_compat import PullToPush
from filestored.interfaces import IBlob, ICacheable, IFileSender, IFileSource

INLINE_FILE_MAX_BYTES = 16 * 1024
"""File ranges up to this size, in bytes, leave in one piece with the head."""

BODILESS = (204, 304)
"""Statuses of responses that have no body (RFC 9110 section 6.4.1)."""

_LAST_CHUNK = b"0\r\n\r\n"


@implementer(IAnswerable)
class Request(IncomingRequest, ResponseHeaders):
    """A request that is answered through `write` and `finish`.

    What most requests never change is a default of the class, so that making one costs little.
    """

    startedWriting = False
    finished = False
    sent_length = 0
    description: str | None = None
    _announced: int | None = None
    _chunked = False
    _lost = False
    _producer: IPushProducer | None = None
    _finish_waiters: tuple[Deferred[None], ...] = ()
    _last_modified = 0
    _reopen: Callable[[], IBlob] | None = None
    _left = False
    _on_left: Callable[[], None] | None = None

    def __init__(self, head: RequestHead, body: RequestBody, exchange: ResponseWriter) -> None:
        IncomingRequest.__init__(self, head, body, exchange.transport)
        self._lines = {}
        self._writer = exchange
        self._bodiless = head.method == b"HEAD"

    def write(self, data: bytes) -> None:
        """Send a piece of the response's body; the head goes before the first."""
        if self._lost:
            return
        piece = self._start_response() + self._frame(data)
        if piece:
            self._writer.send(piece)
            self._pause_if_behind()

    def finish(self) -> None:
        """The response is complete."""
        if self._lost:
            return
        if self.finished:
            raise RuntimeError("the response has been finished already")
        if not (
            self.startedWriting or self._bodiless or self.code in BODILESS or self.has(b"content-length")
        ):
            self.setHeader(b"Content-Length", b"0")
        if not self.startedWriting or self._chunked:
            self._writer.send(self._start_response() + (_LAST_CHUNK if self._chunked else b""))
        self.finished = True
        if self._bodiless or self._announced in (None, self.sent_length):
            self._writer.response_finished()
        else:
            self._writer.abort()

    def processingFailed(self, reason: Failure) -> Failure:
        """A resource has failed; see `twisted.web.server.Request.processingFailed`."""
        fail_request(self, reason)
        return reason

    def render(self, resource: IResource) -> None:
        """Have another resource answer; see `twisted.web.server.Request.render`."""
        render(resource, self)

    def abort(self) -> None:
        """See `IStreamedRequest.abort`."""
        self._writer.abort()

    def when_left(self, action: Callable[[], None]) -> None:
        """See `IStreamedRequest.when_left`."""
        if self._left:
            action()
        else:
            self._on_left = action

    def notifyFinish(self) -> Deferred[None]:
        """Fires when the response has gone out; fails when the connection was lost before."""
        waiter: Deferred[None] = Deferred()
        self._finish_waiters += (waiter,)
        return waiter

    def _start_response(self) -> bytes:
        """The head of the response before its first byte, nothing after."""
        if self.startedWriting:
            return b""
        self.startedWriting = True
        self._announced = self.content_length()
        self._bodiless = self._bodiless or self.code in BODILESS
        http11 = self.clientproto == b"HTTP/1.1"
        self._chunked = self._announced is None and not self._bodiless and http11
        delimited = self._bodiless or self._chunked or self._announced is not None
        lines = self.field_lines()
        if self._chunked:
            lines.append(b"Transfer-Encoding: chunked")
        if not self._writer.keeps_alive(delimited):
            lines.append(b"Connection: close")
        elif not http11:
            lines.append(b"Connection: keep-alive")
        elif self._reopen is not None:
            self._offer_to_cache(lines, self._reopen)
        return format_head(self.code, self.code_message, lines)

    def _offer_to_cache(self, lines: list[bytes], reopen: Callable[[], IBlob]) -> None:
        """Let the answer be given again, if it is a whole one to a question that was all head."""
        size, whole = self._announced, self.code == 200 and not self._bodiless
        if whole and size is not None and not self._head.fields.has_body:
            response = CachedHead(self.code, lines)
            self._writer.cache_response(CachedResponse(self._head, response, size, reopen))

    def _frame(self, data: bytes) -> bytes:
        if self._bodiless or not data:
            return b""
        self.sent_length += len(data)
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    # --- IConsumer ------------------------------------------------------------------------------

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Have the rest of the body written by `producer`, at the pace of the client."""
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
        """The producer has written everything."""
        producer, self._producer = self._producer, None
        if isinstance(producer, PullToPush):
            producer.unregistered()

    def _pause_if_behind(self) -> None:
        if self._producer is not None and self._writer.pending:
            self._producer.pauseProducing()

    # --- from the channel -----------------------------------------------------------------------

    def drained(self) -> None:
        """The client has taken everything that was sent so far."""
        if self._producer is not None:
            self._producer.resumeProducing()

    def sent(self) -> None:
        """The response has left."""
        for waiter in self._take_waiters():
            waiter.callback(None)

    def sender_closed(self) -> None:
        """The client has closed its sending side, or all of the connection."""
        self._left = True
        action, self._on_left = self._on_left, None
        if action is not None:
            action()

    def connection_lost(self, reason: Failure) -> None:
        """The connection was lost before the response had left."""
        self._lost = True
        self.sender_closed()
        self.body.failed(BodyLost())
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        for waiter in self._take_waiters():
            waiter.errback(reason)

    def _take_waiters(self) -> tuple[Deferred[None], ...]:
        waiters, self._finish_waiters = self._finish_waiters, ()
        return waiters

    # --- the old conditionals of IRequest ---------------------------------------------------

    def setLastModified(self, when: float) -> object:
        """See `twisted.web.iweb.IRequest.setLastModified`."""
        self._last_modified = max(self._last_modified, ceil(when))
        self.setHeader(b"Last-Modified", datetimeToString(self._last_modified))
        since = self._head.fields.last.get(b"if-modified-since")
        if since is None or _seconds(since) < self._last_modified:
            return None
        self.setResponseCode(304)
        return CACHED

    def setETag(self, etag: bytes) -> object:
        """See `twisted.web.iweb.IRequest.setETag`."""
        if etag:
            self.setHeader(b"ETag", etag)
        tags = (self._head.fields.last.get(b"if-none-match") or b"").replace(b",", b" ").split()
        if etag not in tags and b"*" not in tags:
            return None
        self.setResponseCode(304 if self.method in (b"GET", b"HEAD") else 412)
        return CACHED


def _seconds(date: bytes) -> float:
    """Seconds since the epoch; of a malformed date long ago."""
    try:
        return cast("int", stringToDatetime(date))
    except (ValueError, IndexError):
        return -inf


@implementer(IFileSender, ICacheable)
class FileSendingRequest(Request):
    """A request on a connection that sends files by itself."""

    def write_file(self, source: IFileSource, start: int, stop: int) -> Deferred[None] | None:
        """See `IFileSender.write_file`."""
        if self._lost:
            return None
        if self._bodiless or start == stop:
            self.write(b"")
            return None
        if stop - start <= INLINE_FILE_MAX_BYTES and not source.slow:
            self.write(_read(source, start, stop))
            return None
        head = self._start_response()
        self.sent_length += stop - start
        before, after = self._chunk_frame(stop - start)
        self._writer.send(head + before, more=True)
        done = self._writer.send_file(source, start, stop)
        if after:
            self._writer.send(after)
        return done

    def cache_with(self, reopen: Callable[[], IBlob]) -> None:
        """See `ICacheable.cache_with`."""
        self._reopen = reopen

    def _chunk_frame(self, size: int) -> tuple[bytes, bytes]:
        return (b"%x\r\n" % size, b"\r\n") if self._chunked else (b"", b"")


def _read(source: IFileSource, start: int, stop: int) -> bytes:
    began = monotonic()
    data = os.pread(source.fileno(), stop - start, start)
    source.record_latency(monotonic() - began)
    if len(data) < stop - start:
        raise OSError(EIO, "the file is shorter than it was")
    return data
