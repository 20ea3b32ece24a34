"""Acceptor on a listening socket that is shared."""

import os
import resource
import socket
import stat

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IReadDescriptor
from twisted.internet.protocol import Factory, Protocol
from zope.interface.verify import verifyObject

from filestored.daemon.acceptor import accept_from
from filestored.daemon.listeners import Listeners, parse_endpoint
from filestored.daemon.startup_errors import CannotStart


class Greeter(Protocol):
    def connectionMade(self):
        self.factory.met.append(self.transport.getPeer())
        self.transport.write(b"hello")
        self.transport.loseConnection()


def greeters():
    factory = Factory.forProtocol(Greeter)
    factory.noisy = False
    factory.met = []
    return factory


def listeners(*texts):
    opened = Listeners([(text, parse_endpoint(reactor, text)) for text in texts])
    opened.open()
    return opened


async def greeting(family, address):
    """Return the response that a client gets, as the reactor delivers it."""
    heard = Deferred()

    class Client(Protocol):
        def dataReceived(self, data):
            heard.callback(data)

    factory = Factory.forProtocol(Client)
    with socket.socket(family) as connection:
        connection.connect(address)
        connection.setblocking(False)
        reactor.adoptStreamConnection(connection.fileno(), family, factory)
    return await heard


async def test_connections_are_accepted_from_an_inherited_socket():
    opened, factory = listeners("tcp:0:interface=127.0.0.1"), greeters()
    (listening,) = opened.listening()
    acceptor = accept_from(reactor, listening, factory)
    host, port = opened.addresses()[0].split(":")
    assert b"hello" == await greeting(socket.AF_INET, (host, int(port)))
    assert "127.0.0.1" == factory.met[0].host
    await acceptor.stopListening()
    await opened.close()


async def test_two_acceptors_share_one_socket():
    opened, factories = listeners("tcp:0:interface=127.0.0.1"), [greeters(), greeters()]
    (listening,) = opened.listening()
    acceptors = [accept_from(reactor, listening, factory) for factory in factories]
    host, port = opened.addresses()[0].split(":")
    for _ in range(20):
        await greeting(socket.AF_INET, (host, int(port)))
    assert 20 == sum(len(factory.met) for factory in factories)
    for acceptor in acceptors:
        await acceptor.stopListening()
    await opened.close()


async def test_a_unix_socket_keeps_its_mode(tmp_path):
    path = str(tmp_path / "s")
    opened, factory = listeners(f"unix:{path}:mode=600"), greeters()
    acceptor = accept_from(reactor, opened.listening()[0], factory)
    assert 0o600 == stat.S_IMODE(os.stat(path).st_mode)
    assert b"hello" == await greeting(socket.AF_UNIX, path)
    assert [path] == opened.addresses()
    await acceptor.stopListening()
    await opened.close()
    assert [] == os.listdir(tmp_path)


async def test_listeners_never_accept():
    opened, factory = listeners("tcp:0:interface=127.0.0.1"), greeters()
    host, port = opened.addresses()[0].split(":")
    waiting = Deferred()
    reactor.callLater(0.05, waiting.callback, None)
    heard = greeting(socket.AF_INET, (host, int(port)))
    pending = Deferred.fromCoroutine(heard)
    await waiting
    assert not pending.called
    acceptor = accept_from(reactor, opened.listening()[0], factory)
    assert b"hello" == await pending
    await acceptor.stopListening()
    await opened.close()


async def test_stop_listening_is_idempotent():
    opened = listeners("tcp:0:interface=127.0.0.1")
    acceptor = accept_from(reactor, opened.listening()[0], greeters())
    await acceptor.stopListening()
    await acceptor.stopListening()
    await opened.close()


async def test_lack_of_descriptors_pauses_the_acceptor():
    opened, factory = listeners("tcp:0:interface=127.0.0.1"), greeters()
    acceptor = accept_from(reactor, opened.listening()[0], factory)
    assert verifyObject(IReadDescriptor, acceptor)
    assert verifyObject(IListeningPort, acceptor)
    host, port = opened.addresses()[0].split(":")
    pending = Deferred.fromCoroutine(greeting(socket.AF_INET, (host, int(port))))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    acceptor.doRead()
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert acceptor not in reactor.getReaders()
    assert b"hello" == await pending
    await acceptor.stopListening()
    await opened.close()


class BrokenReactor:
    """Fails to take a connection over."""

    def __init__(self):
        self.readers = []
        self.addReader = self.readers.append
        self.removeReader = self.readers.remove
        self.seconds = reactor.seconds
        self.callLater = reactor.callLater

    def adoptStreamConnection(self, descriptor, family, factory):
        raise RuntimeError("broken")


async def test_failed_connection_does_not_stop_the_acceptor():
    opened, broken = listeners("tcp:0:interface=127.0.0.1"), BrokenReactor()
    acceptor = accept_from(broken, opened.listening()[0], greeters())
    host, port = opened.addresses()[0].split(":")
    with socket.create_connection((host, int(port))) as client:
        acceptor.doRead()
        assert b"" == client.recv(1)
    assert [acceptor] == broken.readers
    await acceptor.stopListening()
    await opened.close()


def test_used_port_is_reported_in_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        text = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        with pytest.raises(CannotStart, match=f"{text}: Address already in use"):
            Listeners([(text, parse_endpoint(reactor, text))]).open()


@pytest.mark.parametrize(
    "text", ["", "tcp", "tcp:x", "nothing:1", "tcp:1:colour=red", "ssl:1:privateKey=/none"]
)
def test_invalid_endpoint_is_refused(text):
    with pytest.raises(ValueError, match=r"^--listen "):
        parse_endpoint(reactor, text)
