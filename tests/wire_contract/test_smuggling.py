"""Request smuggling: bytes of a body are never parsed as a request, also after an error.

Each body is a request to delete a stored file. Were it ever read as one, the file would be gone; that is
what an attacker does to the next client behind a proxy.
"""

import pytest

from tests.http_clients.raw_socket import FORM, JSON, RAW, RawSocketClient, ask, chunked, head
from tests.wire_contract.conftest import MAX_SIZE

UNSTORED = "0" * 64

CARRIERS = {
    "a read": ("GET", "/files/{}", []),
    "a read of nothing": ("GET", f"/files/{UNSTORED}", []),
    "a look": ("HEAD", "/files/{}", []),
    "a read that is not modified": ("GET", "/files/{}", ["If-None-Match: *"]),
    "a range": ("GET", "/files/{}", ["Range: bytes=0-1"]),
    "a delete of nothing": ("DELETE", f"/files/{UNSTORED}", []),
    "a method that is not allowed": ("PATCH", "/", []),
    "a method that nobody knows": ("BREW", "/", []),
    "a place that is not there": ("POST", "/nowhere", []),
    "a missing hash": ("GET", "/", [JSON]),
    "an upload": ("POST", "/", [RAW]),
    "an upload under another hash": ("PUT", f"/files/{UNSTORED}", []),
    "an upload under no hash": ("PUT", "/files/x", []),
    "an upload with a coding": ("POST", "/", [RAW, "Content-Encoding: gzip"]),
    "an upload that is no form": ("POST", "/", [FORM]),
    "a form without a boundary": ("POST", "/", ["Content-Type: multipart/form-data"]),
    "an upload that must be new": ("PUT", "/files/{}", ["If-None-Match: *"]),
    "an upload with a broken digest": ("POST", "/", [RAW, "Repr-Digest: :"]),
    "a body that is not waited for": ("POST", "/nowhere", ["Expect: 100-continue"]),
    "an upgrade": ("GET", "/files/{}", ["Connection: Upgrade", "Upgrade: websocket"]),
}


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS.keys())
@pytest.mark.parametrize("cached", [False, True], ids=["at once", "later, after a cached response"])
def test_request_within_a_body_is_not_answered(port, stored, carrier, framing, cached):
    """The head arrives with its body, or alone on a connection that has received a cached response."""
    digest, content = stored
    method, target, fields = carrier
    hidden = head("DELETE", f"/files/{digest}")
    if framing == "length":
        announced, body = f"Content-Length: {len(hidden)}", hidden
    else:
        announced, body = "Transfer-Encoding: chunked", chunked(hidden)
    with RawSocketClient(port) as peer:
        if cached:
            for _ in range(3):
                peer.send(head("GET", f"/files/{digest}"))
                assert content == peer.read_response().body
            peer.send(head(method, target.format(digest), [*fields, announced]))
            ask(port, "GET", "/health")  # its response proves that the head has been read
            peer.send(body)
        else:
            peer.send(head(method, target.format(digest), [*fields, announced]) + body)
        peer.send(head("GET", f"/files/{digest}", ["Connection: close"]))
        first = peer.read_response(method)
        if first.fields.get("connection", "").lower() == "close":
            assert b"" == peer.remainder()
        else:
            assert content == peer.read_response().body
    assert content == ask(port, "GET", f"/files/{digest}").body


@pytest.mark.parametrize("pause", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize(
    "fields",
    [[f"Content-Length: {MAX_SIZE + 1}"], ["Content-Length: 500", "Content-Encoding: gzip"]],
    ids=["413", "415"],
)
def test_bytes_after_a_refused_body_are_not_answered(port, stored, fields, pause):
    digest, content = stored
    with RawSocketClient(port) as peer:
        peer.send(head("POST", "/", [RAW, *fields]))
        if pause:
            assert peer.read_response("POST").status in {413, 415}
        peer.send(head("DELETE", f"/files/{digest}") * 3)
        peer.finish()
        assert peer.remainder().count(b"HTTP/1.1 ") == (0 if pause else 1)
    assert content == ask(port, "GET", f"/files/{digest}").body


@pytest.mark.parametrize("host", ["x y", "x/y", "a@b", "x%zz", "x\ty", "http://x", "[::1", "x:y", "x:80:80"])
def test_malformed_host_is_400(port, host):
    """RFC 9112 section 3.2."""
    with RawSocketClient(port) as peer:
        peer.send(f"GET /files/{UNSTORED} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert 400 == peer.read_response().status


@pytest.mark.parametrize(
    "host", ["x", "x:80", "127.0.0.1:9000", "[::1]:80", "[fe80::1]", "a-b.example", "x_y", ""]
)
def test_host_of_any_name_is_accepted(port, host):
    with RawSocketClient(port) as peer:
        peer.send(f"GET /files/{UNSTORED} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert 404 == peer.read_response().status
