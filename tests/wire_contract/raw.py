"""A client on a bare socket: exactly these bytes go out, and what comes back is read by h11.

What flows in: bytes that a test has written by hand. What flows out: `Reply`, or the fact that the
server has closed its side. Nothing here mends, repeats or hides anything.

Rejected: an HTTP library, all of which refuse to send what most of these tests are about.
"""

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import h11

PATIENCE = 20.0
"""How many seconds an answer may take on a busy machine."""


@dataclass
class Reply:
    """One final response, and the statuses of the interim ones before it."""

    status: int
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    interim: list[int] = field(default_factory=list)


class Peer:
    """One connection to a server on loopback."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send all bytes, or as many as the server takes before it hangs up."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def finish(self) -> None:
        """Say that no more bytes will come."""
        self.socket.shutdown(socket.SHUT_WR)

    def answer(self, method: str = "GET") -> Reply:
        """Read the next response, as that to a request with this method."""
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        reader.send(h11.EndOfMessage())
        if self._rest:
            reader.receive_data(self._rest)
        answer = Reply(0)
        while not isinstance(event := self._next(reader), h11.EndOfMessage):
            _note(event, answer)
        self._rest = reader.trailing_data[0]
        return answer

    def interim(self) -> bytes:
        """Whatever bytes come next."""
        return self.socket.recv(65536)

    def remainder(self) -> bytes:
        """All bytes until the server closes its side; a reset is an end as well."""
        parts = [self._rest]
        try:
            while data := self.socket.recv(65536):
                parts.append(data)
        except ConnectionResetError:
            pass
        return b"".join(parts)

    def _next(self, reader: h11.Connection) -> object:
        while (event := reader.next_event()) is h11.NEED_DATA:
            reader.receive_data(self.socket.recv(65536))
        return event


def _note(event: object, answer: Reply) -> None:
    match event:
        case h11.InformationalResponse():
            answer.interim.append(event.status_code)
        case h11.Response():
            answer.status = event.status_code
            answer.fields = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        case h11.Data():
            answer.body += event.data
        case _:
            raise AssertionError(f"not part of a response: {event}")


def head(method: str, target: str, fields: Iterable[str] = ()) -> bytes:
    """The head of a request in HTTP/1.1, with a ``Host``."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *fields, "", ""]).encode("latin-1")


def ask(port: int, method: str, target: str, *fields: str, body: bytes | None = None) -> Reply:
    """One request on a connection of its own; a body is announced with its length."""
    announced = () if body is None else (f"Content-Length: {len(body)}",)
    with Peer(port) as peer:
        peer.send(head(method, target, [*fields, *announced]) + (body or b""))
        return peer.answer(method)


def form(content: bytes, filename: str = "x", boundary: str = "frontier") -> bytes:
    """A form with one file, as `FORM` announces it."""
    disposition = f'Content-Disposition: form-data; name="file"; filename="{filename}"'
    opening = f"--{boundary}\r\n{disposition}\r\nContent-Type: text/plain\r\n\r\n"
    return opening.encode() + content + f"\r\n--{boundary}--\r\n".encode()


FORM = "Content-Type: multipart/form-data; boundary=frontier"
RAW = "Content-Type: application/octet-stream"
JSON = "Accept: application/json"


def chunked(*parts: bytes) -> bytes:
    """A body in these chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
