"""An HTTP connection in memory: raw bytes in, raw bytes out, time by hand.

The real channel on Twisted's in-memory transport; nothing of ours is replaced.
"""

from dataclasses import dataclass, field

import h11
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from filestored.http.factory import HTTPFactory
from filestored.http.limits import Limits


@dataclass
class Reply:
    """One response: status, fields by lower-case name (the last of each), and the whole body."""

    status: int
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class MemoryTransport(StringTransportWithDisconnection):
    """An in-memory transport that half-closes and aborts as a TCP transport does."""

    half_closed = False

    def loseWriteConnection(self):
        self.half_closed = True

    def abortConnection(self):
        if self.connected:
            super().abortConnection()
            self.loseConnection()


class Wire:
    """A client's end of a connection to `root`."""

    def __init__(self, root: IResource, limits: Limits | None = None, access_log=None):
        self.clock = Clock()
        self.factory = HTTPFactory(root, self.clock, limits, access_log)
        self.connect()

    def connect(self) -> None:
        """A new connection to the same server."""
        self.channel = self.factory.buildProtocol(None)
        self.transport = MemoryTransport()
        self.transport.protocol = self.channel
        self.channel.makeConnection(self.transport)

    @property
    def connected(self) -> bool:
        return self.transport.connected

    def send(self, data: bytes) -> None:
        """Send all bytes at once, unless the server has hung up."""
        if self.connected:
            self.channel.dataReceived(data)
            self.turn()

    def turn(self) -> None:
        """Pass turns of the reactor until no call is due."""
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)

    def send_bytewise(self, data: bytes) -> None:
        """Send one byte after the other."""
        for position in range(len(data)):
            self.send(data[position : position + 1])

    def received(self) -> bytes:
        """All bytes that came back since the last time."""
        data = self.transport.value()
        self.transport.clear()
        return data

    def hang_up(self) -> None:
        """The client vanishes."""
        self.transport.connected = False
        self.channel.connectionLost(Failure(ConnectionDone()))

    def wait(self, seconds: float) -> None:
        """Let time pass, half a second at a time."""
        self.clock.pump([0.5] * round(seconds * 2))

    def ask(self, method: str, target: str, body: bytes | None = None, **fields: str) -> Reply:
        """Send one request in HTTP/1.1 and read its response; underscores in field names are hyphens."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        if body is not None and "Transfer_Encoding" not in fields:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        (answer,) = self.answers(method)
        return answer

    def answers(self, *methods: str) -> list[Reply]:
        """Parse what came back, as the responses to requests with these methods."""
        return parse_answers(self.received(), self.connected and not self.transport.disconnecting, *methods)


def parse_answers(data: bytes, connected: bool, *methods: str) -> list[Reply]:
    """Parse responses with h11; `connected` says whether more bytes might still come."""
    answers = []
    client = h11.Connection(h11.CLIENT)
    client.receive_data(data)
    if not connected:
        client.receive_data(b"")
    for method in methods:
        client.send(h11.Request(method=method, target="/", headers=[("Host", "localhost")]))
        client.send(h11.EndOfMessage())
        answers.append(_next_answer(client))
        if client.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            client.start_next_cycle()
    return answers


def _next_answer(client: h11.Connection) -> Reply:
    event = client.next_event()
    while isinstance(event, h11.InformationalResponse):
        event = client.next_event()
    assert isinstance(event, h11.Response), event
    answer = Reply(
        event.status_code, {name.decode(): value.decode("latin-1") for name, value in event.headers}
    )
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data), event
        answer.body += event.data
    return answer
