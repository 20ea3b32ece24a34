"""A kept connection to a daemon, opened anew after a response that closes it."""

from typing import Self

from tests.http_clients.raw_socket import RawSocketClient, head
from tests.http_clients.response import Response


class KeptConnection:
    """Sends requests that follow each other; call it as `tests.access.wire.matrix.Ask`. Close it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._peer = RawSocketClient(port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._peer.socket.close()

    def __call__(
        self, method: str, target: str, lines: tuple[str, ...] = (), body: bytes | None = None
    ) -> Response:
        """Send one request, and read its response."""
        length = () if body is None else (f"Content-Length: {len(body)}",)
        self._peer.send(head(method, target, [*lines, *length]) + (body or b""))
        answer = self._peer.read_response(method)
        if answer.fields.get("connection") == "close":
            self._peer.socket.close()
            self._peer = RawSocketClient(self._port)
        return answer

    @property
    def local_port(self) -> int:
        """The port of this end."""
        port: int = self._peer.socket.getsockname()[1]
        return port
