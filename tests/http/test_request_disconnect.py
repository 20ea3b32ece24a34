"""`IStreamedRequest.on_disconnect`: the client leaves while its request is answered."""

import pytest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.http_clients.in_memory import InMemoryClient

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Slow(Resource):
    """Answers when the test does."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.left = []

    def render(self, request):
        self.request = request
        request.on_disconnect(lambda: self.left.append("left"))
        return NOT_DONE_YET


@pytest.fixture
def slow():
    return Slow()


@pytest.fixture
def wire(slow):
    wire = InMemoryClient(slow)
    wire.send(GET)
    return wire


def test_on_disconnect_reports_a_lost_connection_once(wire, slow):
    wire.disconnect()
    assert slow.left == ["left"]


def test_on_disconnect_reports_a_closed_sending_side_once(wire, slow):
    wire.channel.readConnectionLost()
    assert slow.left == ["left"]
    slow.request.write(b"answer")
    slow.request.finish()
    assert wire.received().endswith(b"6\r\nanswer\r\n0\r\n\r\n")
    wire.disconnect()
    assert slow.left == ["left"]


def test_on_disconnect_after_the_client_left_calls_at_once(wire, slow):
    wire.channel.readConnectionLost()
    slow.request.on_disconnect(lambda: slow.left.append("late"))
    assert slow.left == ["left", "late"]


def test_on_disconnect_calls_only_the_last_action(wire, slow):
    slow.request.on_disconnect(lambda: slow.left.append("later"))
    wire.disconnect()
    assert slow.left == ["later"]


def test_on_disconnect_reports_nothing_after_the_response(wire, slow):
    slow.request.finish()
    wire.channel.readConnectionLost()
    wire.disconnect()
    assert slow.left == []


def test_on_disconnect_reports_a_client_that_leaves_during_the_body(slow):
    wire = InMemoryClient(slow)
    wire.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf")
    wire.disconnect()
    assert slow.left == ["left"]
