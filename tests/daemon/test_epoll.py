"""Connections that a epoll_set watches: what happens to one, and what that means to all others."""

import os
import re
import resource
import signal
import socket
import ssl
import struct
import subprocess
from contextlib import ExitStack, suppress

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorFDSet, IReadDescriptor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from filestored.daemon.acceptor import accept_from
from filestored.daemon.epoll import MAX_BATCH, MAX_EVENTS, EpollSet
from filestored.daemon.listeners import Listeners, parse_endpoint
from tests.daemon_process import children
from tests.daemon_process import until as wait_until
from tests.http_clients.blocking import BlockingClient, connect, request_head
from tests.reactor_wait import until

DATA = os.urandom(1 << 20) * 3


class Peer(Protocol):
    """Test side of a connection: records its data and its end."""

    def __init__(self):
        self.received = b""
        self.ends = []

    def dataReceived(self, data):
        self.received += data

    def connectionLost(self, reason):
        self.ends.append(reason.type)


@implementer(IReadDescriptor)
class Reader:
    """Reads a descriptor, and calls a function."""

    def __init__(self, descriptor, action):
        self._descriptor, self._action = descriptor, action

    def fileno(self):
        return self._descriptor

    def doRead(self):
        os.read(self._descriptor, 10)
        self._action()


class Echo(Peer):
    def dataReceived(self, data):
        super().dataReceived(data)
        self.transport.write(data)


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Peer):
    """Answers once the other side has said all."""

    def readConnectionLost(self):
        self.transport.write(b"all of " + self.received)
        self.transport.loseConnection()

    def writeConnectionLost(self):
        pass


class FailsToRead(Peer):
    def dataReceived(self, data):
        raise RuntimeError("cannot read")


@implementer(IHalfCloseableProtocol)
class FailsAtTheEndOfInput(Peer):
    def readConnectionLost(self):
        raise RuntimeError("cannot hear the end")

    def writeConnectionLost(self):
        pass


class FailsToEnd(Peer):
    def connectionLost(self, reason):
        super().connectionLost(reason)
        raise RuntimeError("cannot end")


class FailsTwice(FailsToRead, FailsToEnd):
    pass


class Exits(Peer):
    def dataReceived(self, data):
        raise SystemExit("has read enough")


class ExitsAtTheEnd(Peer):
    def connectionLost(self, reason):
        super().connectionLost(reason)
        raise SystemExit("has had enough")


@pytest.fixture
def epoll_set():
    epoll_set = EpollSet(reactor)
    yield epoll_set
    left = [each for each in epoll_set.removeAll() if isinstance(getattr(each, "protocol", None), Protocol)]
    for each in left:
        each.connectionLost(Failure(ConnectionDone()))
    epoll_set.close()


@pytest.fixture
def join(epoll_set):
    """A function that makes a connection: a protocol in the epoll set, and a blocking socket."""
    with ExitStack() as opened:

        def make(protocol, watched_by=epoll_set):
            theirs, ours = socket.socketpair()
            opened.enter_context(theirs)
            theirs.settimeout(20)
            ours.setblocking(False)
            with ours:
                factory = Factory()
                factory.noisy = False
                factory.protocol = lambda: protocol
                watched_by.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, factory)
            return theirs

        yield make


@pytest.fixture
def failures():
    """The failures that are logged meanwhile, as texts."""
    texts = []

    def note(event):
        if "log_failure" in event:
            texts.append(str(event["log_failure"].value))

    globalLogPublisher.addObserver(note)
    yield texts
    globalLogPublisher.removeObserver(note)


async def turns(count=3):
    """Let the reactor turn."""
    for _ in range(count):
        await deferLater(reactor, 0)


def test_epoll_set_provides_the_reactor_interfaces(epoll_set):
    assert verifyObject(IReactorFDSet, epoll_set)
    assert verifyObject(IReadDescriptor, epoll_set)
    assert epoll_set in reactor.getReaders()
    assert epoll_set.seconds() <= reactor.seconds()


class Batched(Peer):
    """Answers after the events, and records the order in `order`."""

    def __init__(self, order):
        super().__init__()
        self.order = order

    def dataReceived(self, data):
        super().dataReceived(data)
        self.order.append("read")
        self.transport.reactor.call_after_events(self.answer)

    def answer(self):
        self.order.append("answer")
        self.transport.write(self.received)


@pytest_twisted.ensureDeferred
async def test_actions_after_events_are_called_behind_all_events_of_a_batch(join):
    order = []
    clients = [join(Batched(order)) for _ in range(3)]
    for client in clients:
        client.sendall(b"x")
    await until(lambda: len(order) == 6)
    assert ["read"] * 3 + ["answer"] * 3 == order
    assert [b"x"] * 3 == [client.recv(10) for client in clients]


@pytest_twisted.ensureDeferred
async def test_actions_after_events_wait_for_a_bounded_number_of_events(join):
    order = []
    clients = [join(Batched(order)) for _ in range(MAX_BATCH + 1)]
    for client in clients:
        client.sendall(b"x")
    await until(lambda: len(order) == 2 * len(clients))
    assert ["read"] * MAX_BATCH + ["answer"] * MAX_BATCH + ["read", "answer"] == order


@pytest_twisted.ensureDeferred
async def test_failed_action_after_events_does_not_affect_others(join, failures):
    class Failing(Batched):
        def answer(self):
            raise RuntimeError("cannot answer")

    order = []
    clients = [join(Failing(order)), join(Batched(order))]
    for client in clients:
        client.sendall(b"x")
    await until(lambda: "answer" in order)
    assert b"x" == clients[1].recv(10)
    assert ["cannot answer"] == failures


class Hits:
    """Hits of a batch; `order` receives what is done with them."""

    def __init__(self, order):
        self.count = 0
        self._order = order

    def write(self):
        self._order.append(f"{self.count} written")

    def add_durations(self):
        self._order.append("timed")
        self.count = 0


@pytest_twisted.ensureDeferred
async def test_hits_of_a_batch_are_written_before_its_actions_and_timed_after_them():
    order = []
    hits = Hits(order)
    epoll_set = EpollSet(reactor, hits)

    def hit():
        hits.count += 1
        epoll_set.call_after_events(lambda: order.append("answer"))

    first, second = os.pipe()
    epoll_set.addReader(Reader(first, hit))
    os.write(second, b"x")
    await until(lambda: "timed" in order)
    assert ["1 written", "answer", "timed"] == order
    epoll_set.close()
    os.close(first)
    os.close(second)


def test_close_is_idempotent():
    epoll_set = EpollSet(reactor)
    epoll_set.close()
    epoll_set.close()
    assert -1 == epoll_set.fileno()
    assert epoll_set not in reactor.getReaders()


@pytest_twisted.ensureDeferred
async def test_echo_returns_any_amount_of_data(join):
    peer = Echo()
    theirs = join(peer)

    def converse():
        received = bytearray()
        theirs.setblocking(False)
        position = 0
        while len(received) < len(DATA):
            with suppress(BlockingIOError):
                position += theirs.send(DATA[position : position + (1 << 16)])
            with suppress(BlockingIOError):
                received += theirs.recv(1 << 16)
        return bytes(received)

    assert DATA == await deferToThread(converse)
    assert DATA == peer.received


@pytest_twisted.ensureDeferred
async def test_readers_and_writers_are_listed(epoll_set, join):
    peer = Peer()
    join(peer)
    assert ([peer.transport], []) == (epoll_set.getReaders(), epoll_set.getWriters())
    assert peer.transport not in reactor.getReaders()
    peer.transport.write(b"x" * (4 << 20))
    assert [peer.transport] == epoll_set.getReaders() == epoll_set.getWriters()
    peer.transport.pauseProducing()
    assert ([], [peer.transport]) == (epoll_set.getReaders(), epoll_set.getWriters())
    peer.transport.connectionLost(Failure(ConnectionDone()))
    assert ([], []) == (epoll_set.getReaders(), epoll_set.getWriters())


@pytest_twisted.ensureDeferred
async def test_paused_reader_gets_no_events_until_resumed(join):
    peer, other = Peer(), Peer()
    theirs, others = join(peer), join(other)
    peer.transport.pauseProducing()
    theirs.send(b"waits")
    others.send(b"comes")
    await until(lambda: b"comes" == other.received)
    assert b"" == peer.received
    peer.transport.resumeProducing()
    await until(lambda: b"waits" == peer.received)


@pytest_twisted.ensureDeferred
async def test_reader_paused_during_a_dispatch_loses_no_data(join):
    class Pausing(Peer):
        def dataReceived(self, data):
            super().dataReceived(data)
            for each in group:
                if each is not self:
                    each.transport.pauseProducing()

    group = [Pausing(), Pausing()]
    for theirs in [join(each) for each in group]:
        theirs.send(b"x")
    await turns()
    for each in group:
        each.transport.resumeProducing()
    await until(lambda: [b"x", b"x"] == [each.received for each in group])


@pytest_twisted.ensureDeferred
async def test_a_half_closed_connection_can_still_be_written_to(join):
    peer = HalfCloseable()
    theirs = join(peer)
    theirs.send(b"it")
    theirs.shutdown(socket.SHUT_WR)
    assert b"all of it" == await deferToThread(theirs.recv, 100)
    await until(lambda: [ConnectionDone] == peer.ends)


@pytest_twisted.ensureDeferred
async def test_end_of_input_closes_a_protocol_without_half_close(join):
    peer = Peer()
    join(peer).close()
    await until(lambda: [ConnectionDone] == peer.ends)


@pytest.mark.parametrize("state", ["reading", "writing", "both"])
@pytest_twisted.ensureDeferred
async def test_reset_closes_the_connection(epoll_set, state):
    peer = Peer()
    endpoint = "tcp:0:interface=127.0.0.1"
    opened = Listeners([(endpoint, parse_endpoint(reactor, endpoint))])
    opened.open()
    factory = Factory()
    factory.noisy = False
    factory.protocol = lambda: peer
    acceptor = accept_from(epoll_set, opened.listening()[0], factory)
    host, port = opened.addresses()[0].split(":")
    with socket.create_connection((host, int(port))) as client:
        await until(lambda: peer.transport is not None)
        if state != "reading":
            peer.transport.write(b"x" * (32 << 20))
        if state == "writing":
            peer.transport.pauseProducing()
        await turns()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await until(lambda: peer.ends)
    assert [ConnectionLost] == peer.ends
    assert [acceptor] == epoll_set.getReaders()
    await acceptor.stopListening()
    await opened.close()


@pytest.mark.parametrize(
    "kind", [FailsToRead, FailsAtTheEndOfInput, FailsToEnd, FailsTwice, Exits, ExitsAtTheEnd]
)
@pytest_twisted.ensureDeferred
async def test_failing_protocol_closes_only_its_connection(epoll_set, join, failures, kind):
    bad, good = kind(), Echo()
    theirs, others = join(bad), join(good)
    theirs.send(b"x")
    theirs.shutdown(socket.SHUT_WR)
    await until(lambda: bad.ends)
    assert b"" == await deferToThread(theirs.recv, 1)
    others.send(b"still there")
    assert b"still there" == await deferToThread(others.recv, 100)
    assert 1 == len(bad.ends)
    assert [] == good.ends
    if kind is not FailsAtTheEndOfInput:  # which Twisted itself catches and logs
        assert (2 if kind is FailsTwice else 1) == len(failures)
    assert [good.transport] == epoll_set.getReaders()


@pytest_twisted.ensureDeferred
async def test_timers_run_beside_busy_connections(join):
    """Connections that always have something to do, and one of the reactor's own."""
    busy, own = [Echo() for _ in range(5)], Echo()
    for theirs in [join(each) for each in busy]:
        theirs.send(b"x")
    for each in busy:
        each.dataReceived = lambda data: None
        each.transport.doRead = lambda: None  # what is there to be read stays there
    theirs = join(own, watched_by=reactor)
    theirs.send(b"and me")
    await turns(50)
    await until(lambda: own.received)
    assert b"and me" == own.received


@pytest_twisted.ensureDeferred
async def test_more_events_than_max_events_are_all_dispatched(join):
    peers = [Peer() for _ in range(MAX_EVENTS + 50)]
    for theirs in [join(each) for each in peers]:
        theirs.send(b"x")
    await until(lambda: all(each.received for each in peers))


@pytest.mark.parametrize("readers_first", [True, False])
@pytest_twisted.ensureDeferred
async def test_reused_descriptor_number_belongs_to_the_new_connection(join, readers_first):
    """In one turn: a connection closes another whose event is due, and a new one gets its number."""
    new, numbers, made = Echo(), [], []

    class Closing(Peer):
        def dataReceived(self, data):
            if made:
                return
            other = group[1 - group.index(self)]
            numbers.append(other.transport.fileno())
            other.transport.connectionLost(Failure(ConnectionDone()))
            theirs, ours = socket.socketpair()
            theirs.close()
            ours.close()
            made.append(join(new))

    group = [Closing(), Closing()]
    ends = [join(each) for each in group]
    for theirs in ends if readers_first else ends[::-1]:
        theirs.send(b"x")
        theirs.shutdown(socket.SHUT_WR)
    await until(lambda: made)
    made[0].send(b"hello")
    assert b"hello" == await deferToThread(made[0].recv, 100)
    assert [] == new.ends


def take_descriptors_below(number, opened):
    """Leave `number` as the lowest that is free."""
    while (lower := os.dup(0)) < number:
        opened.callback(os.close, lower)
    os.close(lower)


@pytest.mark.parametrize("heard_of", ["never", "before the number is used again", "after that"])
@pytest_twisted.ensureDeferred
async def test_connection_closed_outside_does_not_block_its_descriptor_number(epoll_set, join, heard_of):
    """A reader removed after its descriptor number was reused does not affect the new one."""
    old, new, factory = Peer(), Echo(), Factory()
    factory.noisy, factory.protocol = False, lambda: new
    join(old)
    transport, number = old.transport, old.transport.fileno()
    with ExitStack() as opened:
        theirs, ours = (opened.enter_context(each) for each in socket.socketpair())
        ours.setblocking(False)
        transport.getHandle().close()
        if heard_of == "before the number is used again":
            transport.connectionLost(Failure(ConnectionDone()))
            assert [] == epoll_set.getReaders()
        take_descriptors_below(number, opened)
        epoll_set.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, factory)
        assert number == new.transport.fileno()
        if heard_of == "after that":
            transport.connectionLost(Failure(ConnectionDone()))
        theirs.settimeout(20)
        theirs.send(b"hello")
        assert b"hello" == await deferToThread(theirs.recv, 100)
        assert [new.transport] == epoll_set.getReaders()


@pytest_twisted.ensureDeferred
async def test_connection_closed_outside_cannot_be_written_to(epoll_set, join, failures):
    peer = Peer()
    join(peer)
    peer.transport.getHandle().close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        peer.transport.write(b"x")
    peer.transport.connectionLost(Failure(ConnectionDone()))
    assert [] == epoll_set.removeAll() == failures


@pytest_twisted.ensureDeferred
async def test_epoll_set_can_be_closed_during_dispatch(failures):
    epoll_set, peer = EpollSet(reactor), Peer()
    peer.dataReceived = lambda data: epoll_set.close()
    theirs, ours = socket.socketpair()
    factory = Factory()
    factory.noisy = False
    factory.protocol = lambda: peer
    with theirs:
        with ours:
            ours.setblocking(False)
            epoll_set.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, factory)
        theirs.send(b"x")
        await until(lambda: -1 == epoll_set.fileno())
        await turns()
        peer.transport.connectionLost(Failure(ConnectionDone()))
    assert [] == failures
    assert epoll_set not in reactor.getReaders()


@pytest_twisted.ensureDeferred
async def test_end_of_the_reactor_closes_all_connections(join, failures):
    epoll_set = EpollSet(reactor)
    peers = [Peer(), FailsToEnd(), Peer()]
    for each in peers:
        join(each, watched_by=epoll_set)
    reactor.removeReader(epoll_set)
    epoll_set.connectionLost(Failure(ConnectionLost()))
    assert [[ConnectionLost]] * 3 == [each.ends for each in peers]
    assert ["cannot end"] == failures
    assert -1 == epoll_set.fileno()


# --- the daemon -------------------------------------------------------------------------------


def put(client, data):
    reply = client.request(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
    assert 200 == reply.status
    return reply.body.decode()


def works(daemon, count=5):
    """Upload and download over connections that stay open together."""
    with ExitStack() as opened:
        clients = [opened.enter_context(connect(daemon.port)) for _ in range(count)]
        name, small = put(clients[0], DATA), put(clients[1], b"hello")
        for client in clients * 2:
            assert DATA == client.request(request_head(f"/files/{name}")).body
            assert b"hello" == client.request(request_head(f"/files/{small}")).body
    return name, small


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("which", ["select", "poll", "epoll", "asyncio"])
def test_daemon_serves_with_any_reactor_and_stops(start_daemon, which, workers):
    daemon = start_daemon("--workers", workers, twistd=("-n", f"--reactor={which}"))
    works(daemon)
    workers_of_it = children(daemon.pid)
    daemon.kill(signal.SIGTERM)
    wait_until(daemon.ended, "it ends")
    assert [] == [pid for pid in workers_of_it if os.path.exists(f"/proc/{pid}")]
    assert "Traceback" not in daemon.log


@pytest.mark.parametrize("which", ["select", "epoll"])
def test_a_thousand_connections_and_more_are_served(start_daemon, which):
    """Also beside a reactor that cannot watch a descriptor above 1,023 itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    daemon = start_daemon("--workers", "1", twistd=("-n", f"--reactor={which}"))
    with ExitStack() as opened:
        clients = [opened.enter_context(connect(daemon.port)) for _ in range(1200)]
        name = put(clients[0], b"hello")
        for client in clients:
            client.send(request_head(f"/files/{name}"))
        assert {b"hello"} == {client.read_response().body for client in clients}
        assert b"hello" == clients[-1].request(request_head(f"/files/{name}")).body
    works(daemon)
    assert "Traceback" not in daemon.log


def test_unix_sockets_serve_again_and_again(start_daemon, tmp_path):
    path = str(tmp_path / "s")
    daemon = start_daemon("--workers", "1", "--listen", f"unix:{path}")
    name, small = works(daemon)
    for _ in range(3):
        with BlockingClient(socket.socket(socket.AF_UNIX)) as client:
            client.connection.connect(path)
            for _ in range(3):
                assert DATA == client.request(request_head(f"/files/{name}")).body
                assert b"hello" == client.request(request_head(f"/files/{small}")).body


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_tls_serves_large_files_and_stops(start_daemon, tmp_path, workers):
    pem = str(tmp_path / "pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", pem, "-out", pem + ".cert"], check=True, capture_output=True)
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}.cert"
    daemon = start_daemon("--workers", workers, listen=endpoint)
    context = ssl.create_default_context(cafile=pem + ".cert")
    context.check_hostname = False
    for _ in range(3):
        with BlockingClient(context.wrap_socket(daemon.connect())) as client:
            name = put(client, DATA)
            assert [DATA] * 2 == [client.request(request_head(f"/files/{name}")).body for _ in range(2)]
    with daemon.connect() as plain:
        plain.sendall(b"this is no TLS\r\n\r\n")
        plain.recv(100)
    with daemon.connect() as silent, BlockingClient(context.wrap_socket(daemon.connect())) as client:
        assert DATA == client.request(request_head(f"/files/{name}")).body
        daemon.kill(signal.SIGTERM)
        wait_until(daemon.ended, "it ends, though one says nothing and one is idle")
        assert BlockingClient(silent).ended()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_running_download_completes_during_a_stop(start_daemon, workers):
    daemon = start_daemon("--workers", workers, "--drain", "3600", "--access-log", "access")
    with connect(daemon.port) as client:
        name = put(client, DATA * 4)
        assert DATA * 4 == client.request(request_head(f"/files/{name}")).body
    with (
        connect(daemon.port, receive_buffer=8192) as client,
        connect(daemon.port, receive_buffer=8192) as next_one,
    ):
        for each in (client, next_one):
            each.send(request_head(f"/files/{name}"))
            each.connection.recv(1, socket.MSG_PEEK)
        next_one.send(request_head(f"/files/{name}"))
        daemon.kill(signal.SIGTERM)
        wait_until(daemon.refuses, "nobody is let in any more")
        assert DATA * 4 == client.read_response().body
        assert client.ended()
        replies = [next_one.read_response(), next_one.read_response()]
        assert [DATA * 4] * 2 == [reply.body for reply in replies]
        assert "close" == replies[1].fields["connection"]
        assert next_one.ended()
    wait_until(daemon.ended, "it ends with its last download")
    with open(os.path.join(daemon.directory, "access")) as file:
        sizes = re.findall(r'" (\d+) (\d+) "', file.read())
    assert [("200", str(len(DATA) * 4))] * 4 == [each for each in sizes if int(each[1]) > 100]
