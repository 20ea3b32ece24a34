"""Response of an HTTP server, shared by all test clients, and its parser."""

from dataclasses import dataclass, field

import h11


@dataclass
class Response:
    """One final response, and the statuses of the interim ones before it.

    `fields` maps lower-case names to the last value of each; `lines` are all names and values as received.
    """

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    interim: list[int] = field(default_factory=list)
    lines: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def undated(self) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, lines and body, without the date and the request id, which each response has for itself."""
        lines = [line for line in self.lines if line[0].lower() not in (b"date", b"x-request-id")]
        return self.status, lines, self.body

    @property
    def undated_fields(self) -> dict[str, str]:
        """The fields without these two."""
        return {name: value for name, value in self.fields.items() if name not in ("date", "x-request-id")}


class ResponseParser:
    """Parses the response to one request with this method, by h11; `response` is what came of it so far."""

    def __init__(self, method: str = "GET") -> None:
        self._connection = h11.Connection(h11.CLIENT)
        self._connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        self._connection.send(h11.EndOfMessage())
        self.response = Response()
        self._body: list[bytes] = []

    @property
    def remainder(self) -> bytes:
        """The bytes after the response."""
        return bytes(self._connection.trailing_data[0])

    def feed(self, data: bytes | None) -> Response | None:
        """Parse more bytes, None at the end of input; return the response once it is complete."""
        if data is not None:
            self._connection.receive_data(data)
        while (event := self._connection.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.EndOfMessage):
                self.response.body = b"".join(self._body)
                return self.response
            self._handle(event)
        return None

    def _handle(self, event: object) -> None:
        match event:
            case h11.InformationalResponse():
                self.response.interim.append(event.status_code)
            case h11.Response():
                self.response.status = event.status_code
                self.response.lines = event.headers.raw_items()
                self.response.fields = {
                    name.decode(): value.decode("latin-1") for name, value in event.headers
                }
            case h11.Data():
                self._body.append(bytes(event.data))
            case _:
                raise AssertionError(f"not part of a response: {event}")
