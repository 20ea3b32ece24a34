"""Access control: each call with each kind of token, local and remote clients, proxies."""

import itertools

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from filestored.web.imageapi.tokens import RegistrationPolicy
from tests.images.catalog_samples import BMP, PNG
from tests.web.forms import FORM, form
from tests.web.imageapi.image_wire import EVERYWHERE, IN_MEMORY, ImageWire, part, said, value

pytestmark = pytest.mark.servers(*EVERYWHERE)

CALLS = {
    "regenerate-token/": ("POST", None),
    "upload-image/": ("POST", form(part(BMP, "new.bmp"))),
    "get-image/ID/": ("GET", None),
    "get-image/ID/?width=10": ("GET", None),
    "get-image-list/": ("GET", None),
    "delete-image/ID/": ("DELETE", None),
    "update-image/ID/": ("PATCH", form(part(BMP, "new.bmp"))),
}


@pytest.fixture
def anna(wire):
    return wire.register("anna")


def state(wire):
    """Return all stored records and blobs."""
    names = wire.records.names("accounts") + wire.records.names("tokens")
    return {name: wire.records.read(name) for name in names}, wire.backend.digests(None, 99)


def call(wire, token, path, identity):
    method, body = CALLS[path]
    fields = {"Content_Type": FORM} if body else {}
    return wire.call(method, f"token/{token}/" + path.replace("ID", identity), body, **fields)


NO_TOKENS = {
    "none": "",
    "wrong": "AAAAAAAAAA",
    "short": "AAAA",
    "long": "A" * 11,
    "a name": "anna",
    "not text": "%FF%FE",
    "a path": "%2e%2e",
    "a star": "*",
}


@pytest.mark.parametrize(("path", "token"), list(itertools.product(CALLS, NO_TOKENS)), ids=str)
def test_requests_without_a_valid_token_are_401(wire, anna, path, token):
    identity = wire.add(anna)
    before = state(wire)
    answer = call(wire, NO_TOKENS[token], path, identity)
    assert answer.status in ((401,) if token != "a path" else (400, 401))
    assert before == state(wire)
    assert "anna" not in str(answer)


@pytest.mark.parametrize("path", CALLS)
def test_similar_tokens_are_rejected(wire, anna, path):
    identity = wire.add(anna)
    before = state(wire)
    for position in range(10):
        other = "B" if anna[position] == "A" else "A"
        wrong = anna[:position] + other + anna[position + 1 :]
        assert (401, "Unknown token") == said(call(wire, wrong, path, identity))
    assert before == state(wire)


@pytest.mark.parametrize("path", CALLS)
def test_revoked_token_is_rejected(wire, anna, path):
    identity = wire.add(anna)
    new = value(wire.call("POST", f"token/{anna}/regenerate-token/"))["token"]
    before = state(wire)
    answer = call(wire, anna, path, identity)
    assert (401, "Unknown token") == said(answer)
    assert "www-authenticate" in answer.fields
    assert before == state(wire)
    assert {"cat.png": identity} == wire.list_images(new)


@pytest.mark.parametrize("path", CALLS)
def test_token_of_another_account_has_no_access(wire, anna, path):
    identity = wire.add(anna)
    bert = wire.register("bert")
    answer = call(wire, bert, path, identity)
    if "ID" in path and "?" not in path:
        assert (404, "Image does not exist") == said(answer)
    assert {"cat.png": identity} == wire.list_images(anna)
    assert PNG == wire.get(anna, identity).body
    if path == "get-image-list/":
        assert {} == value(answer)


@pytest.mark.servers(*IN_MEMORY)
def test_unknown_token_is_rejected_before_the_body(wire):
    wire.begin_upload("AAAAAAAAAA", 1000000, "Expect: 100-continue")
    received = wire.received()
    assert received.startswith(b"HTTP/1.1 401 ")


@pytest.mark.servers(*IN_MEMORY)
def test_token_revoked_during_an_upload_stores_nothing(wire, anna):
    body = form(part(BMP))
    head = (
        f"POST /imageapi/token/{anna}/upload-image/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\n"
    )
    wire.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:500])
    slow = wire.channel, wire.transport
    wire.connect()
    new = value(wire.call("POST", f"token/{anna}/regenerate-token/"))["token"]
    assert {} == wire.list_images(new)
    wire.channel, wire.transport = slow
    wire.send(body[500:])
    (answer,) = wire.answers("POST")
    assert (401, "Unknown token") == said(answer)
    assert ({}, []) == (wire.list_images(new), wire.backend.digests(None, 9))


def test_delete_keeps_the_same_image_of_another_account(wire, anna):
    bert = wire.register("bert")
    mine, theirs = wire.add(anna, BMP), wire.add(bert, BMP)
    wire.delete(anna, mine)
    assert BMP == wire.get(bert, theirs).body
    wire.update(bert, theirs, PNG)
    assert 1 == len(wire.backend.digests(None, 9))


def test_files_and_images_are_separate(wire, anna):
    identity = wire.add(anna, PNG)
    (blob,) = wire.backend.digests(None, 9)
    for name in (blob.hex, blob.hex[:64], blob.hex[:32]):
        for target in (f"/files/{name}", f"/?file_hash={name}"):
            assert wire.ask("GET", target).status in (400, 404)
            assert wire.ask("DELETE", target).status in (400, 404)
    stored = wire.ask("POST", "/", PNG).body.decode()
    assert 404 == wire.get(anna, stored[:4]).status
    assert 200 == wire.ask("DELETE", f"/files/{stored}").status
    assert PNG == wire.get(anna, identity).body


# --- local and remote clients ------------------------------------------------------------------------------

HERE = {
    "loopback": IPv4Address("TCP", "127.0.0.1", 9000),
    "all of loopback": IPv4Address("TCP", "127.8.9.1", 9000),
    "loopback, version 6": IPv6Address("TCP", "::1", 9000),
    "loopback, mapped": IPv6Address("TCP", "::ffff:127.0.0.1", 9000),
    "a Unix socket": UNIXAddress("/run/filestored.sock"),
    "a Unix socket without a name": UNIXAddress(None),
}
ELSEWHERE = {
    "a private network": IPv4Address("TCP", "192.168.1.1", 9000),
    "a public address": IPv4Address("TCP", "203.0.113.7", 9000),
    "version 6": IPv6Address("TCP", "2001:db8::1", 9000),
    "a link": IPv6Address("TCP", "fe80::1%eth0", 9000),
    "mapped": IPv6Address("TCP", "::ffff:10.0.0.1", 9000),
}


@pytest.mark.parametrize("here", HERE.values(), ids=HERE)
def test_local_requests_get_tokens(here):
    wire = ImageWire(here=here)
    assert 201 == wire.call("GET", "generate-token/anna/").status
    assert 200 == wire.call("GET", "retrieve-token/anna/").status


@pytest.mark.parametrize("here", ELSEWHERE.values(), ids=ELSEWHERE)
@pytest.mark.parametrize("verb", ["generate-token", "retrieve-token"])
def test_remote_requests_get_no_token(here, verb):
    wire = ImageWire(here=here)
    status, reason = said(wire.call("GET", f"{verb}/anna/"))
    assert 403 == status
    assert "--open-registration" in reason
    assert [] == wire.records.names("accounts")


@pytest.mark.parametrize("here", ELSEWHERE.values(), ids=ELSEWHERE)
def test_open_registration_gives_tokens_to_all_clients(here):
    wire = ImageWire(here=here, registration=RegistrationPolicy.OPEN)
    assert 201 == wire.call("GET", "generate-token/anna/").status
    assert 200 == wire.call("GET", "retrieve-token/anna/").status


@pytest.mark.servers(*IN_MEMORY)
def test_token_is_valid_from_any_address(wire, anna):
    wire.here = ELSEWHERE["a public address"]
    wire.connect()
    assert {} == wire.list_images(anna)
    assert 200 == wire.call("POST", f"token/{anna}/regenerate-token/").status


@pytest.mark.parametrize("field", ["Forwarded", "Via", "X_Forwarded_For", "X_Real_IP"])
@pytest.mark.parametrize("here", ["loopback", "a Unix socket"])
def test_request_through_a_proxy_is_not_local(field, here):
    wire = ImageWire(here=HERE[here])
    assert 403 == wire.call("GET", "generate-token/anna/", **{field: "203.0.113.7"}).status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 201),
        ("LOCALHOST:9000", 201),
        ("127.0.0.1:9000", 201),
        ("[::1]:9000", 201),
        ("images.localhost", 201),
        ("evil.example", 403),
        ("evil.example:9000", 403),
        ("localhost.evil.example", 403),
        ("10.0.0.1", 403),
    ],
)
@pytest.mark.servers(*IN_MEMORY)
def test_web_page_of_another_site_gets_no_token(wire, host, status):
    wire.send(f"GET /imageapi/generate-token/anna/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    (answer,) = wire.answers("GET")
    assert status == answer.status
