"""Refusals before the body: 401, 403 and 404 come while the body is awaited, and nothing is stored."""

import hashlib

import pytest

from tests.access.wire.access_files import RIGHTS, Bucket, Token, access_text, bearer
from tests.access.wire.in_memory import InMemorySite
from tests.http_clients.raw_socket import FORM, RAW, RawSocketClient, head

READER = Token("reader", {"files": ["read"]})
ELSEWHERE = Token("elsewhere", {"other": RIGHTS})
ADMIN = Token("admin", {"*": RIGHTS})
ACCESS = access_text(READER, ELSEWHERE, ADMIN, Bucket("files"), Bucket("other"))
OPTIONS = ("--max-size", "1MiB")

BODY = b"x" * 1000
HASH = hashlib.sha256(BODY).hexdigest()

REFUSED = [
    ((), 401),
    (("Authorization: Bearer x",), 401),
    ((bearer(READER.secret),), 403),
    ((bearer(ELSEWHERE.secret),), 404),
]
UPLOADS = [("POST", "/buckets/files/"), ("PUT", f"/buckets/files/files/{HASH}")]
KINDS = [
    (RAW,),
    (FORM,),
    ("Content-Encoding: gzip",),
    (RAW, f"Repr-Digest: sha-256=:{'A' * 43}=:"),
    ("Content-Range: bytes 0-1/2",),
]
LENGTHS = ["Content-Length: 1000", "Content-Length: 99999999999", "Transfer-Encoding: chunked"]

every_refusal = pytest.mark.parametrize(("lines", "status"), REFUSED)


@pytest.fixture
def stored(ask):
    """A function that returns the hashes in the bucket."""
    return lambda: ask("GET", "/buckets/files/files/", (bearer(ADMIN.secret),)).body


@every_refusal
@pytest.mark.parametrize("length", LENGTHS)
def test_refusal_comes_instead_of_100_continue(served, stored, lines, status, length):
    before = stored()
    for (method, target), kind in [(upload, kind) for upload in UPLOADS for kind in KINDS]:
        with RawSocketClient(served.port) as peer:
            peer.send(head(method, target, [*lines, *kind, length, "Expect: 100-continue"]))
            answer = peer.read_response(method)
            assert (status, []) == (answer.status, answer.interim), (method, kind)
    assert before == stored()


@every_refusal
def test_refusal_comes_after_half_of_the_body(served, stored, lines, status):
    before = stored()
    for method, target in UPLOADS:
        for length, part in (
            ("Content-Length: 1000", BODY[:500]),
            ("Transfer-Encoding: chunked", b"1f4\r\n" + BODY[:500] + b"\r\n"),
        ):
            with RawSocketClient(served.port) as peer:
                peer.send(head(method, target, [*lines, RAW, length]) + part)
                assert status == peer.read_response(method).status
    assert before == stored()


@every_refusal
def test_refused_request_opens_no_bucket(lines, status):
    site = InMemorySite(ACCESS)
    for method, target in (
        *UPLOADS,
        ("DELETE", f"/buckets/files/files/{HASH}"),
        ("GET", "/buckets/files/usage"),
    ):
        assert status == site(method, target, lines, BODY if method in ("POST", "PUT") else None).status
    assert [] == site.opened
    assert 200 == site("POST", "/buckets/files/", (bearer(ADMIN.secret),), BODY).status
    assert ["files"] == site.opened


@every_refusal
def test_request_without_a_body_is_refused_by_its_credentials_first(ask, lines, status):
    for method, target in UPLOADS:
        assert status == ask(method, target, lines).status


def test_upload_with_the_right_gets_100_continue(served):
    with RawSocketClient(served.port) as peer:
        peer.send(
            head(
                "POST",
                "/buckets/files/",
                [bearer(ADMIN.secret), "Content-Length: 1000", "Expect: 100-continue"],
            )
        )
        assert peer.interim().startswith(b"HTTP/1.1 100 ")
        peer.send(BODY)
        answer = peer.read_response("POST")
        assert (200, HASH) == (answer.status, answer.body.decode())
