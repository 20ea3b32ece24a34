"""HTTP client on a blocking socket, for requests that follow each other."""

import socket

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.http_clients.response import Response, ResponseParser

TIMEOUT = 30.0
"""Timeout of a silent server."""


class BlockingClient:
    """One connection of a client. Close it, or use it in a ``with``."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT)
        self.connection = connection
        self._rest = b""

    def __enter__(self) -> "BlockingClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def send(self, data: bytes) -> None:
        """Send bytes with one call."""
        self.connection.sendall(data)

    def read_response(self, method: str = "GET") -> Response:
        """Read the next response. Raises `ConnectionError`, or `EOFError` with the part that came."""
        parser = ResponseParser(method)
        data, self._rest = self._rest, b""
        response = parser.feed(data) if data else None
        while response is None:
            data = self.connection.recv(1 << 18)
            if not data:
                raise EOFError(parser.response)
            response = parser.feed(data)
        self._rest = parser.remainder
        return response

    def request(self, request: bytes) -> Response:
        """Send a request, and read its response."""
        self.send(request)
        return self.read_response("HEAD" if request.startswith(b"HEAD ") else "GET")

    def ended(self) -> bool:
        """Wait for the end of the connection; return False if bytes arrive instead."""
        try:
            return not self._rest and not self.connection.recv(1)
        except ConnectionResetError:
            return True


def request_head(target: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """Return a request without a body."""
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: h", *fields, "", ""]).encode()


def connect(port: int, receive_buffer: int | None = None) -> BlockingClient:
    """Connect to a port on loopback."""
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect(("127.0.0.1", port))
    return BlockingClient(connection)


def request_in_thread(port: int, *requests: bytes) -> "Deferred[list[Response]]":
    """Send requests on one new connection, in a thread; fires with the responses."""

    def send_all() -> list[Response]:
        with connect(port) as client:
            return [client.request(request) for request in requests]

    return deferToThread(send_all)
