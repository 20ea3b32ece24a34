"""Response cache: its entries, and hits and misses on sockets."""

import errno
import os
import re
import select
import socket
import struct
import tempfile
from contextlib import asynccontextmanager, suppress

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource
from zope.interface import implementer

from filestored.errors import NotFound, Overloaded
from filestored.http.factory import HTTPFactory
from filestored.http.limits import Limits
from filestored.http.parser.request_head import RequestHeadParser
from filestored.http.response import preformat
from filestored.http.response_cache import (
    MAX_ENTRIES,
    MAX_HEAD_BYTES,
    MAX_KEY_BYTES,
    CacheLookup,
    ResponseCache,
)
from filestored.interfaces import IBlob, ICacheable, IInMemory
from filestored.metrics.blocks import SharedBlocks
from filestored.metrics.recorder import Recorder
from filestored.metrics.table import REQUESTS
from filestored.metrics.totals import Totals
from tests.http.file_source import FileSource
from tests.http_clients.blocking import BlockingClient, connect, request_head, request_in_thread
from tests.http_clients.response import Response
from tests.reactor_wait import until

LOOPBACK = IPv4Address("TCP", "127.0.0.1", 0)

CONTENT = os.urandom(1 << 20) * 5
REFUSED = b"not this way"


class CountedOpen:
    """Counter of open objects."""

    now_open = 0

    def __init__(self, size):
        self.size = size
        type(self).now_open += 1

    def close(self):
        type(self).now_open -= 1


@implementer(IBlob, IInMemory)
class InMemoryFile(CountedOpen):
    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        super().__init__(len(self.data))


@implementer(IBlob)
class DiskFile(FileSource, CountedOpen):
    def __init__(self, path):
        self._file = open(path, "rb")  # noqa: SIM115  # closed by its owner
        FileSource.__init__(self, self._file.fileno())
        CountedOpen.__init__(self, os.fstat(self._file.fileno()).st_size)

    def close(self):
        super().close()
        self._file.close()


class FileResource(Resource):
    """Answers with one file and caches the response; reopening raises `error` if there is one."""

    isLeaf = True

    def __init__(self, path, kind, status=200, error=None):
        super().__init__()
        self.rendered = 0
        self.path, self.kind, self.status, self.error = path, kind, status, error

    def reopen(self):
        if self.error is not None:
            raise self.error
        return self.kind(self.path)

    def render_GET(self, request):
        self.rendered += 1
        if ICacheable.providedBy(request):
            request.cache_with(self.reopen, os.path.getsize(self.path))
        request.setResponseCode(self.status)
        with open(self.path, "rb") as file:
            content = file.read()
        request.setHeader(b"Content-Length", b"%d" % len(content))
        return content

    def render_POST(self, request):
        return b"taken"


class Log(list):
    """An access log of (method, status, bytes), and request ids; counts the entries that it formatted."""

    described = 0

    def __init__(self):
        super().__init__()
        self.ids = []

    def format_entry(self, entry):
        self.described += 1
        return entry.method, entry.status, entry.sent

    def log(self, moment, peer, description, seconds, request_id):
        self.append(description)
        self.ids.append(request_id.decode())


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def listen(log):
    """A function that serves a resource on loopback and returns the port."""
    running = []

    def start(root, metrics=None):
        factory = HTTPFactory(root, reactor, Limits(keep_alive_timeout=3600), log, metrics=metrics)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        running.append((factory, port))
        return port.getHost().port

    start.running = running
    yield start
    for factory, port in running:
        factory.abort()
        pytest_twisted.blockon(port.stopListening())
        pytest_twisted.blockon(factory.drain())
    assert 0 == InMemoryFile.now_open == DiskFile.now_open


@pytest.fixture
def resource(tmp_path, request):
    """A resource with a file of 100,000 bytes."""
    path = tmp_path / "content"
    path.write_bytes(CONTENT[:100_000])
    return FileResource(str(path), DiskFile)


class Cache:
    """A response cache and the lookup of one connection."""

    def __init__(self, max_entries=MAX_ENTRIES, limits=None):
        self.limits = limits or Limits()
        self.responses = ResponseCache(max_entries)
        self.lookup = CacheLookup(self.responses, self.limits)

    def add(self, raw, headers=(), reopen=None, size=0):
        """Store the response to a request, as a resource allows it."""
        head, rest = RequestHeadParser(self.limits).feed(raw)
        assert rest == b""
        self.lookup.add(head, preformat(*headers), reopen, size)

    def has(self, raw):
        return self.lookup.find(raw) is not None


def test_cache_hit_needs_the_same_request_line_and_relevant_headers():
    cache = Cache()
    cache.add(request_head("/a"))
    assert cache.has(request_head("/a"))
    assert not cache.has(request_head("/A"))
    assert not cache.has(request_head("/a", "Accept: */*"))


def test_full_cache_evicts_the_oldest_entry():
    cache = Cache(max_entries=2)
    for path in ("/a", "/b", "/c"):
        cache.add(request_head(path))
    assert [False, True, True] == [cache.has(request_head(path)) for path in ("/a", "/b", "/c")]


def test_full_large_cache_evicts_several_of_the_oldest_entries():
    cache = Cache(max_entries=64)
    for number in range(65):
        cache.add(request_head(f"/{number}"))
    kept = [number for number in range(65) if cache.has(request_head(f"/{number}"))]
    assert list(range(4, 65)) == kept


def test_replacing_an_entry_does_not_evict_another():
    cache = Cache(max_entries=2)
    for path in ("/a", "/b", "/b"):
        cache.add(request_head(path))
    assert cache.has(request_head("/a"))
    assert cache.has(request_head("/b"))


def test_cache_of_size_zero_stores_nothing():
    cache = Cache(max_entries=0)
    cache.add(request_head("/a"))
    assert not cache.has(request_head("/a"))


def test_cache_stores_only_responses_with_short_keys():
    cache = Cache()
    overhead = len(request_head("/")) - 1
    for size, stored in ((MAX_KEY_BYTES, True), (MAX_KEY_BYTES + 1, False)):
        raw = request_head("/".ljust(size - overhead, "x"))
        assert size == len(raw)
        cache.add(raw)
        assert stored == cache.has(raw)


@pytest.mark.parametrize("size", [MAX_HEAD_BYTES, MAX_HEAD_BYTES + 1])
def test_only_short_heads_are_looked_up(size):
    cache = Cache()
    cache.add(request_head("/"))
    raw = request_head("/", "X: ")
    raw = raw.replace(b"X: ", b"X: ".ljust(3 + size - len(raw), b"x"))
    assert size == len(raw)
    assert (size == MAX_HEAD_BYTES) == cache.has(raw)


@pytest.mark.parametrize("limits", [Limits(fields=2), Limits(field_line=60), Limits(head=60)])
def test_head_beyond_the_limits_is_a_cache_miss(limits):
    cache = Cache(limits=limits)
    cache.add(request_head("/"))
    assert cache.has(request_head("/", "X: 1"))
    assert not cache.has(request_head("/", "X: 1", f"Y: {'y' * 30}"))


def test_range_is_found_without_its_line():
    cache = Cache()
    cache.add(request_head("/"))
    assert cache.has(request_head("/", "Range: bytes=5-9"))
    assert (5, 10) == cache.lookup.span
    assert cache.has(request_head("/"))
    assert cache.lookup.span is None


def test_response_206_is_stored_as_that_of_the_whole_file():
    cache = Cache()
    headers = [(b"Content-Range", b"bytes 5-9/100"), (b"Content-Length", b"5"), (b"Accept-Ranges", b"bytes")]
    cache.add(request_head("/", "Range: bytes=5-9"), headers, size=100)
    head = cache.lookup.find(request_head("/")).head.now()
    assert b"HTTP/1.1 200 OK" in head
    assert b"Content-Length: 100" in head
    assert b"Content-Range" not in head


@pytest.mark.parametrize("value", ["bytes=5-", "bytes=-5", "bytes=5-9,11-12", "lines=5-9"])
def test_response_206_to_a_range_of_another_form_is_not_stored(value):
    cache = Cache()
    raw = request_head("/", f"Range: {value}")
    cache.add(raw, [(b"Content-Range", b"bytes 5-9/100")], size=100)
    assert not cache.has(raw)
    assert not cache.has(request_head("/"))


# --- on sockets -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [InMemoryFile, DiskFile])
@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 16 * 1024 + 1, 1 << 20, (1 << 20) + 1, len(CONTENT)])
@pytest_twisted.ensureDeferred
async def test_cache_hit_sends_the_same_response_without_rendering(listen, tmp_path, kind, size, log):
    (tmp_path / "content").write_bytes(CONTENT[:size])
    resource = FileResource(str(tmp_path / "content"), kind)
    replies = await request_in_thread(listen(resource), *[request_head("/")] * 3)
    assert CONTENT[:size] == replies[0].body
    assert [replies[0].undated] * 2 == [reply.undated for reply in replies[1:]]
    assert 1 == resource.rendered
    await until(lambda: [(b"GET", 200, size)] * 3 == log)


@pytest.mark.parametrize("kind", [InMemoryFile, DiskFile])
@pytest.mark.parametrize("size", [5, 16 * 1024 + 1, 1 << 20])
@pytest_twisted.ensureDeferred
async def test_cached_response_has_the_id_of_its_request(listen, tmp_path, kind, size, log):
    (tmp_path / "content").write_bytes(CONTENT[:size])
    resource = FileResource(str(tmp_path / "content"), kind)
    lines = [["X-Request-Id: a"], ["X-Request-Id: a"], ["X-Request-Id: b.2"], []]
    lines += [["X-Request-Id: no id"], ["X-Request-Id: a", "X-Request-Id: b"], ["x-request-id:fst_c"]]
    requests = [request_head("/"), *(request_head("/", *each) for each in lines)]
    replies = await request_in_thread(listen(resource), *requests)
    assert 1 == resource.rendered
    assert {CONTENT[:size]} == {reply.body for reply in replies}
    ids = [reply.fields["x-request-id"] for reply in replies]
    assert ["a", "a", "b.2", "fst_c"] == [*ids[1:4], ids[-1]]
    made = {ids[0], *ids[4:-1]}
    assert 4 == len([each for each in made if re.fullmatch("[0-9a-f]{32}", each)])
    await until(lambda: ids == log.ids)


@pytest_twisted.ensureDeferred
async def test_small_cached_response_is_counted_once_also_if_its_connection_is_lost(
    listen, tmp_path, resource, log
):
    """It waits in the output. A large one before it was in the cache, and could not be reopened."""
    (tmp_path / "small").write_bytes(b"x" * 16 * 1024)
    root = Resource()
    root.putChild(b"large", resource)
    root.putChild(b"small", FileResource(str(tmp_path / "small"), InMemoryFile))
    blocks = SharedBlocks.create(1, shared=False).blocks
    recorder = Recorder(blocks[0])
    port = listen(root, recorder)
    listen.running[0][1].socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    await request_in_thread(port, request_head("/large"), request_head("/small"))

    def leave_without_reading():
        with connect(port, receive_buffer=1) as client:
            client.request(request_head("/large"))
            client.send(request_head("/small"))
            with connect(port) as other:  # its response proves that the request has been read
                other.request(request_head("/small"))

    resource.error = NotFound()
    await deferToThread(leave_without_reading)
    await until(lambda: 5 == len(log))
    recorder.hits.write()  # as the epoll set does after each batch of events
    assert 5 == Totals(blocks).value(REQUESTS, ("GET", "2xx"))


@pytest_twisted.ensureDeferred
async def test_access_log_entry_of_a_cached_response_is_formatted_once(listen, resource, log):
    await request_in_thread(listen(resource), *[request_head("/")] * 5)
    await until(lambda: [(b"GET", 200, 100_000)] * 5 == log)
    assert 2 == log.described  # the first answer was made for its request


@pytest_twisted.ensureDeferred
async def test_cached_response_has_the_current_date(listen, resource, monkeypatch):
    port = listen(resource)
    dates = []
    for second in (86_400, 86_401, 86_402):
        monkeypatch.setattr("filestored.http.response.time", lambda second=second: second)
        (reply,) = await request_in_thread(port, request_head("/"))
        dates.append(reply.fields["date"])
    assert [f"Fri, 02 Jan 1970 00:00:0{second} GMT" for second in range(3)] == dates
    assert 1 == resource.rendered


@pytest_twisted.ensureDeferred
async def test_connections_share_the_cache(listen, resource):
    port = listen(resource)
    replies = [(await request_in_thread(port, request_head("/")))[0] for _ in range(3)]
    assert replies[0].undated == replies[1].undated == replies[2].undated
    assert 1 == resource.rendered


@pytest.mark.parametrize(
    "other",
    [
        request_head("/", "Accept: */*"),
        request_head("/?"),
        request_head("/").replace(b"Host: h", b"Host: i"),
        request_head("/").replace(b"Host:", b"host:"),
        request_head("/", version="1.0"),
        request_head("/", "Connection: keep-alive", version="1.0"),
        request_head("/", "Connection: close"),
        request_head("/", method="HEAD"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_different_request_head_is_a_cache_miss(listen, resource, other):
    port = listen(resource)
    await request_in_thread(port, request_head("/"), request_head("/"))
    assert 1 == resource.rendered
    await request_in_thread(port, other)
    assert 2 == resource.rendered


@pytest.mark.parametrize(
    "ending",
    [
        request_head("/", version="1.0"),
        request_head("/", "Connection: close"),
        request_head("/", "Connection: keep-alive", version="1.0"),
        request_head("/", method="HEAD"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_head_requests_and_closed_connections_are_not_cached(listen, resource, ending):
    port = listen(resource)
    for _ in range(3):
        await request_in_thread(port, ending)
    assert 3 == resource.rendered


@pytest.mark.parametrize("status", [206, 400, 404, 500])
@pytest_twisted.ensureDeferred
async def test_only_status_200_is_cached(listen, resource, status):
    resource.status = status
    replies = await request_in_thread(listen(resource), request_head("/"), request_head("/"))
    assert [status] * 2 == [reply.status for reply in replies]
    assert 2 == resource.rendered


BODIED = {
    "a length": (request_head("/", "Content-Length: 5"), b"hello"),
    "a length of zero": (request_head("/", "Content-Length: 0"), b""),
    "chunks": (request_head("/", "Transfer-Encoding: chunked"), b"5\r\nhello\r\n0\r\n\r\n"),
    "a length and a promise": (request_head("/", "Content-Length: 5", "Expect: 100-continue"), b"hello"),
}


@pytest.mark.parametrize("name", BODIED)
@pytest_twisted.ensureDeferred
async def test_request_with_a_body_is_not_cached(listen, resource, name):
    """The body arrives together with its head, then in a piece of its own."""
    raw, body = BODIED[name]
    port = listen(resource)

    def converse():
        with connect(port) as client:
            together = client.request(raw + body)
        with connect(port) as client:
            client.send(raw)
            separate = client.read_response()
            client.send(body)
            last = (
                None if separate.fields.get("connection") == "close" else client.request(request_head("/x"))
            )
        return together, separate, last

    for _ in range(2):
        together, separate, last = await deferToThread(converse)
        assert together.body == separate.body == CONTENT[:100_000]
        assert last is None or 200 == last.status


@pytest_twisted.ensureDeferred
async def test_request_head_in_two_pieces_is_a_cache_miss(listen, resource):
    port, raw = listen(resource), request_head("/")

    def in_pieces(client, position):
        client.send(raw[:position])
        with connect(port) as other:  # its response proves that the first piece has been read
            other.request(request_head("/other", "Connection: close"))
        return client.request(raw[position:])

    def converse():
        with connect(port) as client:
            first = client.request(raw)
            return first, [in_pieces(client, position) for position in (1, 5, 15, len(raw) - 1)]

    first, others = await deferToThread(converse)
    assert [first.undated] * 4 == [other.undated for other in others]
    assert 1 + 2 * 4 == resource.rendered


@pytest_twisted.ensureDeferred
async def test_pipelined_cache_hits_are_answered_in_order(listen, resource):
    port = listen(resource)

    def converse():
        with connect(port) as client:
            client.request(request_head("/"))
            client.send(request_head("/") + request_head("/y") + request_head("/") * 2)
            return [client.read_response() for _ in range(4)]

    assert [CONTENT[:100_000]] * 4 == [reply.body for reply in await deferToThread(converse)]


@pytest_twisted.ensureDeferred
async def test_cache_hit_after_an_upload_on_the_same_connection(listen, resource):
    port = listen(resource)
    upload = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
    replies = await request_in_thread(
        port, request_head("/"), upload, request_head("/"), upload + request_head("/"), b""
    )
    assert [b"taken", b"taken"] == [replies[1].body, replies[3].body]
    assert [CONTENT[:100_000]] * 3 == [replies[place].body for place in (0, 2, 4)]


async def listen_with_cached_content(listen, resource):
    """Serve all of `CONTENT` from a file, and request it once; return the port."""
    with open(resource.path, "wb") as file:
        file.write(CONTENT)
    port = listen(resource)
    await request_in_thread(port, request_head("/"))
    return port


@pytest_twisted.ensureDeferred
async def test_slow_reader_gets_all_cached_responses_in_order(listen, resource, log):
    port = await listen_with_cached_content(listen, resource)

    def converse():
        with connect(port, receive_buffer=8192) as client:
            for _ in range(3):
                client.send(request_head("/"))
            client.send(request_head("/last", "Connection: close"))
            return [client.read_response().body for _ in range(4)] + [client.ended()]

    assert [CONTENT] * 4 + [True] == await deferToThread(converse)
    await until(lambda: [(b"GET", 200, len(CONTENT))] * 5 == log)


@pytest.mark.parametrize("manner", ["close", "reset"])
@pytest_twisted.ensureDeferred
async def test_cached_file_is_closed_when_the_client_disconnects(
    listen, resource, log, manner, caught_failures
):
    port = await listen_with_cached_content(listen, resource)

    def vanish():
        with connect(port, receive_buffer=8192) as client:
            client.send(request_head("/"))
            client.connection.recv(1000)
            if manner == "reset":
                client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    await deferToThread(vanish)
    await until(lambda: 2 == len(log) and 0 == DiskFile.now_open)
    assert (b"GET", 200, len(CONTENT)) == log[1]
    assert [] == caught_failures()


@pytest_twisted.ensureDeferred
async def test_cached_file_truncated_while_sent_aborts_the_connection(listen, resource, log, caught_failures):
    port = await listen_with_cached_content(listen, resource)

    def converse():
        with connect(port, receive_buffer=8192) as client:
            client.send(request_head("/"))
            client.connection.recv(1, socket.MSG_PEEK)
            os.truncate(resource.path, 3 << 20)
            client.send(request_head("/"))  # which is not answered
            with pytest.raises((EOFError, ConnectionError)):
                client.read_response()

    await deferToThread(converse)
    await until(lambda: 0 == DiskFile.now_open and 2 == len(log))
    assert [OSError] == caught_failures()
    assert 1 == resource.rendered


@pytest_twisted.ensureDeferred
async def test_cached_file_shorter_than_its_size_aborts_the_connection(listen, tmp_path, caught_failures):
    class ShortFile(DiskFile):
        def __init__(self, path):
            super().__init__(path)
            self.size = 100_000

    (tmp_path / "content").write_bytes(b"x" * 100_000)
    resource = FileResource(str(tmp_path / "content"), ShortFile)
    port = listen(resource)
    await request_in_thread(port, request_head("/"))
    os.truncate(resource.path, 90_000)

    def converse():
        with connect(port) as client, pytest.raises((EOFError, ConnectionError)):
            client.request(request_head("/"))

    await deferToThread(converse)
    assert [OSError] == caught_failures()
    await until(lambda: 0 == ShortFile.now_open)


@pytest_twisted.ensureDeferred
async def test_socket_timeout_in_sendfile_is_no_error_of_the_file(
    listen, resource, log, caught_failures, monkeypatch
):
    """The client reads nothing, and ``sendfile`` is the first call to report the timeout of the kernel."""
    sendfile = os.sendfile

    def send_until_timeout(out, *rest):
        with suppress(BlockingIOError):
            while True:
                sendfile(out, *rest)
        dead = select.poll()
        dead.register(out, 0)
        dead.poll()
        return sendfile(out, *rest)

    port = listen(resource)
    await request_in_thread(port, request_head("/"))
    listen.running[0][1].socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1)
    monkeypatch.setattr(os, "sendfile", send_until_timeout)
    with await deferToThread(connect, port, 8192) as client:
        await deferToThread(client.send, request_head("/"))
        await until(lambda: 2 == len(log) and not listen.running[0][0].connections)
    assert [] == caught_failures()


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN])
@pytest_twisted.ensureDeferred
async def test_file_error_that_looks_like_a_socket_error_is_logged(
    listen, resource, code, caught_failures, monkeypatch
):
    """Such as a file on a network file system."""

    def failing(*_):
        raise OSError(code, os.strerror(code))

    port = listen(resource)
    await request_in_thread(port, request_head("/"))
    monkeypatch.setattr(os, "sendfile", failing)
    with pytest.raises((EOFError, ConnectionError)):
        await request_in_thread(port, request_head("/"))
    assert [type(OSError(code, ""))] == caught_failures()


@pytest.mark.parametrize("error", [NotFound(), OSError(errno.EIO, "rotten"), Overloaded()])
@pytest_twisted.ensureDeferred
async def test_stale_cache_entry_is_rendered_again(listen, resource, error, caught_failures):
    port = listen(resource)
    await request_in_thread(port, request_head("/"))
    resource.error = error
    replies = await request_in_thread(port, request_head("/"), request_head("/"))
    assert [200, 200] == [reply.status for reply in replies]
    assert 3 == resource.rendered
    assert [] == caught_failures()


@pytest_twisted.ensureDeferred
async def test_cache_of_a_server_is_bounded(listen, resource):
    with open(resource.path, "wb") as file:
        file.write(b"little")
    port, (factory, _) = listen(resource), listen.running[0]
    await request_in_thread(port, *(request_head(f"/{number}") for number in range(MAX_ENTRIES + 10)))
    assert MAX_ENTRIES + 10 == resource.rendered
    lookup = CacheLookup(factory.cache_for(LOOPBACK), factory.limits)
    kept = [lookup.find(request_head(f"/{number}")) is not None for number in range(MAX_ENTRIES + 10)]
    assert 0.9 * MAX_ENTRIES < sum(kept) <= MAX_ENTRIES
    assert all(kept[-sum(kept) :])


@pytest_twisted.ensureDeferred
async def test_long_request_head_is_not_cached(listen, resource):
    raw = request_head("/", f"X: {'x' * MAX_HEAD_BYTES}")
    await request_in_thread(listen(resource), raw, raw)
    assert 2 == resource.rendered


@asynccontextmanager
async def draining(listen, resource, *, asked_before=False):
    """A client that receives a cached response as draining begins, maybe with a further request sent."""
    with open(resource.path, "wb") as file:
        file.write(CONTENT)
    port, (factory, _) = listen(resource), listen.running[0]
    await request_in_thread(port, request_head("/"))
    with await deferToThread(connect, port, 8192) as client:
        await deferToThread(client.send, request_head("/"))
        await until(lambda: any(each.pending for each in factory._connections))
        if asked_before:
            await deferToThread(client.send, request_head("/"))
        drained = factory.drain()
        yield client
    await drained


@pytest_twisted.ensureDeferred
async def test_draining_clears_the_cache_and_closes_the_connection(listen, resource):
    """A download is running when draining begins; the next request is still answered."""
    async with draining(listen, resource, asked_before=True) as client:
        replies: list[Response] = [await deferToThread(client.read_response) for _ in range(2)]
        assert [None, "close"] == [reply.fields.get("connection") for reply in replies]
        assert await deferToThread(client.ended)
    assert [CONTENT] * 2 == [reply.body for reply in replies]


@pytest_twisted.ensureDeferred
async def test_draining_closes_a_connection_after_its_cached_response(listen, resource):
    async with draining(listen, resource) as client:
        assert CONTENT == (await deferToThread(client.read_response)).body
        assert await deferToThread(client.ended)


@pytest_twisted.ensureDeferred
async def test_cache_serves_unix_sockets(resource, log):
    factory = HTTPFactory(resource, reactor, access_log=log)
    with tempfile.TemporaryDirectory() as directory:
        port = reactor.listenUNIX(f"{directory}/s", factory)

        def converse():
            with BlockingClient(socket.socket(socket.AF_UNIX)) as client:
                client.connection.connect(f"{directory}/s")
                return [client.request(request_head("/")) for _ in range(3)]

        replies = await deferToThread(converse)
        await port.stopListening()
    await factory.drain()
    assert [(b"GET", 200, 100_000)] * 3 == log
    assert replies[0].undated == replies[1].undated == replies[2].undated
    assert 1 == resource.rendered
