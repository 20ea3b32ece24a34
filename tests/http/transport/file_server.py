"""A server of files in this process, without TLS and with it, and its blocking clients."""

import contextlib
import os
import socket
import ssl
import time
from dataclasses import dataclass

import pytest_twisted
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from filestored.daemon.acceptor import accept_from
from filestored.daemon.listeners import ListeningSocket, read_certificate
from filestored.http.factory import HTTPFactory
from filestored.http.limits import Limits
from filestored.interfaces import IFileSender
from tests.http.file_source import FileSource

CONTENT = os.urandom(1 << 20) * 5 + b"the end"
BROKEN = (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)
"""Ends of a connection that no client takes for the end of a response."""


class FileOf(Resource):
    """Sends a range of a file, and notes how that ended."""

    isLeaf = True

    def __init__(self, path, announced=None):
        super().__init__()
        self.path = path
        self.announced = announced
        self.ends = []
        self.source = FileSource

    def render_GET(self, request):
        assert IFileSender.providedBy(request)
        descriptor = os.open(self.path, os.O_RDONLY)
        start, stop = (int(request.args[name][0]) for name in (b"start", b"stop"))
        if request.args.get(b"length"):
            request.setHeader(b"Content-Length", b"%d" % (stop - start))
        request.notifyFinish().addBoth(lambda outcome: self.ends.append(outcome))

        def done(outcome):
            os.close(descriptor)
            if outcome is None:
                request.finish()
            else:
                request.abort()

        sending = request.write_file(self.source(descriptor), start, stop)
        if sending is None:
            done(None)
        else:
            sending.addBoth(done)
        return NOT_DONE_YET


class Hasty(FileOf):
    """Finishes before the file has gone out."""

    def render_GET(self, request):
        self.file = open(self.path, "rb")  # noqa: SIM115  # closed by `done`
        request.setHeader(b"Content-Length", b"%d" % len(CONTENT))
        request.notifyFinish().addBoth(self.ends.append)
        sending = request.write_file(self.source(self.file.fileno()), 0, len(CONTENT))
        request.finish()
        sending.addErrback(lambda _: request.abort()).addBoth(lambda _: self.file.close())
        return NOT_DONE_YET


class Refuse(Resource):
    """Refuses every upload at once."""

    isLeaf = True

    def render_POST(self, request):
        request.setResponseCode(413)
        return b"too large"


LINGER_SECONDS = 0.5
"""Seconds that the server discards input behind a response that ends the connection."""


@dataclass
class Address:
    """A server on loopback, and the context of its TLS."""

    port: int
    tls: ssl.SSLContext | None = None


@contextlib.contextmanager
def serving(root, files=None, **limits):
    """Serve `root` on loopback, with TLS if there are files of it; yield the address."""
    factory = HTTPFactory(root, reactor, Limits(linger_timeout=LINGER_SECONDS, **limits))
    endpoint = files.endpoint() if files else "tcp:0:interface=127.0.0.1"
    context = ssl.create_default_context(cafile=files.root_file) if files else None
    with socket.create_server(("127.0.0.1", 0)) as listening:
        certificate = read_certificate(endpoint)
        acceptor = accept_from(reactor, ListeningSocket(endpoint, listening.fileno(), certificate), factory)
        yield Address(listening.getsockname()[1], context)
    pytest_twisted.blockon(acceptor.stopListening())
    factory.abort()
    pytest_twisted.blockon(factory.drain())


def connect(server: Address, receive_buffer: int | None = None) -> socket.socket:
    client = socket.socket()
    client.settimeout(20)
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.connect(("127.0.0.1", server.port))
    if server.tls is None:
        return client
    return server.tls.wrap_socket(client, server_hostname="localhost", suppress_ragged_eofs=False)


def read_to_end(client: socket.socket, pause: float = 0) -> bytes:
    pieces = []
    while piece := client.recv(256 * 1024):
        pieces.append(piece)
        time.sleep(pause)
    return b"".join(pieces)


def get_range(start: int, stop: int, length: bool = True) -> bytes:
    flag = "&length=1" if length else ""
    return (
        f"GET /file?start={start}&stop={stop}{flag} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )
