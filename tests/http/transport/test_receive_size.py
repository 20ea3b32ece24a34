"""Receive sizes of large bodies, few and many of them, on real sockets."""

import socket
from contextlib import ExitStack

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.tcp import Connection
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from filestored.http.factory import HTTPFactory
from filestored.http.transport.receive_size import LARGE_BODY_BYTES, MAX_FAST_BODIES, MAX_READ_BYTES
from tests.reactor_wait import until

USUAL = Connection.bufferSize
LENGTH = b"Content-Length: %d"
CHUNKED = b"Transfer-Encoding: chunked"


class BodySink(Resource):
    """Discards each body, and keeps the connections on which they arrive."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.transports = []
        self.waiting = None

    def render_POST(self, request):
        request.body.discard()
        request.notifyFinish().addBoth(lambda _: None)
        self.transports.append(request.transport)
        if self.waiting and len(self.transports) == self.waiting[0]:
            self.waiting[1].callback(None)
        return NOT_DONE_YET

    async def have(self, number):
        """Wait until so many bodies have begun."""
        if len(self.transports) < number:
            self.waiting = number, Deferred()
            await self.waiting[1]

    @property
    def sizes(self):
        return {transport.bufferSize for transport in self.transports}


@pytest.fixture
def sink():
    return BodySink()


@pytest.fixture
def begin(sink):
    """A function that begins a body on a new connection and returns the client's socket."""
    factory = HTTPFactory(sink, reactor)
    port = reactor.listenTCP(0, factory, interface="127.0.0.1", backlog=100)
    with ExitStack() as clients:

        def connect(field):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", port.getHost().port)))
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + field + b"\r\n\r\n")
            return client

        yield connect
    pytest_twisted.blockon(port.stopListening())
    factory.abort()
    pytest_twisted.blockon(factory.drain())


@pytest.mark.parametrize(
    ("field", "size"),
    [
        (LENGTH % LARGE_BODY_BYTES, USUAL),
        (LENGTH % (LARGE_BODY_BYTES + 1), MAX_READ_BYTES),
        (LENGTH % (1 << 40), MAX_READ_BYTES),
        (CHUNKED, MAX_READ_BYTES),
    ],
)
@pytest_twisted.ensureDeferred
async def test_receive_size_by_length_of_the_body(sink, begin, field, size):
    begin(field)
    await sink.have(1)
    assert {size} == sink.sizes


@pytest_twisted.ensureDeferred
async def test_receive_size_shrinks_while_many_large_bodies_arrive(sink, begin):
    clients = [begin(CHUNKED) for _ in range(MAX_FAST_BODIES)]
    await sink.have(MAX_FAST_BODIES)
    assert {MAX_READ_BYTES} == sink.sizes
    clients.append(begin(CHUNKED))
    await sink.have(MAX_FAST_BODIES + 1)
    assert {LARGE_BODY_BYTES} == sink.sizes
    clients.pop().close()
    await until(lambda: sink.sizes == {MAX_READ_BYTES, USUAL})


@pytest_twisted.ensureDeferred
async def test_receive_size_is_restored_after_the_body(sink, begin):
    client = begin(CHUNKED)
    await sink.have(1)
    client.sendall(b"0\r\n\r\n")
    await until(lambda: sink.sizes == {USUAL})
