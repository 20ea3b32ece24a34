"""Bodies that have arrived whole with their head: read at once, without a consumer."""

import pytest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.http_clients.in_memory import InMemoryClient

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


def post(body, more=b""):
    return HEAD + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Read(Resource):
    """Reads the body at once and answers with it."""

    isLeaf = True

    def render_POST(self, request):
        self.body = request.body
        data = request.body.read()
        return b"not yet" if data is None else b"<%b>" % data


@pytest.fixture
def root():
    return Read()


@pytest.fixture
def wire(root):
    return InMemoryClient(root)


def bodies(wire, count=1):
    return [response.body for response in wire.answers(*["POST"] * count)]


def test_body_that_arrived_with_its_head_is_read_at_once(wire):
    wire.send(post(b"hello"))
    assert ([b"<hello>"], True) == (bodies(wire), wire.connected)


def test_empty_body_is_read_at_once(wire):
    wire.send(post(b""))
    assert ([b"<>"], True) == (bodies(wire), wire.connected)


def test_pipelined_bodies_are_read_one_by_one(wire):
    wire.send(post(b"one") + post(b"two") + post(b"three")[:-2])
    assert [b"<one>", b"<two>", b"not yet"] == bodies(wire, 3)


def test_body_is_not_read_before_its_last_byte(wire):
    wire.send(post(b"hello")[:-1])
    assert [b"not yet"] == bodies(wire)


def test_chunked_body_is_not_read_at_once(wire):
    wire.send(CHUNKED)
    assert [b"not yet"] == bodies(wire)


def test_body_that_arrived_with_its_head_needs_no_100_continue(wire):
    wire.send(post(b"hello", b"Expect: 100-continue\r\n"))
    assert ([b"<hello>"], True) == (bodies(wire), wire.connected)


def test_body_that_was_read_is_neither_read_nor_delivered_again(wire, root):
    wire.send(post(b"hello"))
    assert root.body.read() is None
    with pytest.raises(RuntimeError):
        root.body.deliver(None)


class ReadLater(Resource):
    """Keeps the request, whose body the test reads later."""

    isLeaf = True

    def render_POST(self, request):
        self.request = request
        return NOT_DONE_YET


def test_body_that_has_arrived_meanwhile_is_read():
    root = ReadLater()
    wire = InMemoryClient(root)
    wire.send(post(b"hello")[:-1])
    assert root.request.body.read() is None
    wire.send(b"o")
    assert b"hello" == root.request.body.read()


def test_body_that_failed_is_not_read():
    root = ReadLater()
    wire = InMemoryClient(root)
    wire.send(post(b"hello")[:-1])
    wire.disconnect()
    assert root.request.body.read() is None
