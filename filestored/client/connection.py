"""One connection to a server: HTTP/1.1 by ``http.client``, with a look for the response while a body is sent.

A server may refuse an upload before it has read it. So the input is polled before each block, and a response
ends the sending.
"""

import http.client
import io
import select
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from filestored.client.address import PORTS, ServerAddress
from filestored.client.errors import TransferError

CONNECT_SECONDS = 10.0
"""Maximum time for a new connection."""

STALL_SECONDS = 120.0
"""Maximum time in which a connection takes or delivers no byte."""

ANSWER_SECONDS = 600.0
"""Maximum time for a response to an upload that was sent: a slow disk flushes gigabytes."""

EXPECT_SECONDS = 1.0
"""Time for ``100 Continue``, after which the body is sent all the same (RFC 9110 section 10.1.1)."""

RECEIVE_BYTES = 1 << 16
"""Bytes of a response head that are received at once."""

MAX_INTERIM_BYTES = 1 << 16
"""Maximum size of the head of an interim response."""


class ResponseArrived(Exception):
    """Raised while a body is sent: the response has begun, and no more of the body is needed."""


class Body(Protocol):
    """Body of a request."""

    fields: Mapping[str, str]

    def send(self, line: "ClientSocket") -> None:
        """Send it. Raises `ResponseArrived`, `FileError` and errors of sockets."""


class ClientSocket:
    """Socket of a connection, whose input can be polled; it never blocks, but waits by poll(2)."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._socket.setblocking(False)
        self._received = bytearray()
        self._ended = False
        self._answer_seconds = STALL_SECONDS

    def sendall(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._send(rest, select.POLLOUT) :]

    def send_block(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes of a body. Raises `ResponseArrived`."""
        rest = memoryview(data)
        while rest:
            self._check()
            rest = rest[self._send(rest, select.POLLIN | select.POLLOUT) :]

    def wait_for_continue(self) -> None:
        """Wait for ``100 Continue``, for a while. Raises `ResponseArrived` for a response."""
        if self._is_ready(select.POLLIN, EXPECT_SECONDS):
            self._check()

    def wait_for_data(self, descriptor: int) -> None:
        """Wait until a pipe or a device can be read. Raises `ResponseArrived`, also after `shut_down`."""
        poll = select.poll()
        for each in (descriptor, self._socket.fileno()):
            poll.register(each, select.POLLIN)
        while descriptor not in dict(poll.poll()):
            self._check()

    def poll(self) -> bool:
        """Receive what has arrived; return whether a response has begun, or the input ended.

        Interim responses are dropped.
        """
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except _WOULD_BLOCK:
            return bool(self._received) and self._has_response()
        self._ended = self._ended or not data
        self._received += data
        return self._has_response()

    def wait_for_response(self) -> None:
        """Wait until a response has begun that is not an interim one, or the input ended."""
        while not (self._has_response() or self.poll()):
            self._wait(select.POLLIN, self._answer_seconds)

    def wait_longer(self) -> None:
        """Allow more time for the response to an upload."""
        self._answer_seconds = ANSWER_SECONDS

    def recv_into(self, buffer: memoryview) -> int:
        """Receive bytes into a buffer; return their number."""
        if self._received:
            size = min(len(buffer), len(self._received))
            buffer[:size] = self._received[:size]
            del self._received[:size]
            return size
        while True:
            try:
                return self._socket.recv_into(buffer)
            except _WOULD_BLOCK:
                self._wait(select.POLLIN, self._answer_seconds)

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the input as a file, for `http.client`."""
        return _Reader(_RawReader(self), RECEIVE_BYTES)

    def shut_down(self) -> None:
        """End sending and receiving, also of another thread."""
        with suppress(OSError):  # it is closed
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Do nothing: `http.client` calls it before it reads a response that ends with the connection."""

    def disconnect(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _send(self, data: memoryview, events: int) -> int:
        """Send some bytes, or wait for these events; return the number of bytes sent."""
        try:
            return self._socket.send(data)
        except _WOULD_BLOCK:
            self._wait(events, STALL_SECONDS)
            return 0

    def _check(self) -> None:
        if self.poll():
            raise ResponseArrived

    def _wait(self, events: int, seconds: float) -> None:
        if not self._is_ready(events, seconds):
            raise TimeoutError

    def _is_ready(self, events: int, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._socket.fileno(), events)
        return bool(poll.poll(seconds * 1000))

    def _has_response(self) -> bool:
        while self._received.startswith(b"HTTP/1.1 1"):
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return self._ended or len(self._received) > MAX_INTERIM_BYTES
            del self._received[: end + 4]
        return bool(self._received) or self._ended


_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _RawReader(io.RawIOBase):
    def __init__(self, line: ClientSocket) -> None:
        super().__init__()
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # of bytes only
        return self._line.recv_into(memoryview(buffer))


class _Reader(io.BufferedReader):
    """Buffered input that returns what has arrived, so that nothing is lost when the connection breaks."""

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # of bytes only
        return self.readinto1(buffer)


def read_body(response: http.client.HTTPResponse, limit: int) -> bytes:
    """Return the body of a response, or its first bytes if it has more than `limit`.

    ``read(limit)`` of a chunked body has no limit: a chunk may have a negative size.
    """
    if not response.chunked:
        return response.read(limit)
    data = bytearray()
    while len(data) < limit and (found := response.read1(limit - len(data))):
        data += found
    return bytes(data)


class Connection(http.client.HTTPConnection):
    """A connection to a server, opened by the first request."""

    def __init__(self, address: ServerAddress, context: ssl.SSLContext | None) -> None:
        self.default_port = PORTS[address.scheme]
        super().__init__(address.host, address.port)
        self._address = address
        self._context = context
        self.line: ClientSocket | None = None
        self._is_shut_down = False
        self._body_sent = True
        self._response: http.client.HTTPResponse | None = None

    def connect(self) -> None:
        """Open the connection. Raises `OSError`."""
        self.line = ClientSocket(_connected(self._address, self._context))
        self.sock = self.line
        if self._is_shut_down:
            self.line.shut_down()

    def exchange(
        self, method: str, target: str, fields: Mapping[str, str], body: Body | None
    ) -> http.client.HTTPResponse:
        """Send a request; return the response without its body.

        Raises `OSError` and `http.client.HTTPException`, and errors of the body.
        """
        self._response, self._body_sent = None, True
        self.putrequest(method, target)
        for name, value in {**fields, **(body.fields if body else {})}.items():
            self.putheader(name, value)
        self.endheaders()
        if body is not None and self.line is not None:
            self._send(body, self.line)
        if self.line is not None:
            self.line.wait_for_response()
        self._response = self.getresponse()
        if self._response.status < 300 and not self._body_sent:
            raise TransferError("the server has responded before it got all bytes")
        return self._response

    def is_usable(self) -> bool:
        """Return whether an idle connection can be used for another request."""
        return self.line is not None and not self.line.poll()

    def is_finished(self) -> bool:
        """Return whether the last request and its response are complete, and the connection is open."""
        received = self._response is not None and self._response.isclosed()
        return received and self._body_sent and self.sock is not None

    def shut_down(self) -> None:
        """End the request of another thread with an error, also if it is still connecting."""
        self._is_shut_down = True
        if self.line is not None:
            self.line.shut_down()

    def disconnect(self) -> None:
        """Close the connection, and the response."""
        self.close()
        if self.line is not None:
            self.line.disconnect()

    def _send(self, body: Body, line: ClientSocket) -> None:
        """Send a body, unless a response comes before its end."""
        self._body_sent = False
        try:
            body.send(line)
            self._body_sent = True
        except ResponseArrived:
            return
        except (ConnectionError, TimeoutError, ssl.SSLError):
            if not line.poll():
                raise
        line.wait_longer()


def _connected(address: ServerAddress, context: ssl.SSLContext | None) -> socket.socket:
    if address.socket:
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(CONNECT_SECONDS)
        try:
            line.connect(address.socket)
        except BaseException:
            line.close()
            raise
        return line
    line = socket.create_connection((address.host, address.port), CONNECT_SECONDS)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is None:
        return line
    try:
        return context.wrap_socket(line, server_hostname=address.host)
    except BaseException:
        line.close()
        raise
