"""Quotas over the wire: 507 before the body where its length is known, else where the quota is reached."""

import hashlib
import json

import pytest

from tests.access.wire.access_files import RIGHTS, Bucket, Token, access_text, bearer
from tests.http_clients.raw_socket import FORM, RAW, RawSocketClient, chunked, form, head

ADMIN = Token("admin", {"*": RIGHTS})
READER = Token("reader", {"bytes": ["read"]})
QUOTA = 100 << 10
DAEMON_ONLY = "stores in memory have no limits"
ACCESS = access_text(
    *(
        ADMIN,
        READER,
        Bucket("bytes", options=['quota = "100 KiB"']),
        Bucket("files", options=["max_files = 3"]),
    ),
    Bucket("free"),
)
LINE = (bearer(ADMIN.secret),)


@pytest.fixture(autouse=True)
def emptied(ask):
    """Buckets without files."""
    for bucket in ("bytes", "files", "free"):
        for each in json.loads(ask("GET", f"/buckets/{bucket}/files/", LINE).body)["files"]:
            assert 200 == ask("DELETE", f"/buckets/{bucket}/files/{each['hash']}", LINE).status


def usage(ask, bucket: str = "bytes") -> tuple[int, int]:
    found = json.loads(ask("GET", f"/buckets/{bucket}/usage", LINE).body)
    return found["files"], found["bytes"]


def post(ask, content: bytes, bucket: str = "bytes") -> int:
    return ask("POST", f"/buckets/{bucket}/", LINE, content).status


def test_bucket_is_filled_to_the_last_byte(ask):
    assert [200, 200] == [post(ask, b"a" * (QUOTA - 1)), post(ask, b"b")]
    assert (2, QUOTA) == usage(ask)
    assert 507 == post(ask, b"c")
    assert 200 == post(ask, b"")
    assert (3, QUOTA) == usage(ask)


def test_declared_length_beyond_the_quota_is_507_before_the_body(served, ask):
    assert 200 == post(ask, b"a" * (QUOTA - 10))
    for method, target in (("POST", "/buckets/bytes/"), ("PUT", f"/buckets/bytes/files/{'0' * 64}")):
        for length in (11, 1 << 30):
            with RawSocketClient(served.port) as peer:
                lines = [*LINE, RAW, f"Content-Length: {length}", "Expect: 100-continue"]
                peer.send(head(method, target, lines))
                answer = peer.read_response(method)
                assert (507, []) == (answer.status, answer.interim)
    assert (1, QUOTA - 10) == usage(ask)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_body_of_unknown_length_is_507_at_the_quota_and_stores_nothing(served, ask, method):
    content = b"b" * (2 * QUOTA)
    target = "/buckets/bytes/" + ("" if method == "POST" else f"files/{hashlib.sha256(content).hexdigest()}")
    with RawSocketClient(served.port) as peer:
        peer.send(head(method, target, [*LINE, RAW, "Transfer-Encoding: chunked"]))
        peer.send(b"%x\r\n%b\r\n" % (len(content), content))
        peer.send(b"0\r\n\r\n")
        assert 507 == peer.read_response(method).status
    assert (0, 0) == usage(ask)
    assert 200 == post(ask, b"a" * QUOTA)


def test_form_beyond_the_quota_is_507_and_stores_nothing(ask):
    assert 507 == ask("POST", "/buckets/bytes/", (*LINE, FORM), form(b"x" * (QUOTA + 1))).status
    assert (0, 0) == usage(ask)


def test_chunked_body_within_the_quota_is_stored(served, ask):
    with RawSocketClient(served.port) as peer:
        peer.send(
            head("POST", "/buckets/bytes/", [*LINE, RAW, "Transfer-Encoding: chunked"])
            + chunked(b"a" * QUOTA)
        )
        assert 200 == peer.read_response("POST").status
    assert (1, QUOTA) == usage(ask)


def test_stored_content_that_is_uploaded_again_counts_once(ask):
    content = b"a" * QUOTA
    assert 200 == post(ask, content)
    digest = hashlib.sha256(content).hexdigest()
    assert ask("PUT", f"/buckets/bytes/files/{digest}", LINE, content).status in (200, 507)
    assert (1, QUOTA) == usage(ask)
    assert content == ask("GET", f"/buckets/bytes/files/{digest}", LINE).body


def test_full_bucket_is_read_and_deleted_from_and_has_room_again(ask):
    content = b"a" * QUOTA
    digest = hashlib.sha256(content).hexdigest()
    assert [200, 507] == [post(ask, content), post(ask, b"b")]
    assert content == ask("GET", f"/buckets/bytes/files/{digest}", LINE).body
    assert 200 == ask("DELETE", f"/buckets/bytes/files/{digest}", LINE).status
    assert [(0, 0), 200] == [usage(ask), post(ask, b"b")]


def test_number_of_files_is_limited(ask):
    assert [200, 200, 200, 507] == [post(ask, b"file %d" % n, "files") for n in range(4)]
    assert 507 == post(ask, b"file 4", "files")
    assert (3, 18) == usage(ask, "files")


def test_other_buckets_have_no_limit(ask):
    assert [200] * 5 == [post(ask, b"%d" % n + b"x" * QUOTA, "free") for n in range(5)]


def test_507_is_a_problem_for_clients_that_prefer_json(ask):
    answer = ask("POST", "/buckets/bytes/", (*LINE, "Accept: application/json"), b"x" * (QUOTA + 1))
    assert (507, "application/problem+json") == (answer.status, answer.fields["content-type"])


def test_client_without_the_right_learns_nothing_of_the_quota(ask):
    assert 200 == post(ask, b"a" * QUOTA)
    assert 403 == ask("POST", "/buckets/bytes/", (bearer(READER.secret),), b"b").status
    assert 401 == ask("POST", "/buckets/bytes/", (), b"b").status
