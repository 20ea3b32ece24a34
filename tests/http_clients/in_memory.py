"""HTTP client in memory: the real factory and channel on an in-memory transport, with a manual clock."""

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from filestored.http.factory import HTTPFactory
from filestored.http.limits import Limits
from tests.http_clients.response import Response, ResponseParser


class MemoryTransport(StringTransportWithDisconnection):
    """An in-memory transport that half-closes and aborts as a TCP transport does."""

    half_closed = False

    def loseWriteConnection(self):
        self.half_closed = True

    def abortConnection(self):
        if self.connected:
            super().abortConnection()
            self.loseConnection()


class InMemoryClient:
    """A client connection to `root`."""

    def __init__(self, root: IResource, limits: Limits | None = None, access_log=None):
        self.clock = Clock()
        self.factory = HTTPFactory(root, self.clock, limits, access_log)
        self.connect()

    def connect(self) -> None:
        """Open a new connection to the same server."""
        self.channel = self.factory.buildProtocol(None)
        self.transport = MemoryTransport()
        self.transport.protocol = self.channel
        self.channel.makeConnection(self.transport)

    @property
    def connected(self) -> bool:
        return self.transport.connected

    def send(self, data: bytes) -> None:
        """Send bytes with one call, unless the server has closed."""
        if self.connected:
            self.channel.dataReceived(data)
            self.run_reactor()

    def run_reactor(self) -> None:
        """Run delayed calls until none is due."""
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)

    def send_bytewise(self, data: bytes) -> None:
        """Send one byte after the other."""
        for position in range(len(data)):
            self.send(data[position : position + 1])

    def received(self) -> bytes:
        """Return and clear the received bytes."""
        data = self.transport.value()
        self.transport.clear()
        return data

    def disconnect(self) -> None:
        """Close the connection on the client side."""
        self.transport.connected = False
        self.channel.connectionLost(Failure(ConnectionDone()))

    def wait(self, seconds: float) -> None:
        """Let time pass, half a second at a time."""
        self.clock.pump([0.5] * round(seconds * 2))

    def ask(self, method: str, target: str, body: bytes | None = None, **fields: str) -> Response:
        """Send one request in HTTP/1.1 and read its response; underscores in field names are hyphens."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        if body is not None and "Transfer_Encoding" not in fields:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        (answer,) = self.answers(method)
        return answer

    def answers(self, *methods: str) -> list[Response]:
        """Parse the received responses to requests with these methods."""
        return parse_responses(self.received(), self.connected and not self.transport.disconnecting, *methods)


def parse_responses(data: bytes, connected: bool, *methods: str) -> list[Response]:
    """Parse responses; `connected` says whether more bytes may follow."""
    responses = []
    for method in methods:
        parser = ResponseParser(method)
        response = parser.feed(data) if data else None
        if response is None and not connected:
            response = parser.feed(b"")
        assert response is not None, "the response is incomplete"
        responses.append(response)
        data = parser.remainder
    return responses
