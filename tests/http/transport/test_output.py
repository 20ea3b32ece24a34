"""Over real sockets, plain and with TLS: files, slow readers, resets, and answers that can be read.

The clients are blocking sockets in threads; the server runs in the reactor as it does in the daemon.
"""

import contextlib
import os
import socket
import struct
import time
from functools import partial

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.error import ConnectionAborted
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from filestored.http.transport import sendfile
from tests.http.file_source import FileSource
from tests.http.transport.file_server import (
    BROKEN,
    CONTENT,
    LINGER_SECONDS,
    Address,
    connect,
    get_range,
    read_to_end,
)
from tests.reactor_wait import until


def exchange(server: Address, request: bytes, **options) -> bytes:
    with connect(server, options.pop("receive_buffer", None)) as client:
        client.sendall(request)
        return read_to_end(client, **options)


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 0), (0, 1), (5, 70), (0, 64 * 1024), (1, 64 * 1024 + 2), (3, len(CONTENT)), (0, len(CONTENT))],
)
@pytest_twisted.ensureDeferred
async def test_file_ranges_arrive_complete(serve, start, stop):
    answer = await deferToThread(exchange, serve, get_range(start, stop))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % (stop - start) in head
    assert CONTENT[start:stop] == body


@pytest_twisted.ensureDeferred
async def test_file_of_unannounced_length_is_one_chunk(serve):
    answer = await deferToThread(exchange, serve, get_range(0, 100_000, length=False))
    assert answer.endswith(b"\r\n\r\n186a0\r\n" + CONTENT[:100_000] + b"\r\n0\r\n\r\n")


@pytest_twisted.ensureDeferred
async def test_slow_reader_gets_the_whole_file(serve):
    answer = await deferToThread(
        exchange, serve, get_range(0, len(CONTENT)), receive_buffer=8192, pause=0.001
    )
    assert answer.endswith(CONTENT)


@pytest.mark.parametrize("further", [b"", b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n", b"garbage" * 5000])
@pytest_twisted.ensureDeferred
async def test_closing_response_is_whole_if_the_client_sends_more_before_it_reads(serve, further):
    """All of the response is in the kernel's buffers; a reset would drop it (RFC 9112 section 9.6)."""

    def converse():
        with connect(serve) as client:
            client.sendall(get_range(0, 200_000))
            time.sleep(0.2)
            client.sendall(further)
            time.sleep(0.2)
            return read_to_end(client)

    assert (await deferToThread(converse)).endswith(CONTENT[:200_000])


@pytest_twisted.ensureDeferred
async def test_closing_response_is_whole_if_its_reader_is_slower_than_the_linger_timeout(serve):
    def converse():
        with connect(serve, receive_buffer=8192) as client:
            client.sendall(get_range(0, 100_000))
            time.sleep(3 * LINGER_SECONDS)
            return read_to_end(client)

    assert (await deferToThread(converse)).endswith(CONTENT[:100_000])


@pytest_twisted.ensureDeferred
async def test_unsupported_sendfile_falls_back_to_pread(serve_plain, monkeypatch):
    def unsupported(*args):
        raise OSError(sendfile.EINVAL, "not on this file system")

    monkeypatch.setattr(os, "sendfile", unsupported)
    answer = await deferToThread(exchange, serve_plain, get_range(0, len(CONTENT)))
    assert answer.endswith(b"\r\n\r\n" + CONTENT)


@pytest_twisted.ensureDeferred
async def test_truncated_file_aborts_the_connection(serve, root):
    stop = len(CONTENT) + 10
    answer = await deferToThread(try_exchange, serve, get_range(0, stop))
    assert len(answer.partition(b"\r\n\r\n")[2]) < stop
    assert root.file.ends[0] is not None


def try_exchange(server: Address, request: bytes) -> bytes:
    with connect(server) as client:
        client.sendall(request)
        pieces = []
        try:
            while piece := client.recv(1 << 20):
                pieces.append(piece)
        except BROKEN:
            pass
        return b"".join(pieces)


@pytest_twisted.ensureDeferred
async def test_reset_by_the_client_in_the_middle_of_a_file(serve, root):
    await deferToThread(reset_in_mid_file, serve)
    for _ in range(100):
        if root.file.ends:
            break
        await deferToThread(time.sleep, 0.02)
    assert root.file.ends[0] is not None


def reset_in_mid_file(server: Address) -> None:
    with connect(server, 8192) as client:
        client.sendall(get_range(0, len(CONTENT)))
        client.recv(100)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest_twisted.ensureDeferred
async def test_pipelined_files_arrive_in_order(serve):
    requests = [get_range(i * 1000, i * 400_000 + 1000).replace(b"close", b"keep-alive") for i in range(5)]
    requests.append(get_range(0, 5))
    answer = await deferToThread(exchange, serve, b"".join(requests))
    bodies = [CONTENT[i * 1000 : i * 400_000 + 1000] for i in range(5)] + [CONTENT[:5]]
    position = 0
    for body in bodies:
        position = answer.index(b"\r\n\r\n", position) + 4
        assert answer[position : position + len(body)] == body
        position += len(body)


@pytest_twisted.ensureDeferred
async def test_lingering_close_lets_a_sending_client_read_the_refusal(serve):
    assert (await deferToThread(send_much, serve)).startswith(b"HTTP/1.1 413 ")


def send_much(server: Address) -> bytes:
    """Send all of a large body without reading; then read the answer, as plain clients do."""
    with connect(server) as client:
        client.sendall(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
        client.sendall(b"x" * 30_000_000)
        return read_to_end(client)


@pytest_twisted.ensureDeferred
async def test_lingering_close_is_bounded(serve):
    await deferToThread(send_until_reset, serve)


def send_until_reset(server: Address) -> None:
    with connect(server) as client:
        client.sendall(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000\r\n\r\n")
        with contextlib.suppress(*BROKEN):
            while True:
                client.sendall(b"x" * 64 * 1024)


@pytest_twisted.ensureDeferred
async def test_half_closed_client_is_answered(serve_plain):
    assert (await deferToThread(half_close, serve_plain)).endswith(CONTENT[:200_000])


def half_close(server: Address) -> bytes:
    with connect(server) as client:
        client.sendall(get_range(0, 200_000))
        client.shutdown(socket.SHUT_WR)
        return read_to_end(client)


@pytest_twisted.ensureDeferred
async def test_notify_finish_fails_if_the_file_ends_early(serve, root):
    def converse():
        with connect(serve, receive_buffer=8192) as client:
            client.sendall(b"GET /hasty HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(1)
            os.truncate(root.hasty.path, 4 << 20)
            with pytest.raises(BROKEN):
                read_to_end(client)

    await deferToThread(converse)
    assert [ConnectionAborted] == [type(getattr(end, "value", end)) for end in root.hasty.ends]


@pytest_twisted.ensureDeferred
async def test_notify_finish_fails_if_the_client_left(serve_plain, root, monkeypatch):
    def reset(*args):
        raise ConnectionResetError

    monkeypatch.setattr(os, "sendfile", reset)
    await deferToThread(try_exchange, serve_plain, get_range(0, len(CONTENT)))
    assert [ConnectionAborted] == [type(getattr(end, "value", end)) for end in root.file.ends]


# --- a slow disk ------------------------------------------------------------------------------------


class Later(FileSource):
    """Slow; each read ends in a later turn of the reactor."""

    def __init__(self, descriptor):
        super().__init__(descriptor, slow=True)

    async def read(self, start, stop):
        await deferLater(reactor, 0.001)
        return await super().read(start, stop)


class Changing(Later):
    """Slow after two reads, and fast again after two."""

    def __init__(self, descriptor):
        super().__init__(descriptor)
        self.slow = False
        self.counted = {"direct": 0, "in a thread": 0}

    def record_latency(self, seconds):
        self._count("direct")

    async def read(self, start, stop):
        self._count("in a thread")
        return await super().read(start, stop)

    def _count(self, how):
        self.counted[how] += 1
        if sum(self.counted.values()) % 2 == 0:
            self.slow = not self.slow


class Broken(Later):
    """Can't be read behind its beginning."""

    def __init__(self, descriptor, error):
        super().__init__(descriptor)
        self._error = error

    async def read(self, start, stop):
        if start:
            raise self._error
        return await super().read(start, stop)


@pytest.fixture
def no_direct_reads(monkeypatch):
    """Fails a read of a file in the reactor's thread by the wire."""

    def refuse(*args):
        raise AssertionError("read in the reactor's thread")

    monkeypatch.setattr(os, "sendfile", refuse)
    monkeypatch.setattr(os, "preadv", refuse)
    monkeypatch.setattr("filestored.http.request.read_range", refuse)
    monkeypatch.setattr("filestored.http.transport.tls_output.read_range", refuse)


@pytest.mark.parametrize("kind", [Later, partial(FileSource, slow=True)], ids=["later", "on the spot"])
@pytest.mark.parametrize("length", [True, False], ids=["announced", "chunked"])
@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 1), (5, 70), (3, 400_000), (0, len(CONTENT))])
@pytest_twisted.ensureDeferred
async def test_file_on_a_slow_disk_is_read_in_threads_only(
    serve, root, no_direct_reads, kind, length, start, stop
):
    root.file.source = kind
    answer = await deferToThread(exchange, serve, get_range(start, stop, length))
    body = answer.partition(b"\r\n\r\n")[2]
    if not length and stop > start:
        body = body.removeprefix(b"%x\r\n" % (stop - start)).removesuffix(b"\r\n0\r\n\r\n")
    assert CONTENT[start:stop] == (body if length or stop > start else b"")
    assert [None] == root.file.ends


@pytest.mark.parametrize("buffer", [None, 8192])
@pytest_twisted.ensureDeferred
async def test_disk_that_becomes_slow_in_the_middle_of_a_file(serve, root, buffer):
    made = []

    def source(descriptor):
        made.append(Changing(descriptor))
        return made[-1]

    root.file.source = source
    answer = await deferToThread(exchange, serve, get_range(0, len(CONTENT)), receive_buffer=buffer)
    assert answer.endswith(b"\r\n\r\n" + CONTENT)
    assert all(count >= 3 for count in made[0].counted.values())


@pytest.mark.parametrize(
    "error", [OSError(5, "gone"), TimeoutError(), ConnectionResetError(), RuntimeError()]
)
@pytest_twisted.ensureDeferred
async def test_read_error_in_a_thread_aborts_the_connection(serve, root, error):
    root.file.source = partial(Broken, error=error)
    answer = await deferToThread(try_exchange, serve, get_range(0, len(CONTENT)))
    assert CONTENT[:100_000].endswith(answer.partition(b"\r\n\r\n")[2])
    assert [ConnectionAborted] == [type(getattr(end, "value", end)) for end in root.file.ends]


@pytest_twisted.ensureDeferred
async def test_client_that_leaves_during_a_read_in_a_thread(serve, root):
    made = []

    def source(descriptor):
        made.append(FileSource(descriptor, slow=True, at_once=False))
        return made[-1]

    root.file.source = source
    client = await deferToThread(connect, serve)
    await deferToThread(client.sendall, get_range(0, len(CONTENT)))
    await until(lambda: made and made[0].reads)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    await until(lambda: root.file.ends)
    made[0].do_reads()
    assert [] == made[0].reads
