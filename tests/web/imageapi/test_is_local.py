"""Detection of local clients, by table: address of the server, `Host`, version, headers of proxies."""

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from filestored.http.parser.forwarded import TrustedProxies
from filestored.web.imageapi.tokens import is_local

LOOPBACK = IPv4Address("TCP", "127.0.0.1", 9000)
LOOPBACK_6 = IPv6Address("TCP", "::1", 9000)
PUBLIC = IPv4Address("TCP", "192.0.2.1", 9000)
UNIX = UNIXAddress("/run/x")


class Request:
    """A request to `address` with a host name, an HTTP version, and names of headers."""

    def __init__(self, address, host, version=b"HTTP/1.1", headers=()):
        self.clientproto = version
        self.getHost = lambda: address
        self.getRequestHostname = lambda: host
        self.getAllHeaders = lambda: dict.fromkeys([b"host", *headers], b"x")


@pytest.mark.parametrize(
    ("address", "host", "expected"),
    [
        (LOOPBACK, b"localhost", True),
        (LOOPBACK, b"LOCALHOST.", True),
        (LOOPBACK, b"a.localhost", True),
        (LOOPBACK, b"127.0.0.1", True),
        (LOOPBACK, b"::1", True),
        (LOOPBACK_6, b"localhost", True),
        (LOOPBACK, b"files.example", False),
        (LOOPBACK, b"localhost.example", False),
        (LOOPBACK, b"", False),
        (PUBLIC, b"localhost", False),
        (PUBLIC, b"127.0.0.1", False),
        (None, b"localhost", False),
        (UNIX, b"localhost", True),
        (UNIX, b"", True),
        (UNIX, b"x", True),
        (UNIX, b"files.example", False),
        (UNIX, b"2001:db8::1", False),
    ],
)
def test_is_local_by_address_and_host(address, host, expected):
    assert expected == is_local(Request(address, host))


@pytest.mark.parametrize("address", [LOOPBACK, UNIX])
def test_http_1_0_request_is_not_local(address):
    assert not is_local(Request(address, b"localhost", version=b"HTTP/1.0"))


@pytest.mark.parametrize(
    "name", [b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip", b"cf-ray", b"true-client-ip"]
)
def test_request_with_a_proxy_header_is_not_local(name):
    assert not is_local(Request(LOOPBACK, b"localhost", headers=[name]))


@pytest.mark.parametrize("name", [b"user-agent", b"x-forward", b"viable", b"ip"])
def test_request_with_another_header_is_local(name):
    assert is_local(Request(LOOPBACK, b"localhost", headers=[name]))


@pytest.mark.parametrize("place", ["127.0.0.1", "203.0.113.0/24", "unix"])
@pytest.mark.parametrize("address", [LOOPBACK, LOOPBACK_6])
def test_with_a_trusted_proxy_no_tcp_client_is_local(address, place):
    assert not is_local(Request(address, b"localhost"), TrustedProxies([place]))


@pytest.mark.parametrize(("place", "expected"), [("127.0.0.1", True), ("unix", False)])
def test_client_of_a_unix_socket_is_local_unless_that_is_a_trusted_proxy(place, expected):
    assert expected == is_local(Request(UNIX, b"localhost"), TrustedProxies([place]))
    assert not is_local(Request(UNIX, b"localhost", headers=[b"x-forwarded-for"]), TrustedProxies([place]))
