"""Client in the access log: the peer, or the address that a trusted proxy names; cached responses, too."""

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from zope.interface import implementer

from filestored.http.factory import HTTPFactory
from filestored.http.parser.forwarded import TrustedProxies
from filestored.interfaces import IBlob, ICacheable, IInMemory
from tests.http_clients.socket_pair import SocketPairClient

PROXIES = ["10.0.0.0/8", "unix"]
PROXY = IPv4Address("TCP", "10.0.0.1", 5)
UNIX = UNIXAddress(None)
STRANGER = IPv4Address("TCP", "198.51.100.7", 5)
NAMED = "X-Forwarded-For: 203.0.113.9"


@implementer(IBlob, IInMemory)
class Content:
    """A blob in memory."""

    data, size, slow = b"content", 7, False

    def close(self):
        """Do nothing."""


class Cached(Resource):
    """Answers with content that is cached; counts the requests that were rendered."""

    isLeaf = True
    rendered = 0

    def render_GET(self, request):
        self.rendered += 1
        request.setHeader(b"Accept-Ranges", b"bytes")
        request.cache_with(Content, Content.size)
        assert ICacheable.providedBy(request)
        return Content.data

    def render_POST(self, request):
        return b"posted"


class ClientLog(list):
    """An access log of clients."""

    def format_entry(self, entry):
        return "entry"

    def log(self, moment, peer, description, seconds, request_id):
        self.append(peer)


class Front:
    """A server with these trusted proxies, and one connection from `peer`."""

    def __init__(self, peer, places):
        self.clients, self.root, clock = ClientLog(), Cached(), Clock()
        proxies = TrustedProxies(places) if places else None
        self.connection = SocketPairClient(
            HTTPFactory(self.root, clock, access_log=self.clients, trusted_proxies=proxies), clock
        )
        self.connection.transport.peerAddr = peer

    def get(self, *fields, more=b"", **head):
        """Request the content."""
        lines = [f"{head.get('method', 'GET')} / HTTP/1.1", "Host: x", *fields, "", ""]
        self.connection.send("\r\n".join(lines).encode() + more)
        return self.connection.received()


@pytest.fixture
def front():
    """A function that starts a server with one connection."""
    running = []

    def start(peer=PROXY, places=PROXIES):
        running.append(Front(peer, places))
        return running[-1]

    yield start
    for each in running:
        each.connection.close()


@pytest.mark.parametrize(
    ("peer", "expected"), [(PROXY, "203.0.113.9"), (UNIX, "203.0.113.9"), (STRANGER, "198.51.100.7")]
)
def test_first_and_cached_responses_are_logged_with_the_client_that_a_trusted_proxy_names(
    front, peer, expected
):
    front = front(peer)
    for _ in range(3):
        assert front.get(NAMED).endswith(b"content")
    assert ([expected] * 3, 1) == (front.clients, front.root.rendered)


def test_cached_response_of_another_client_is_logged_with_that_client(front):
    front = front()
    for last in (1, 2, 1, 3):
        front.get(f"X-Forwarded-For: 203.0.113.{last}", f"X-Request-Id: {last}")
    front.get()
    assert ["203.0.113.1", "203.0.113.2", "203.0.113.1", "203.0.113.3", "10.0.0.1"] == front.clients
    assert 1 == front.root.rendered


def test_range_of_a_cached_response_is_logged_with_its_client(front):
    front = front()
    front.get(NAMED)
    assert front.get("Range: bytes=1-2", "X-Forwarded-For: 203.0.113.8").endswith(b"on")
    assert ["203.0.113.9", "203.0.113.8"] == front.clients


def test_requests_behind_each_other_are_logged_with_the_client_of_each(front):
    front = front()
    front.get(NAMED)
    front.get(
        "X-Forwarded-For: 203.0.113.8", more=b"GET / HTTP/1.1\r\nHost: x\r\nForwarded: for=1.2.3.4\r\n\r\n"
    )
    assert ["203.0.113.9", "203.0.113.8", "1.2.3.4"] == front.clients


def test_uploads_and_errors_are_logged_with_the_client(front):
    front = front()
    front.get(NAMED, "Content-Length: 2", more=b"ab", method="POST")
    assert b" 405 " in front.get("X-Forwarded-For: 203.0.113.8", method="PUT")
    front.connection.send(b"\0\r\n\r\n")
    assert ["203.0.113.9", "203.0.113.8", "10.0.0.1"] == front.clients


def test_request_whose_client_leaves_is_logged_with_that_client(front):
    front = front()
    front.get(NAMED, "Content-Length: 2", more=b"a", method="POST")
    front.connection.disconnect()
    assert ["203.0.113.9"] == front.clients


def test_without_trusted_proxies_the_peer_is_the_client(front):
    front = front(places=[])
    front.get(NAMED)
    front.get(NAMED)
    assert ["10.0.0.1", "10.0.0.1"] == front.clients
