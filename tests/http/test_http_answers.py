"""Answers that are known: what is kept of them, when they are given again, and when not."""

import errno
import os
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
from filestored.http.parser.headers import Headers
from filestored.http.parser.request_head import RequestHead
from filestored.http.response import CachedHead
from filestored.http.response_cache import (
    MAX_ENTRIES,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    CachedResponse,
    ResponseCache,
)
from filestored.interfaces import IBlob, ICacheable, IInMemory
from tests.http.source import Source
from tests.talk import Reply, Talk, asking, question, talk, until

LOOPBACK = IPv4Address("TCP", "127.0.0.1", 0)

CONTENT = os.urandom(1 << 20) * 5
REFUSED = b"not this way"


class Held:
    """Something open, counted."""

    now_open = 0

    def __init__(self, size):
        self.size = size
        type(self).now_open += 1

    def close(self):
        type(self).now_open -= 1


@implementer(IBlob, IInMemory)
class HeldBytes(Held):
    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        super().__init__(len(self.data))


@implementer(IBlob)
class HeldFile(Source, Held):
    def __init__(self, path):
        self._file = open(path, "rb")  # noqa: SIM115  # closed by its owner
        Source.__init__(self, self._file.fileno())
        Held.__init__(self, os.fstat(self._file.fileno()).st_size)

    def close(self):
        super().close()
        self._file.close()


class Shelf(Resource):
    """Answers with one file, and allows that to be repeated; `error` is what opening it raises again."""

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
            request.cache_with(self.reopen)
        request.setResponseCode(self.status)
        with open(self.path, "rb") as file:
            content = file.read()
        request.setHeader(b"Content-Length", b"%d" % len(content))
        return content

    def render_POST(self, request):
        return b"taken"


class Log(list):
    """An access log: what it was told, as (method, status, bytes); counts what it described."""

    described = 0

    def format_entry(self, entry):
        self.described += 1
        return entry.method, entry.status, entry.sent

    def record(self, moment, peer, description):
        self.append(description)


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def listen(log):
    """A function that serves a resource on loopback, and answers the port."""
    running = []

    def start(root):
        factory = HTTPFactory(root, reactor, Limits(keep_alive_timeout=3600), log)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        running.append((factory, port))
        return port.getHost().port

    start.running = running
    yield start
    for factory, port in running:
        factory.abort()
        pytest_twisted.blockon(port.stopListening())
        pytest_twisted.blockon(factory.drain())
    assert 0 == HeldBytes.now_open == HeldFile.now_open


@pytest.fixture
def shelf(tmp_path, request):
    """A shelf with a file of 100,000 bytes."""
    path = tmp_path / "content"
    path.write_bytes(CONTENT[:100_000])
    return Shelf(str(path), HeldFile)


def known(raw, reopen=None, size=0, fields=1):
    head = RequestHead(b"GET", b"/", b"/", b"", b"HTTP/1.1", Headers([(b"host", b"h")] * fields), raw)
    return CachedResponse(head, CachedHead(200, [b"Content-Length: %d" % size]), size, reopen)


# --- what is kept -----------------------------------------------------------------------------


def test_an_answer_is_found_by_the_bytes_of_its_question():
    answers, answer = ResponseCache(), known(b"a")
    answers.add_response(answer)
    assert [answer, None, None] == [answers.get(raw) for raw in (b"a", b"A", b"a ")]


def test_the_first_of_too_many_goes_first():
    answers = ResponseCache(max_entries=2)
    for raw in (b"a", b"b", b"c"):
        answers.add_response(known(raw))
    assert [False, True, True] == [answers.get(raw) is not None for raw in (b"a", b"b", b"c")]


def test_an_answer_that_is_known_already_takes_the_place_of_no_other():
    answers, again = ResponseCache(max_entries=2), known(b"b")
    for answer in (known(b"a"), known(b"b"), again):
        answers.add_response(answer)
    assert answers.get(b"a") is not None
    assert answers.get(b"b") is again


def test_where_none_may_be_known_none_is():
    answers = ResponseCache(max_entries=0)
    answers.add_response(known(b"a"))
    assert answers.get(b"a") is None


def test_only_short_heads_are_kept():
    answers = ResponseCache()
    answers.add_response(known(b"x" * MAX_HEAD_BYTES))
    answers.add_response(known(b"x" * (MAX_HEAD_BYTES + 1)))
    assert answers.get(b"x" * MAX_HEAD_BYTES) is not None
    assert answers.get(b"x" * (MAX_HEAD_BYTES + 1)) is None


def test_only_heads_of_few_fields_are_kept():
    answers = ResponseCache()
    answers.add_response(known(b"few", fields=MAX_HEADERS))
    answers.add_response(known(b"many", fields=MAX_HEADERS + 1))
    assert answers.get(b"few") is not None
    assert answers.get(b"many") is None


def test_an_answer_may_be_forgotten_twice_and_all_at_once():
    answers, answer = ResponseCache(), known(b"a")
    answers.remove(answer)
    answers.add_response(answer)
    answers.remove(answer)
    assert answers.get(b"a") is None
    answers.add_response(answer)
    answers.clear()
    assert answers.get(b"a") is None


@pytest.mark.parametrize("error", [NotFound(), OSError(errno.EIO, "rotten"), Overloaded()])
def test_what_cannot_be_opened_any_more_is_no_answer(error):
    def fail():
        raise error

    assert known(b"a", fail).open() is None


def test_what_has_another_size_is_no_answer_and_is_closed(tmp_path):
    (tmp_path / "f").write_bytes(b"12345")
    for kind in (HeldBytes, HeldFile):
        assert known(b"a", lambda kind=kind: kind(tmp_path / "f"), 6).open() is None
        assert 0 == kind.now_open
        blob = known(b"a", lambda kind=kind: kind(tmp_path / "f"), 5).open()
        assert 5 == blob.size
        blob.close()


# --- on sockets -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [HeldBytes, HeldFile])
@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 16 * 1024 + 1, 1 << 20, (1 << 20) + 1, len(CONTENT)])
@pytest_twisted.ensureDeferred
async def test_the_same_question_has_the_same_answer_unread(listen, tmp_path, kind, size, log):
    (tmp_path / "content").write_bytes(CONTENT[:size])
    shelf = Shelf(str(tmp_path / "content"), kind)
    replies = await asking(listen(shelf), *[question("/")] * 3)
    assert CONTENT[:size] == replies[0].body
    assert [replies[0].undated] * 2 == [reply.undated for reply in replies[1:]]
    assert 1 == shelf.rendered
    await until(lambda: [(b"GET", 200, size)] * 3 == log)


@pytest_twisted.ensureDeferred
async def test_the_access_log_describes_a_known_answer_once(listen, shelf, log):
    await asking(listen(shelf), *[question("/")] * 5)
    await until(lambda: [(b"GET", 200, 100_000)] * 5 == log)
    assert 2 == log.described  # the first answer was made for its request


@pytest_twisted.ensureDeferred
async def test_the_date_is_of_the_moment(listen, shelf, monkeypatch):
    port = listen(shelf)
    dates = []
    for second in (86_400, 86_401, 86_402):
        monkeypatch.setattr("filestored.http.response.time", lambda second=second: second)
        (reply,) = await asking(port, question("/"))
        dates.append(reply.fields[b"date"])
    assert [b"Fri, 02 Jan 1970 00:00:0%d GMT" % second for second in range(3)] == dates
    assert 1 == shelf.rendered


@pytest_twisted.ensureDeferred
async def test_connections_share_what_is_known(listen, shelf):
    port = listen(shelf)
    replies = [(await asking(port, question("/")))[0] for _ in range(3)]
    assert replies[0].undated == replies[1].undated == replies[2].undated
    assert 1 == shelf.rendered


@pytest.mark.parametrize(
    "other",
    [
        question("/", "Accept: */*"),
        question("/?"),
        question("/").replace(b"Host: h", b"Host: i"),
        question("/").replace(b"Host:", b"host:"),
        question("/", version="1.0"),
        question("/", "Connection: keep-alive", version="1.0"),
        question("/", "Connection: close"),
        question("/", method="HEAD"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_another_question_is_read(listen, shelf, other):
    port = listen(shelf)
    await asking(port, question("/"), question("/"))
    assert 1 == shelf.rendered
    await asking(port, other)
    assert 2 == shelf.rendered


@pytest.mark.parametrize(
    "ending",
    [
        question("/", version="1.0"),
        question("/", "Connection: close"),
        question("/", "Connection: keep-alive", version="1.0"),
        question("/", method="HEAD"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_does_not_go_on_or_has_no_body_is_read_each_time(listen, shelf, ending):
    port = listen(shelf)
    for _ in range(3):
        await asking(port, ending)
    assert 3 == shelf.rendered


@pytest.mark.parametrize("status", [206, 400, 404, 500])
@pytest_twisted.ensureDeferred
async def test_only_a_200_is_repeated(listen, shelf, status):
    shelf.status = status
    replies = await asking(listen(shelf), question("/"), question("/"))
    assert [status] * 2 == [reply.status for reply in replies]
    assert 2 == shelf.rendered


BODIED = {
    "a length": (question("/", "Content-Length: 5"), b"hello"),
    "a length of zero": (question("/", "Content-Length: 0"), b""),
    "chunks": (question("/", "Transfer-Encoding: chunked"), b"5\r\nhello\r\n0\r\n\r\n"),
    "a length and a promise": (question("/", "Content-Length: 5", "Expect: 100-continue"), b"hello"),
}


@pytest.mark.parametrize("name", BODIED)
@pytest_twisted.ensureDeferred
async def test_the_body_of_a_question_is_never_taken_for_the_next_one(listen, shelf, name):
    """It comes at once with its head, then behind it: in a piece of its own."""
    raw, body = BODIED[name]
    port = listen(shelf)

    def converse():
        with talk(port) as client:
            together = client.ask(raw + body)
        with talk(port) as client:
            client.say(raw)
            apart = client.hear()
            client.say(body)
            last = None if apart.fields.get(b"connection") == b"close" else client.ask(question("/x"))
        return together, apart, last

    for _ in range(2):
        together, apart, last = await deferToThread(converse)
        assert together.body == apart.body == CONTENT[:100_000]
        assert last is None or 200 == last.status


@pytest_twisted.ensureDeferred
async def test_a_question_in_two_pieces_is_read(listen, shelf):
    port, raw = listen(shelf), question("/")

    def in_pieces(client, position):
        client.say(raw[:position])
        with talk(port) as other:  # whose answer says that the first piece has been read
            other.ask(question("/other", "Connection: close"))
        return client.ask(raw[position:])

    def converse():
        with talk(port) as client:
            first = client.ask(raw)
            return first, [in_pieces(client, position) for position in (1, 5, 15, len(raw) - 1)]

    first, others = await deferToThread(converse)
    assert [first.undated] * 4 == [other.undated for other in others]
    assert 1 + 2 * 4 == shelf.rendered


@pytest_twisted.ensureDeferred
async def test_questions_in_a_row_are_answered_in_order(listen, shelf):
    port = listen(shelf)

    def converse():
        with talk(port) as client:
            client.ask(question("/"))
            client.say(question("/") + question("/y") + question("/") * 2)
            return [client.hear() for _ in range(4)]

    assert [CONTENT[:100_000]] * 4 == [reply.body for reply in await deferToThread(converse)]


@pytest_twisted.ensureDeferred
async def test_behind_an_upload_it_is_as_anywhere(listen, shelf):
    port = listen(shelf)
    upload = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
    replies = await asking(port, question("/"), upload, question("/"), upload + question("/"), b"")
    assert [b"taken", b"taken"] == [replies[1].body, replies[3].body]
    assert [CONTENT[:100_000]] * 3 == [replies[place].body for place in (0, 2, 4)]


@pytest_twisted.ensureDeferred
async def test_a_slow_reader_gets_all_answers_in_order(listen, shelf, log):
    with open(shelf.path, "wb") as file:
        file.write(CONTENT)
    port = listen(shelf)
    await asking(port, question("/"))

    def converse():
        with talk(port, receive_buffer=8192) as client:
            for _ in range(3):
                client.say(question("/"))
            client.say(question("/last", "Connection: close"))
            return [client.hear().body for _ in range(4)] + [client.ended()]

    assert [CONTENT] * 4 + [True] == await deferToThread(converse)
    await until(lambda: [(b"GET", 200, len(CONTENT))] * 5 == log)


@pytest.mark.parametrize("manner", ["politely", "with a reset"])
@pytest_twisted.ensureDeferred
async def test_a_reader_that_vanishes_leaves_nothing_open(listen, shelf, log, manner, caught_failures):
    with open(shelf.path, "wb") as file:
        file.write(CONTENT)
    port = listen(shelf)
    await asking(port, question("/"))

    def vanish():
        with talk(port, receive_buffer=8192) as client:
            client.say(question("/"))
            client.connection.recv(1000)
            if manner == "with a reset":
                client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    await deferToThread(vanish)
    await until(lambda: 2 == len(log) and 0 == HeldFile.now_open)
    assert (b"GET", 200, len(CONTENT)) == log[1]
    assert [] == caught_failures()


@pytest_twisted.ensureDeferred
async def test_a_file_that_becomes_shorter_on_its_way_breaks_the_connection(
    listen, shelf, log, caught_failures
):
    with open(shelf.path, "wb") as file:
        file.write(CONTENT)
    port = listen(shelf)
    await asking(port, question("/"))

    def converse():
        with talk(port, receive_buffer=8192) as client:
            client.say(question("/"))
            client.connection.recv(1, socket.MSG_PEEK)
            os.truncate(shelf.path, 3 << 20)
            client.say(question("/"))  # which is not answered
            with pytest.raises((EOFError, ConnectionError)):
                client.hear()

    await deferToThread(converse)
    await until(lambda: 0 == HeldFile.now_open and 2 == len(log))
    assert [OSError] == caught_failures()
    assert 1 == shelf.rendered


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_shorter_than_it_says_breaks_the_connection(listen, tmp_path, caught_failures):
    class Boasting(HeldFile):
        def __init__(self, path):
            super().__init__(path)
            self.size = 100

    (tmp_path / "content").write_bytes(b"x" * 100)
    shelf = Shelf(str(tmp_path / "content"), Boasting)
    port = listen(shelf)
    await asking(port, question("/"))
    os.truncate(shelf.path, 90)

    def converse():
        with talk(port) as client, pytest.raises((EOFError, ConnectionError)):
            client.ask(question("/"))

    await deferToThread(converse)
    assert [OSError] == caught_failures()
    await until(lambda: 0 == Boasting.now_open)


@pytest_twisted.ensureDeferred
async def test_a_client_that_the_kernel_gives_up_on_is_no_fault_of_the_file(
    listen, shelf, log, caught_failures, monkeypatch
):
    """He takes nothing any more, and ``sendfile`` is the first to hear that this was too long."""
    sendfile = os.sendfile

    def to_a_dead_end(out, *rest):
        with suppress(BlockingIOError):
            while True:
                sendfile(out, *rest)
        dead = select.poll()
        dead.register(out, 0)
        dead.poll()
        return sendfile(out, *rest)

    port = listen(shelf)
    await asking(port, question("/"))
    listen.running[0][1].socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1)
    monkeypatch.setattr(os, "sendfile", to_a_dead_end)
    with await deferToThread(talk, port, 8192) as client:
        await deferToThread(client.say, question("/"))
        await until(lambda: 2 == len(log) and not listen.running[0][0].connections)
    assert [] == caught_failures()


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN])
@pytest_twisted.ensureDeferred
async def test_a_file_that_fails_as_a_socket_would_is_to_blame(
    listen, shelf, code, caught_failures, monkeypatch
):
    """One that lies on a network, or belongs to a process that has ended."""

    def failing(*_):
        raise OSError(code, os.strerror(code))

    port = listen(shelf)
    await asking(port, question("/"))
    monkeypatch.setattr(os, "sendfile", failing)
    with pytest.raises((EOFError, ConnectionError)):
        await asking(port, question("/"))
    assert [type(OSError(code, ""))] == caught_failures()


@pytest.mark.parametrize("error", [NotFound(), OSError(errno.EIO, "rotten"), Overloaded()])
@pytest_twisted.ensureDeferred
async def test_what_cannot_be_opened_again_is_asked_of_its_resource(listen, shelf, error, caught_failures):
    port = listen(shelf)
    await asking(port, question("/"))
    shelf.error = error
    replies = await asking(port, question("/"), question("/"))
    assert [200, 200] == [reply.status for reply in replies]
    assert 3 == shelf.rendered
    assert [] == caught_failures()


@pytest_twisted.ensureDeferred
async def test_no_more_than_so_many_are_known(listen, shelf):
    with open(shelf.path, "wb") as file:
        file.write(b"little")
    port, (factory, _) = listen(shelf), listen.running[0]
    await asking(port, *(question(f"/{number}") for number in range(MAX_ENTRIES + 10)))
    assert MAX_ENTRIES + 10 == shelf.rendered
    known = factory.cache_for(LOOPBACK)
    assert MAX_ENTRIES == sum(
        known.get(question(f"/{number}")) is not None for number in range(MAX_ENTRIES + 10)
    )
    assert known.get(question("/9")) is None


@pytest_twisted.ensureDeferred
async def test_a_long_head_is_read_each_time(listen, shelf):
    raw = question("/", f"X: {'x' * MAX_HEAD_BYTES}")
    await asking(listen(shelf), raw, raw)
    assert 2 == shelf.rendered


@pytest_twisted.ensureDeferred
async def test_many_questions_in_one_piece_are_not_looked_up(listen, shelf):
    """Each look would hash all that is left of the piece."""
    with open(shelf.path, "wb") as file:
        file.write(b"little")
    port, (factory, _) = listen(shelf), listen.running[0]
    looked_up = []
    factory.cache_for(LOOPBACK).get = looked_up.append
    count = 4 * MAX_HEAD_BYTES // len(question("/"))

    def converse():
        with talk(port) as client:
            client.say(question("/") * count)
            return [client.hear().body for _ in range(count)]

    assert [b"little"] * count == await deferToThread(converse)
    assert MAX_HEAD_BYTES >= max(map(len, looked_up))


@asynccontextmanager
async def draining(listen, shelf, *, asked_before=False):
    """A client to whom a known answer is on its way as the end begins; it may have asked once more before."""
    with open(shelf.path, "wb") as file:
        file.write(CONTENT)
    port, (factory, _) = listen(shelf), listen.running[0]
    await asking(port, question("/"))
    with await deferToThread(talk, port, 8192) as client:
        await deferToThread(client.say, question("/"))
        await until(lambda: any(each.pending for each in factory._connections))
        if asked_before:
            await deferToThread(client.say, question("/"))
        drained = factory.drain()
        yield client
    await drained


@pytest_twisted.ensureDeferred
async def test_at_the_end_nothing_is_known_and_the_connection_closes(listen, shelf):
    """A download is under way when the end begins; the next question is still answered."""
    async with draining(listen, shelf, asked_before=True) as client:
        replies: list[Reply] = [await deferToThread(client.hear) for _ in range(2)]
        assert [None, b"close"] == [reply.fields.get(b"connection") for reply in replies]
        assert await deferToThread(client.ended)
    assert [CONTENT] * 2 == [reply.body for reply in replies]


@pytest_twisted.ensureDeferred
async def test_at_the_end_a_connection_is_closed_behind_its_last_answer(listen, shelf):
    async with draining(listen, shelf) as client:
        assert CONTENT == (await deferToThread(client.hear)).body
        assert await deferToThread(client.ended)


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_repeats_too(shelf, log):
    factory = HTTPFactory(shelf, reactor, access_log=log)
    with tempfile.TemporaryDirectory() as directory:
        port = reactor.listenUNIX(f"{directory}/s", factory)

        def converse():
            with Talk(socket.socket(socket.AF_UNIX)) as client:
                client.connection.connect(f"{directory}/s")
                return [client.ask(question("/")) for _ in range(3)]

        replies = await deferToThread(converse)
        await port.stopListening()
    await factory.drain()
    assert [(b"GET", 200, 100_000)] * 3 == log
    assert replies[0].undated == replies[1].undated == replies[2].undated
    assert 1 == shelf.rendered
