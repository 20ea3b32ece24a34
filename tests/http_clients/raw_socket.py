"""HTTP client on a raw socket: sends exactly the bytes of a test, and parses the responses.

Rejected: an HTTP library; all refuse to send most of these requests.
"""

import socket
from collections.abc import Iterable
from typing import Self

from tests.http_clients.response import Response, ResponseParser

TIMEOUT = 20.0
"""Timeout of a response on a busy machine."""


class RawSocketClient:
    """One connection to a server on loopback."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes, until the server closes."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def finish(self) -> None:
        """Half-close the connection."""
        self.socket.shutdown(socket.SHUT_WR)

    def read_response(self, method: str = "GET") -> Response:
        """Read the next response, to a request with this method."""
        parser = ResponseParser(method)
        response = parser.feed(self._rest) if self._rest else None
        while response is None:
            response = parser.feed(self.socket.recv(65536))
        self._rest = parser.remainder
        return response

    def interim(self) -> bytes:
        """Receive the next bytes."""
        return self.socket.recv(65536)

    def remainder(self) -> bytes:
        """Receive all bytes until the server closes or resets."""
        parts = [self._rest]
        try:
            while data := self.socket.recv(65536):
                parts.append(data)
        except ConnectionResetError:
            pass
        return b"".join(parts)


def head(method: str, target: str, fields: Iterable[str] = ()) -> bytes:
    """Return the head of a request with a ``Host``."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *fields, "", ""]).encode("latin-1")


def ask(port: int, method: str, target: str, *fields: str, body: bytes | None = None) -> Response:
    """Send one request on a new connection; read its response."""
    announced = () if body is None else (f"Content-Length: {len(body)}",)
    with RawSocketClient(port) as peer:
        peer.send(head(method, target, [*fields, *announced]) + (body or b""))
        return peer.read_response(method)


def form(content: bytes, filename: str = "x", boundary: str = "frontier") -> bytes:
    """Return a form with one file, for `FORM`."""
    disposition = f'Content-Disposition: form-data; name="file"; filename="{filename}"'
    opening = f"--{boundary}\r\n{disposition}\r\nContent-Type: text/plain\r\n\r\n"
    return opening.encode() + content + f"\r\n--{boundary}--\r\n".encode()


FORM = "Content-Type: multipart/form-data; boundary=frontier"
RAW = "Content-Type: application/octet-stream"
JSON = "Accept: application/json"


def chunked(*parts: bytes) -> bytes:
    """Return a chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
