"""TLS connections on real sockets: key updates, renegotiation, close_notify, handshakes, sizes of records."""

import contextlib
import socket
import struct
import time
from threading import Thread

import pytest
import pytest_twisted
from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IConsumer
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from filestored.daemon.listeners import read_certificate
from filestored.http.transport.receive_size import MAX_READ_BYTES
from filestored.http.transport.tls import ServerTLS
from filestored.http.transport.tls_output import MAX_RECORD_BYTES
from tests.http.transport.file_server import CONTENT, connect, get_range, read_to_end
from tests.http_clients.openssl import OpenSSLClient
from tests.reactor_wait import until
from tests.tls_files import TLSFiles

GET_ALL = get_range(0, len(CONTENT))
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""The begin of one."""
KEPT = GET_ALL.replace(b"close", b"keep-alive")


def openssl_client(server, receive_buffer=None, **options):
    return OpenSSLClient(connect_plain(server, receive_buffer), **options)


def connect_plain(server, receive_buffer=None):
    client = socket.socket()
    client.settimeout(20)
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.connect(("127.0.0.1", server.port))
    return client


# --- records without content ------------------------------------------------------------------------


def test_a_read_ends_after_a_record_without_content(tmp_path):
    """A client could otherwise hold the process with key updates alone."""
    tls = ServerTLS(read_certificate(TLSFiles(tmp_path).endpoint()))
    ours, theirs = socket.socketpair()

    def talk():
        with OpenSSLClient(theirs) as client:
            for _ in range(3):
                client.update_keys(request_reply=False)
            client.send(b"content")

    with ours:
        connection = tls.connection_on(ours)
        talking = Thread(target=talk)
        talking.start()
        connection.do_handshake()
        talking.join()
        for _ in range(3):
            with pytest.raises(SSL.WantReadError):
                connection.recv(100)
        assert b"content" == connection.recv(100)


@pytest.mark.parametrize("receive_buffer", [None, 8192])
@pytest.mark.parametrize("request_reply", [False, True])
@pytest_twisted.ensureDeferred
async def test_key_updates_in_the_middle_of_a_file(serve_tls, request_reply, receive_buffer):
    def converse():
        with openssl_client(serve_tls, receive_buffer) as client:
            client.send(KEPT)
            client.connection.recv(1, socket.MSG_PEEK)
            for _ in range(5):
                client.update_keys(request_reply=request_reply)
            client.send(GET_ALL)
            return client.read_to_end()

    first, second = (await deferToThread(converse)).split(b"HTTP/1.1 200 OK")[1:]
    assert [True, True] == [each.endswith(b"\r\n\r\n" + CONTENT) for each in (first, second)]


@pytest_twisted.ensureDeferred
async def test_renegotiation_is_refused_and_others_are_served(serve_tls):
    def converse():
        with openssl_client(serve_tls, tls12=True) as client:
            assert not client.renegotiate()
        with openssl_client(serve_tls, tls12=True) as client:
            client.send(GET_ALL)
            return client.read_to_end()

    assert (await deferToThread(converse)).endswith(CONTENT)


# --- the ends of a connection -----------------------------------------------------------------------


@pytest.mark.parametrize("size", [200, len(CONTENT)])
@pytest_twisted.ensureDeferred
async def test_client_that_has_sent_close_notify_is_answered(serve_tls, size):
    def converse():
        with openssl_client(serve_tls) as client:
            client.send(get_range(0, size).replace(b"close", b"keep-alive"))
            client.send_close_notify()
            return client.read_to_end()

    assert (await deferToThread(converse)).endswith(b"\r\n\r\n" + CONTENT[:size])


@pytest.mark.parametrize("size", [2_000, 40_000, 400_000])
@pytest_twisted.ensureDeferred
async def test_close_notify_behind_the_last_request_does_not_reset_the_response(serve_tls, size):
    def converse():
        with openssl_client(serve_tls, receive_buffer=4096) as client:
            client.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            client.send(get_range(0, size))
            client.send_close_notify()
            client.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
            time.sleep(0.1)
            return client.read_to_end()

    assert (await deferToThread(converse)).endswith(b"\r\n\r\n" + CONTENT[:size])


@pytest_twisted.ensureDeferred
async def test_truncated_response_ends_without_close_notify(serve_tls, root):
    def converse():
        with openssl_client(serve_tls) as client:
            client.send(get_range(0, len(CONTENT) + 10, length=False).replace(b"HTTP/1.1", b"HTTP/1.0"))
            with pytest.raises(ConnectionError):
                client.read_to_end()

    await deferToThread(converse)
    assert root.file.ends[0] is not None


@pytest.mark.parametrize("limits", [{"keep_alive_timeout": 0.5}])
@pytest_twisted.ensureDeferred
async def test_idle_connection_is_closed_with_close_notify(serve_tls):
    def converse():
        with openssl_client(serve_tls) as client:
            return client.read_to_end()

    assert b"" == await deferToThread(converse)


@pytest.mark.parametrize("limits", [{"keep_alive_timeout": 0.5}])
@pytest.mark.parametrize("size", [0, 1, len(CLIENT_HELLO)])
@pytest_twisted.ensureDeferred
async def test_client_that_does_not_complete_its_handshake_is_closed(serve_tls, size):
    def converse():
        with connect_plain(serve_tls) as client:
            client.sendall(CLIENT_HELLO[:size])
            with contextlib.suppress(ConnectionResetError):
                return client.recv(100)
        return b""

    assert b"" == await deferToThread(converse)


@pytest_twisted.ensureDeferred
async def test_client_that_leaves_in_the_middle_of_its_handshake(serve_tls):
    def converse():
        for size in range(len(CLIENT_HELLO)):
            with connect_plain(serve_tls) as client:
                client.sendall(CLIENT_HELLO[:size])
                if size % 2:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with connect(serve_tls) as client:
            client.sendall(get_range(0, 5))
            return read_to_end(client)

    assert (await deferToThread(converse)).endswith(CONTENT[:5])


@pytest.mark.parametrize("limits", [{"write_timeout": 1.0}])
@pytest_twisted.ensureDeferred
async def test_client_that_reads_nothing_is_aborted_and_one_that_reads_a_little_is_not(serve_tls, root):
    def read_slowly():
        with connect(serve_tls, receive_buffer=8192) as client:
            client.sendall(GET_ALL)
            return read_to_end(client, pause=0.005)

    stalled = await deferToThread(connect, serve_tls, 8192)
    with stalled:
        await deferToThread(stalled.sendall, GET_ALL)
        assert (await deferToThread(read_slowly)).endswith(CONTENT)
        await until(lambda: len(root.file.ends) == 2)
    assert [None, ConnectionAborted] == sorted(map(type_of_end, root.file.ends), key=bool)


def type_of_end(end):
    return end and type(end.value)


@pytest.mark.parametrize("limits", [{"connections": 1}])
@pytest_twisted.ensureDeferred
async def test_client_beyond_the_limit_of_connections_is_answered_503(serve_tls):
    def converse():
        with connect(serve_tls) as first, connect(serve_tls) as second:
            first.sendall(KEPT)
            return first.recv(12), read_to_end(second)

    first, second = await deferToThread(converse)
    assert (b"HTTP/1.1 200", b"HTTP/1.1 503") == (first, second[:12])


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (get_range(0, 5) + b"x" * 10_000, b""),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01x" + b"x" * 10_000, b"\x15"),
    ],
    ids=["plain HTTP", "malformed ClientHello"],
)
@pytest_twisted.ensureDeferred
async def test_input_that_is_no_tls_ends_the_connection_without_a_reset(serve_tls, sent, received):
    def converse():
        with connect_plain(serve_tls) as client:
            client.sendall(sent)
            return read_to_end(client)

    assert received == (await deferToThread(converse))[:1]  # an alert, or nothing


# --- bytes ------------------------------------------------------------------------------------------


class Echo(Resource):
    """Sends a body of one write, or of several."""

    isLeaf = True

    def render_GET(self, request):
        for piece in range(int(request.args[b"writes"][0])):
            request.write(CONTENT[piece * 700_000 : (piece + 1) * 700_000])
        request.finish()
        return True


@pytest.mark.parametrize(("receive_buffer", "pause"), [(None, 0), (8192, 0.005)])
@pytest_twisted.ensureDeferred
async def test_many_writes_arrive_complete_and_in_order(serve_tls, root, receive_buffer, pause):
    """Also when the client takes longer for the end than the server lingers."""

    def converse():
        with connect(serve_tls, receive_buffer) as client:
            client.sendall(b"GET /echo?writes=7 HTTP/1.0\r\nHost: x\r\n\r\n")
            return read_to_end(client, pause)

    root.putChild(b"echo", Echo())
    assert (await deferToThread(converse)).endswith(b"\r\n\r\n" + CONTENT[: 7 * 700_000])


@pytest_twisted.ensureDeferred
async def test_head_and_small_file_are_one_record(serve_tls):
    def converse():
        with connect(serve_tls) as client:
            client.sendall(get_range(0, 9000))
            return client.recv(1 << 16)

    assert (await deferToThread(converse)).endswith(CONTENT[:9000])


@pytest_twisted.ensureDeferred
async def test_head_and_the_begin_of_a_large_file_are_one_record(serve_tls):
    def converse():
        with connect(serve_tls) as client:
            client.sendall(GET_ALL)
            return client.recv(1 << 16)

    record = await deferToThread(converse)
    assert 16 * 1024 == len(record)
    assert CONTENT.startswith(record.partition(b"\r\n\r\n")[2])


@implementer(IConsumer)
class Sizes(Resource):
    """Receives a body, and responds with the largest piece of it."""

    isLeaf = True

    def render_POST(self, request):
        self.pieces = []
        request.body.deliver(self).addCallback(self.respond, request)
        return NOT_DONE_YET

    def respond(self, _, request):
        request.write(b"%d %d" % (max(self.pieces), sum(self.pieces)))
        request.finish()

    def write(self, data):
        self.pieces.append(len(data))
        time.sleep(0.01)  # meanwhile the client sends

    def registerProducer(self, producer, streaming):
        pass

    def unregisterProducer(self):
        pass


@pytest.mark.parametrize(("size", "large"), [(200_000, False), (8_000_000, True)])
@pytest_twisted.ensureDeferred
async def test_records_of_a_large_body_are_read_together(serve_tls, root, size, large):
    def converse():
        with connect(serve_tls) as client:
            client.sendall(b"POST /sizes HTTP/1.0\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
            client.sendall(CONTENT[:size].ljust(size))
            return read_to_end(client)

    root.putChild(b"sizes", Sizes())
    answer = await deferToThread(converse)
    max_piece, total = map(int, answer.rpartition(b"\r\n")[2].split())
    assert (size, large) == (total, max_piece > 128 * 1024)
    assert max_piece < MAX_READ_BYTES + MAX_RECORD_BYTES
