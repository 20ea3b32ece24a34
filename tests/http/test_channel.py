"""One connection from outside: order, keep-alive, 100 Continue, early refusals, timeouts, eviction."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from filestored.errors import BodyLost, BodyMalformed, BodyStalled, TooLarge
from filestored.http.input_buffer import MAX_READS
from filestored.http.limits import Limits
from filestored.http.state import ConnectionState
from tests.http_clients.in_memory import InMemoryClient, parse_responses

POST = b"POST /collect HTTP/1.1\r\nHost: x\r\n"


@implementer(IConsumer)
class Collector:
    """A consumer that keeps the body and its producer, and raises `TooLarge` beyond `limit`."""

    def __init__(self, limit=None):
        self.data = b""
        self.limit = limit
        self.producer = None

    def registerProducer(self, producer, streaming):
        assert streaming
        self.producer = producer

    def unregisterProducer(self):
        self.producer = None

    def write(self, data):
        self.data += data
        if self.limit is not None and len(self.data) > self.limit:
            raise TooLarge


class Collect(Resource):
    """Collects the body of a POST and answers with the outcome."""

    isLeaf = True

    def __init__(self, limit=None):
        super().__init__()
        self.limit = limit
        self.outcome = None

    def render_POST(self, request):
        self.collector = Collector(self.limit)
        request.body.deliver(self.collector).addCallbacks(
            lambda _: self.answer(request, 200, b"took %d" % len(self.collector.data)),
            lambda failure: self.answer(request, 400, failure.type.__name__.encode(), failure),
        )
        return NOT_DONE_YET

    def answer(self, request, status, line, failure=None):
        self.outcome = failure.type if failure else status
        request.setResponseCode(status)
        request.write(line)
        request.finish()


class Later(Resource):
    """Answers when the test calls `answer`."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.requests = []
        self.lost = []

    def render_GET(self, request):
        self.requests.append(request)
        request.notifyFinish().addErrback(lambda failure: self.lost.append(request))
        return NOT_DONE_YET

    def answer(self, index, text):
        request = self.requests[index]
        request.setHeader(b"Content-Length", b"%d" % len(text))
        request.write(text)
        request.finish()


class Refuse(Resource):
    """Refuses without reading the body."""

    isLeaf = True

    def render_POST(self, request):
        request.setResponseCode(403)
        return b"no"


class Fail(Resource):
    """Raises, before or after its response has begun."""

    isLeaf = True

    def render_GET(self, request):
        if request.args.get(b"begun"):
            request.setHeader(b"Content-Length", b"10")
            request.write(b"12345")
        raise ZeroDivisionError("secret")


class Short(Resource):
    """Announces more than it sends."""

    isLeaf = True

    def render_GET(self, request):
        request.setHeader(b"Content-Length", b"10")
        request.write(b"12345")
        request.finish()
        return NOT_DONE_YET


class NotFoundResource(Resource):
    """Is not there, and neither is anything below."""

    def getChild(self, path, request):
        return self

    def render(self, request):
        request.setResponseCode(404)
        return b"not here"


@pytest.fixture
def root():
    root = NotFoundResource()
    root.later, root.collect = Later(), Collect()
    root.putChild(b"later", root.later)
    root.putChild(b"collect", root.collect)
    root.putChild(b"little", Collect(limit=10))
    root.putChild(b"refuse", Refuse())
    root.putChild(b"fail", Fail())
    root.putChild(b"short", Short())
    return root


@pytest.fixture
def wire(root):
    return InMemoryClient(root)


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


# --- order ------------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(wire, root):
    wire.send(get("/later") + get("/nothing") + get("/later"))
    assert (b"", 1) == (wire.received(), len(root.later.requests))
    root.later.answer(0, b"first")
    root.later.answer(1, b"third")
    answers = wire.answers("GET", "GET", "GET")
    assert [(200, b"first"), (404, answers[1].body), (200, b"third")] == [(a.status, a.body) for a in answers]


def test_input_during_a_response_pauses_the_socket(wire, root):
    wire.send(get("/later") + get("/later"))
    assert "paused" == wire.transport.producerState
    root.later.answer(0, b"")
    assert "producing" == wire.transport.producerState


def test_ten_thousand_pipelined_requests_are_all_answered(wire):
    wire.send(get("/nothing") * 10_000)
    assert 10_000 == wire.received().count(b"HTTP/1.1 404 Not Found\r\n")


def test_reads_per_reactor_iteration_are_bounded(wire):
    wire.channel.dataReceived(get("/nothing") * 1_000)
    at_once = wire.received().count(b"HTTP/1.1 404 Not Found\r\n")
    assert 0 < at_once <= 64
    assert "paused" == wire.transport.producerState
    wire.run_reactor()
    assert 1_000 - at_once == wire.received().count(b"HTTP/1.1 404 Not Found\r\n")
    assert "producing" == wire.transport.producerState


TINY_CHUNKS = b"1\r\nx\r\n" * 5_000 + b"0\r\n\r\n"


def test_chunks_per_reactor_iteration_are_bounded(wire, root):
    wire.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    wire.channel.dataReceived(TINY_CHUNKS)
    assert 0 < len(root.collect.collector.data) <= 1_000
    chunking = wire.channel, wire.transport
    wire.connect()
    wire.channel.dataReceived(get("/nothing"))
    assert b"404" in wire.received()
    wire.channel, wire.transport = chunking
    wire.run_reactor()
    assert b"took 5000" == wire.answers("POST")[0].body


def test_deferred_chunks_before_the_end_of_input_are_read(wire):
    wire.channel.dataReceived(POST + b"Transfer-Encoding: chunked\r\n\r\n" + TINY_CHUNKS)
    wire.channel.readConnectionLost()
    wire.run_reactor()
    assert b"took 5000" == wire.answers("POST")[0].body


def test_deferred_chunks_that_end_early_close_the_connection(wire, root):
    wire.channel.dataReceived(POST + b"Transfer-Encoding: chunked\r\n\r\n" + TINY_CHUNKS[:-5])
    wire.channel.readConnectionLost()
    wire.run_reactor()
    assert (False, BodyLost) == (wire.connected, root.collect.outcome)


def test_deferred_requests_before_the_end_of_input_are_answered(wire):
    wire.channel.dataReceived(get("/nothing") * 100)
    wire.channel.readConnectionLost()
    wire.run_reactor()
    assert 100 == wire.received().count(b"HTTP/1.1 404 Not Found\r\n")
    assert not wire.connected


def test_deferred_input_of_a_lost_connection_is_dropped(wire, root):
    wire.channel.dataReceived(POST + b"Transfer-Encoding: chunked\r\n\r\n" + TINY_CHUNKS)
    read = len(root.collect.collector.data)
    wire.disconnect()
    wire.run_reactor()
    assert (read, BodyLost) == (len(root.collect.collector.data), root.collect.outcome)


def test_unread_body_of_many_chunks_closes_the_connection(wire):
    wire.send(b"POST /refuse HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + TINY_CHUNKS)
    assert (403, "close") == ((answer := wire.answers("POST")[0]).status, answer.fields["connection"])


def test_minimum_body_rate_counts_bytes_without_chunk_framing(wire, root):
    """A byte in a chunk with an extension of 200 bytes is one byte."""
    wire.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"1;" + b"a" * 200 + b"\r\nx\r\n"
    for _ in range(61):
        wire.send(chunk * 10)
        wire.wait(1)
    assert BodyStalled is root.collect.outcome


def test_unread_body_in_the_input_buffer_keeps_the_connection(wire):
    wire.send(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + get("/nothing"))
    assert [403, 404] == [answer.status for answer in wire.answers("POST", "GET")]


# --- the end of a connection ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_head", "kept"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
def test_keep_alive_follows_version_and_connection_header(wire, request_head, kept):
    wire.send(request_head)
    (answer,) = wire.answers("GET")
    assert kept == wire.connected
    assert {True: answer.fields.get("connection"), False: "close"}[kept] == answer.fields.get("connection")


def test_response_of_unknown_length_is_chunked_or_closes_for_http_1_0(wire, root):
    wire.send(get("/later"))
    root.later.requests[0].write(b"abc")
    root.later.requests[0].write(b"def")
    root.later.requests[0].finish()
    assert wire.received().endswith(b"\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
    wire.send(b"GET /later HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    root.later.requests[1].write(b"abc")
    root.later.requests[1].finish()
    assert wire.received().endswith(b"\r\n\r\nabc")
    assert not wire.connected


def test_early_refusal_closes_the_connection(wire):
    wire.send(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc")
    (answer,) = wire.answers("POST")
    assert (403, "close", b"no") == (answer.status, answer.fields["connection"], answer.body)
    assert not wire.connected


def test_bad_request_is_answered_once_and_closes_the_connection(wire):
    wire.send(get("/nothing") + b"garbage\r\n\r\n" + get("/nothing"))
    assert [404, 400] == [answer.status for answer in wire.answers("GET", "GET")]
    assert not wire.connected


def test_exception_of_a_resource_is_500_without_details(wire, caught_failures):
    answer = wire.ask("GET", "/fail")
    assert (500, b"internal server error\n") == (answer.status, answer.body)
    assert [ZeroDivisionError] == caught_failures()


def test_exception_after_the_response_began_aborts_the_connection(wire, caught_failures):
    wire.send(get("/fail?begun=1"))
    assert not wire.connected
    assert [ZeroDivisionError] == caught_failures()


def test_response_shorter_than_announced_aborts_the_connection(wire):
    wire.send(get("/short") + get("/nothing"))
    assert 1 == wire.received().count(b"HTTP/1.1")
    assert not wire.connected


def test_notify_finish_fails_on_a_lost_connection(wire, root):
    wire.send(get("/later"))
    wire.disconnect()
    assert root.later.requests == root.later.lost
    root.later.answer(0, b"too late")


# --- bodies -----------------------------------------------------------------------------------------


def test_body_is_delivered_to_its_consumer(wire):
    assert b"took 5" == wire.ask("POST", "/collect", b"hello").body
    wire.send(POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert b"took 3" == wire.answers("POST")[0].body


def test_100_continue_is_sent_when_the_body_is_wanted(wire):
    wire.send(POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == wire.received()
    wire.send(b"abc")
    assert b"took 3" == wire.answers("POST")[0].body
    assert wire.connected


def test_no_100_continue_after_a_refusal(wire):
    wire.send(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    (answer,) = wire.answers("POST")
    assert (403, "close") == (answer.status, answer.fields["connection"])


def test_no_100_continue_after_the_body_began(wire):
    wire.send(POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc")
    assert b"100" not in wire.received()


def test_paused_consumer_pauses_the_transport(wire, root):
    wire.send(POST + b"Content-Length: 9\r\n\r\nabc")
    producer = root.collect.collector.producer
    producer.pauseProducing()
    wire.send(b"def")
    assert (b"abc", "paused") == (root.collect.collector.data, wire.transport.producerState)
    producer.resumeProducing()
    assert (b"abcdef", "producing") == (root.collect.collector.data, wire.transport.producerState)
    wire.send(b"ghi")
    assert b"took 9" == wire.answers("POST")[0].body


@pytest.mark.parametrize("last", [b"x" * 20, b"x" * 8])
def test_exception_of_the_consumer_fails_the_delivery(wire, last):
    wire.send(b"POST /little HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\n\r\n" + b"x" * 10)
    wire.send(last[:8])
    assert (400, b"TooLarge") == ((answer := wire.answers("POST")[0]).status, answer.body)


def test_malformed_chunks_fail_the_delivery_and_close_the_connection(wire, root):
    wire.send(POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n" + get("/nothing"))
    (answer,) = wire.answers("POST")
    assert (BodyMalformed, "close") == (root.collect.outcome, answer.fields["connection"])
    assert not wire.connected


def test_lost_connection_fails_the_delivery(wire, root):
    wire.send(POST + b"Content-Length: 9\r\n\r\nabc")
    wire.disconnect()
    assert BodyLost == root.collect.outcome


@pytest.mark.parametrize("framing", [b"Content-Length: 0\r\n\r\n", b"\r\n"])
def test_empty_body_is_delivered_at_once(wire, framing):
    wire.send(POST + framing)
    assert b"took 0" == wire.answers("POST")[0].body


# --- time -------------------------------------------------------------------------------------------


def test_keep_alive_timeout_closes_after_75_seconds(wire):
    wire.ask("GET", "/nothing")
    wire.wait(74)
    assert wire.connected
    wire.wait(2)
    assert not wire.connected


def test_empty_line_that_arrives_in_pieces_begins_no_request(wire):
    wire.ask("GET", "/nothing")
    for byte in (b"\r", b"\n"):
        wire.send(byte)
        wire.wait(0.5)
    wire.wait(20)
    assert b"" == wire.received()
    assert wire.connected


def test_head_timeout_is_10_seconds_from_the_first_byte(wire):
    for byte in get("/nothing" + "x" * 30)[:18]:
        wire.send(bytes([byte]))
        wire.wait(0.5)
    assert wire.connected
    for byte in b"xxxxxxxxx":
        wire.send(bytes([byte]))
        wire.wait(0.5)
    assert b"HTTP/1.1 408 Request Timeout\r\n" in wire.received()
    assert not wire.connected


def test_body_stall_timeout_fails_the_delivery_after_30_seconds(wire, root):
    wire.send(POST + b"Content-Length: 9\r\n\r\nabc")
    wire.wait(29)
    assert root.collect.outcome is None
    wire.wait(2)
    assert BodyStalled == root.collect.outcome
    assert "close" == wire.answers("POST")[0].fields["connection"]


def test_minimum_body_rate_fails_the_delivery_after_60_seconds(wire, root):
    wire.send(POST + b"Content-Length: 999999\r\n\r\n")
    for _ in range(59):
        wire.send(b"x" * 100)
        wire.wait(1)
    assert root.collect.outcome is None
    for _ in range(3):
        wire.send(b"x" * 100)
        wire.wait(1)
    assert BodyStalled == root.collect.outcome


def test_body_timeouts_wait_for_a_paused_consumer(wire, root):
    wire.send(POST + b"Content-Length: 9\r\n\r\nabc")
    root.collect.collector.producer.pauseProducing()
    wire.wait(120)
    assert root.collect.outcome is None
    root.collect.collector.producer.resumeProducing()
    wire.send(b"defghi")
    assert 200 == root.collect.outcome


def test_write_timeout_aborts_after_60_seconds(wire, root):
    wire.send(get("/later"))
    root.later.requests[0].write(b"x")
    wire.transport.producer.pauseProducing()
    wire.wait(59)
    assert wire.connected
    wire.wait(2)
    assert not wire.connected
    assert root.later.requests == root.later.lost


def test_slow_resource_has_no_timeout(wire, root):
    wire.send(get("/later"))
    wire.wait(300)
    root.later.answer(0, b"at last")
    assert b"at last" == wire.answers("GET")[0].body


def test_no_timer_runs_without_connections(wire):
    assert wire.clock.getDelayedCalls()
    wire.disconnect()
    assert [] == wire.clock.getDelayedCalls()


# --- the whole server ------------------------------------------------------------------------------


def test_connection_beyond_the_limit_is_answered_503(root):
    wire = InMemoryClient(root, Limits(connections=1))
    first = wire.transport
    wire.connect()
    (answer,) = parse_responses(wire.received(), False, "GET")
    assert (503, "1") == (answer.status, answer.fields["retry-after"])
    assert first.connected


@pytest.mark.parametrize("sent", [b"", b"GET / HT"], ids=["idle", "slow head"])
def test_longest_idle_connection_is_evicted(root, sent):
    wire = InMemoryClient(root, Limits(connections=2))
    first = wire.transport
    wire.send(sent)
    wire.wait(2)
    wire.connect()
    second = wire.transport
    wire.send(sent)
    wire.wait(1.5)
    wire.connect()
    assert 404 == wire.ask("GET", "/nothing").status
    assert (False, True) == (first.connected, second.connected)


def test_connection_with_a_request_is_not_evicted(root):
    wire = InMemoryClient(root, Limits(connections=2))
    wire.send(get("/later"))
    asking = wire.transport
    wire.connect()
    wire.send(POST + b"Content-Length: 5000000\r\n\r\nab")
    sending = wire.transport
    for _ in range(20):
        wire.send(b"x" * 20_000)
        wire.wait(1)
    wire.connect()
    (answer,) = parse_responses(wire.received(), False, "GET")
    assert (503, True, True) == (answer.status, asking.connected, sending.connected)


def test_connection_used_again_is_not_evicted(root):
    wire = InMemoryClient(root, Limits(connections=2))
    used = wire.channel, wire.transport
    wire.wait(5)
    wire.connect()
    unused = wire.transport
    wire.wait(2)
    wire.channel, wire.transport = used
    assert 404 == wire.ask("GET", "/nothing").status
    wire.connect()
    assert (True, False) == (used[1].connected, unused.connected)


def test_new_connections_evict_one_idle_connection_each(root):
    wire = InMemoryClient(root, Limits(connections=10))
    idle = [wire.transport]
    for _ in range(9):
        wire.connect()
        idle.append(wire.transport)
    wire.wait(2)
    for _ in range(10):
        wire.connect()
        assert 404 == wire.ask("GET", "/nothing").status
    assert not any(transport.connected for transport in idle)
    wire.connect()
    assert 503 == parse_responses(wire.received(), False, "GET")[0].status
    assert 10 == wire.factory.connections


def test_stalled_reader_is_evicted_if_none_is_idle(root):
    wire = InMemoryClient(root, Limits(connections=1))
    wire.transport.producer.pauseProducing()
    wire.send(get("/nothing"))
    stalled = wire.transport
    wire.wait(9)
    wire.connect()
    assert 503 == parse_responses(wire.received(), False, "GET")[0].status
    wire.wait(3)
    wire.connect()
    assert (404, False) == (wire.ask("GET", "/nothing").status, stalled.connected)


def test_slowest_body_is_evicted_if_none_is_idle(root):
    wire = InMemoryClient(root, Limits(connections=2))
    clients = []
    for size in (10_000, 5_000):
        wire.send(POST + b"Content-Length: 5000000\r\n\r\n")
        clients.append((wire.channel, wire.transport, size))
        wire.connect() if len(clients) < 2 else None
    for _ in range(6):
        for channel, _, size in clients:
            channel.dataReceived(b"x" * size)
        wire.wait(1)
    wire.connect()
    assert 404 == wire.ask("GET", "/nothing").status
    assert [True, False] == [transport.connected for _, transport, _ in clients]
    assert BodyStalled is root.collect.outcome


def test_body_that_has_just_begun_is_not_evicted(root):
    wire = InMemoryClient(root, Limits(connections=1))
    wire.send(POST + b"Content-Length: 5\r\n\r\nab")
    wire.wait(4)
    wire.connect()
    assert 503 == parse_responses(wire.received(), False, "GET")[0].status


def test_body_paused_by_its_consumer_is_not_evicted(root):
    wire = InMemoryClient(root, Limits(connections=1))
    wire.send(POST + b"Content-Length: 5\r\n\r\nab")
    root.collect.collector.producer.pauseProducing()
    wire.wait(60)
    wire.connect()
    assert 503 == parse_responses(wire.received(), False, "GET")[0].status


def test_draining_closes_idle_connections_and_finishes_requests(root):
    wire = InMemoryClient(root)
    idle = wire.transport
    wire.connect()
    wire.send(get("/later"))
    drained: Deferred[None] = wire.factory.drain()
    assert not idle.connected
    assert not drained.called
    root.later.answer(0, b"done")
    assert "close" == wire.answers("GET")[0].fields["connection"]
    assert drained.called


def test_draining_answers_deferred_pipelined_requests(root):
    wire = InMemoryClient(root)
    wire.channel.dataReceived(get("/nothing") * (MAX_READS + 1))
    drained: Deferred[None] = wire.factory.drain()
    wire.run_reactor()
    answers = wire.answers(*["GET"] * (MAX_READS + 1))
    assert "close" == answers[-1].fields["connection"]
    wire.disconnect()
    assert drained.called


def test_aborted_connection_is_not_evicted(root):
    wire = InMemoryClient(root)
    wire.transport.producer.pauseProducing()
    wire.send(get("/nothing"))
    wire.wait(12)
    now = wire.factory.now
    assert wire.channel.eviction_rank(now) is not None
    wire.channel.abort()
    assert wire.channel.eviction_rank(now) is None


def test_lingering_connection_may_be_evicted(root):
    wire = InMemoryClient(root)
    wire.channel._set_state(ConnectionState.LINGER)  # in memory there is no half-closed connection
    assert wire.channel.eviction_rank(wire.factory.now) is None
    wire.wait(1.5)
    assert wire.channel.eviction_rank(wire.factory.now) is not None


def test_draining_waits_for_a_lingering_connection_that_receives_for_2_seconds_only(root):
    wire = InMemoryClient(root)
    wire.channel._set_state(ConnectionState.LINGER)  # in memory there is no half-closed connection
    drained: Deferred[None] = wire.factory.drain()
    for _ in range(6):
        assert not drained.called or not wire.connected
        wire.send(b"x")
        wire.wait(0.5)
    assert drained.called


def test_abort_fails_running_requests(root):
    wire = InMemoryClient(root)
    wire.send(get("/later"))
    wire.factory.abort()
    assert not wire.connected
    assert root.later.requests == root.later.lost


class AbortedResponse:
    """A cached response whose file cannot be sent, so that it aborts the connection."""

    def send(self, output, span, request_id, abort):
        abort()
        return True

    def connection_lost(self, reason):
        pass


def test_cached_response_that_aborts_the_connection_leaves_it_closed():
    channel = InMemoryClient(Resource()).channel
    assert channel._send_cached(AbortedResponse())
    assert channel._state is ConnectionState.CLOSED
