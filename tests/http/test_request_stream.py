"""A stream of requests: any cut gives the same responses, also with garbage after it."""

import re
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.http_clients.in_memory import InMemoryClient

REQUESTS = {
    "get": b"GET /echo?x HTTP/1.1\r\nHost: x\r\n\r\n",
    "other fields": b"GET /echo HTTP/1.1\r\nHost: y\r\nAccept: */*\r\n\r\n",
    "head": b"HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\n",
    "length": b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    "empty": b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "chunked": b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;a=b\r\nhello\r\n2\r\n\r\n\r\n0\r\nT: x\r\n\r\n",
    "unknown method": b"BREW /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nGET",
    "old": b"GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "nowhere": b"GET /nowhere HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
}
STREAMS = st.lists(st.sampled_from(sorted(REQUESTS)), min_size=1, max_size=6)


class Echo(Resource):
    """Answers method, target and body of the request."""

    isLeaf = True

    def render(self, request):
        pieces = [request.method, b" ", request.uri, b" "]
        collector = SimpleNamespace(registerProducer=lambda *_: None, unregisterProducer=lambda: None)
        collector.write = pieces.append
        request.body.deliver(collector).addCallback(lambda _: self._answer(request, b"".join(pieces)))
        return NOT_DONE_YET

    def _answer(self, request, body):
        request.setHeader(b"Content-Length", b"%d" % len(body))
        request.write(body)
        request.finish()


def tree() -> Resource:
    root = Resource()
    root.putChild(b"echo", Echo())
    return root


def answers(pieces: list[bytes]) -> tuple[bytes, bool]:
    """Return the responses without dates, and whether the connection is kept."""
    wire = InMemoryClient(tree())
    for piece in pieces:
        wire.send(piece)
    return re.sub(rb"(?:Date|X-Request-Id): [^\r]*", b"", wire.received()), wire.connected


def stream(names: list[str]) -> bytes:
    return b"".join(REQUESTS[name] for name in names)


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_request_in_one_piece_and_byte_by_byte(name):
    wire = REQUESTS[name]
    whole = answers([wire])
    assert whole == answers([wire[i : i + 1] for i in range(len(wire))])
    assert (1, True) == (whole[0].count(b"HTTP/1.1 "), whole[1])


@settings(max_examples=200, deadline=None)
@given(STREAMS, st.data())
def test_stream_of_requests_cut_anywhere(names, data):
    wire = stream(names)
    cuts = data.draw(st.sets(st.integers(0, len(wire)), max_size=10))
    pieces = [wire[a:b] for a, b in pairwise(sorted({0, len(wire), *cuts})) if a < b]
    one_by_one = [answers([REQUESTS[name]])[0] for name in names]
    assert (b"".join(one_by_one), True) == answers(pieces)


@settings(max_examples=100, deadline=None)
@given(STREAMS, st.binary(min_size=1, max_size=40))
def test_garbage_after_a_stream_changes_no_response(names, garbage):
    wire = stream(names)
    clean, _ = answers([wire])
    noisy, _ = answers([wire + b"\x00" + garbage])
    assert clean == noisy[: len(clean)]
    assert noisy[len(clean) :].startswith(b"HTTP/1.1 400 Bad Request\r\n")
