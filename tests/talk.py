"""A client on a blocking socket: raw bytes go out, whole answers come back, one after the other."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

PATIENCE = 30.0
"""Seconds after which a server that says nothing fails the test."""


@dataclass(frozen=True)
class Reply:
    """One answer: its head as it came, the empty line included, and its body."""

    head: bytes
    body: bytes

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.head.split(b" ", 2)[1])

    @property
    def fields(self) -> dict[bytes, bytes]:
        """The fields by their names in lower case."""
        lines = (line.split(b": ", 1) for line in self.head.split(b"\r\n")[1:-2])
        return {name.lower(): value for name, value in lines}

    @property
    def undated(self) -> tuple[list[bytes], bytes]:
        """All of it but the date."""
        return [line for line in self.head.split(b"\r\n") if not line.startswith(b"Date: ")], self.body


class Talk:
    """The client's end of one connection. Close it, or use it in a ``with``."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        self.connection = connection
        self._unread = b""

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def say(self, data: bytes) -> None:
        """Send bytes, all in one piece."""
        self.connection.sendall(data)

    def hear(self, bodiless: bool = False) -> Reply:
        """The next answer; raises `EOFError` when it breaks off, and `ConnectionError`."""
        while b"\r\n\r\n" not in self._unread:
            self._more()
        head, _, rest = self._unread.partition(b"\r\n\r\n")
        reply = Reply(head + b"\r\n\r\n", b"")
        length = 0 if bodiless or reply.status == 304 else int(reply.fields[b"content-length"])
        body = bytearray(rest)
        while len(body) < length:
            body += self._piece()
        self._unread = bytes(body[length:])
        return Reply(reply.head, bytes(body[:length]))

    def ask(self, request: bytes) -> Reply:
        """Send a request, and read its answer."""
        self.say(request)
        return self.hear(request.startswith(b"HEAD "))

    def ended(self) -> bool:
        """Whether nothing more comes but the end of the connection; waits for it."""
        try:
            return not self._unread and not self.connection.recv(1)
        except ConnectionResetError:
            return True

    def _more(self) -> None:
        self._unread += self._piece()

    def _piece(self) -> bytes:
        piece = self.connection.recv(1 << 18)
        if not piece:
            raise EOFError
        return piece


def question(target: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body."""
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: h", *fields, "", ""]).encode()


def talk(port: int, receive_buffer: int | None = None) -> Talk:
    """A new connection to a port on loopback."""
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect(("127.0.0.1", port))
    return Talk(connection)


def asking(port: int, *requests: bytes) -> "Deferred[list[Reply]]":
    """The answers to requests that follow each other on one new connection; asked in a thread."""

    def converse() -> list[Reply]:
        with talk(port) as client:
            return [client.ask(request) for request in requests]

    return deferToThread(converse)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that a server in the reactor is about to do."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await deferToThread(time.sleep, 0.005)
