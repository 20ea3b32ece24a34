"""Downloads and deletions over raw sockets: headers, preconditions, ranges."""

import email.message
import hashlib
import itertools

import pytest

from tests.http_clients.raw_socket import RawSocketClient, ask, head
from tests.wire_contract.servers import ALL_SERVERS, ONE_DAEMON

pytestmark = pytest.mark.servers(*ALL_SERVERS)

UNSTORED = hashlib.sha256(b"nobody ever stored this").hexdigest()
SPELLINGS = pytest.mark.parametrize("spelling", ["/?file_hash={}", "/?hash={}", "/files/{}"])
READING = pytest.mark.parametrize("method", ["GET", "HEAD"])
ALL = pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])


@SPELLINGS
def test_get_returns_the_bytes_and_every_promised_header(port, stored, spelling):
    digest, content = stored
    answer = ask(port, "GET", spelling.format(digest))
    assert (200, content) == (answer.status, answer.body)
    expected = {
        "etag": f'"{digest}"',
        "accept-ranges": "bytes",
        "cache-control": "public, max-age=31536000, immutable",
        "content-length": str(len(content)),
        "content-type": "application/octet-stream",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
    }
    assert expected == {name: answer.fields.get(name) for name in expected}


@SPELLINGS
def test_head_returns_the_headers_of_get_without_body(port, stored, spelling):
    digest, _ = stored
    target = spelling.format(digest)
    got, asked = ask(port, "GET", target), ask(port, "HEAD", target)
    assert (200, b"") == (asked.status, asked.body)
    assert set(got.fields) == set(asked.fields)
    assert got.undated_fields == asked.undated_fields


def test_head_response_has_no_body_on_the_connection(port, stored):
    digest, content = stored
    with RawSocketClient(port) as peer:
        peer.send(head("HEAD", f"/files/{digest}") + head("GET", f"/files/{digest}", ["Connection: close"]))
        assert b"" == peer.read_response("HEAD").body
        assert content == peer.read_response("GET").body
        assert b"" == peer.remainder()


@SPELLINGS
def test_delete_is_200_and_then_every_method_is_404(port, stored, spelling, files):
    digest, _ = stored
    target = spelling.format(digest)
    assert 200 == ask(port, "DELETE", target).status
    assert digest not in files()
    assert [404, 404, 404] == [ask(port, method, target).status for method in ("DELETE", "GET", "HEAD")]


@ALL
@SPELLINGS
def test_unknown_hash_is_404(port, method, spelling):
    assert 404 == ask(port, method, spelling.format(UNSTORED)).status


@ALL
@pytest.mark.parametrize(
    "query",
    [
        *("file_hash=", "hash=", "file_hash", "file_hash=x", "other=1", "FILE_HASH=" + UNSTORED),
        *(f"file_hash={UNSTORED}&file_hash={UNSTORED}", f"file_hash={UNSTORED}&hash={UNSTORED}"),
        *(f"file_hash={UNSTORED}0", f"file_hash={UNSTORED[1:]}"),
        *(f"file_hash=%20{UNSTORED}", f"file_hash={UNSTORED}%0a", f"file_hash={UNSTORED}%00"),
        *("file_hash=../../FORMAT", "file_hash=%2e%2e%2fFORMAT", "file_hash=" + "%D9%A0" * 64),
    ],
)
def test_missing_repeated_or_malformed_hash_is_400(port, method, query):
    assert 400 == ask(port, method, f"/?{query}").status


@pytest.mark.parametrize("method", ["HEAD", "DELETE"])
def test_query_without_hash_is_400(port, method):
    assert 400 == ask(port, method, "/").status


def test_get_without_hash_is_400_unless_html_is_preferred(port):
    assert 400 == ask(port, "GET", "/").status
    assert 400 == ask(port, "GET", "/", "Accept: */*").status


@ALL
@pytest.mark.parametrize("name", ["x", UNSTORED[:-1], UNSTORED + "0", "FORMAT", "ab"])
def test_malformed_hash_in_path_is_400(port, method, name):
    assert 400 == ask(port, method, f"/files/{name}").status


METHODS = ["PATCH", "OPTIONS", "PROPFIND", "BREW", "X", "M-SEARCH", "LOCK", "PURGE", "QUERY"]
ALLOWED = pytest.mark.parametrize(
    ("target", "allowed"),
    [("/", {"GET", "HEAD", "POST", "DELETE"}), (f"/files/{UNSTORED}", {"GET", "HEAD", "PUT", "DELETE"})],
)


@pytest.mark.parametrize("method", METHODS)
@ALLOWED
def test_other_methods_are_405_with_allow(port, method, target, allowed):
    answer = ask(port, method, target)
    assert 405 == answer.status
    assert allowed == set(answer.fields["allow"].split(", "))


@pytest.mark.servers(*ONE_DAEMON)
@pytest.mark.parametrize("method", ["TRACE", "get"])
@ALLOWED
def test_method_that_nginx_refuses_is_405_with_allow(port, method, target, allowed):
    answer = ask(port, method, target)
    assert 405 == answer.status
    assert allowed == set(answer.fields["allow"].split(", "))


@pytest.mark.parametrize(("method", "target"), [("PUT", "/"), ("POST", f"/files/{UNSTORED}")])
def test_upload_to_another_path_is_405_before_the_body(port, method, target):
    with RawSocketClient(port) as peer:
        peer.send(head(method, target, ["Content-Length: 100000"]))
        assert 405 == peer.read_response(method).status


@pytest.mark.parametrize(("sent", "expected"), [("report.pdf", "report.pdf"), ("a%20b.txt", "a b.txt")])
def test_name_becomes_content_disposition(port, stored, sent, expected):
    answer = ask(port, "GET", f"/files/{stored[0]}?name={sent}")
    message = email.message.Message()
    message["Content-Disposition"] = answer.fields["content-disposition"]
    assert expected == message.get_filename()


@pytest.mark.parametrize("sent", ["%D0%BE%D1%82%D1%87%D1%91%D1%82.txt", "na%C3%AFve%20%E2%82%AC.txt"])
def test_non_ascii_name_is_encoded_by_rfc_8187(port, stored, sent):
    answer = ask(port, "GET", f"/files/{stored[0]}?name={sent}")
    assert f"filename*=utf-8''{sent}".lower() in answer.fields["content-disposition"].lower()


@pytest.mark.parametrize(
    "sent", ["a%0d%0aSet-Cookie:%20x", "%22%3b%20filename=%22b", "..%2f..%2fetc%2fpasswd"]
)
def test_unsafe_characters_of_a_name_are_removed(port, stored, sent):
    answer = ask(port, "GET", f"/files/{stored[0]}?name={sent}")
    disposition = answer.fields.get("content-disposition", "")
    assert answer.status in {200, 400}
    assert "set-cookie" not in answer.fields
    assert "/" not in disposition
    assert disposition.count('"') <= 2


# --- conditions ------------------------------------------------------------------------------


@READING
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["If-None-Match: {tag}"], 304),
        (["If-None-Match: W/{tag}"], 304),
        (["If-None-Match: *"], 304),
        (['If-None-Match: "a", {tag}, "b"'], 304),
        (['If-None-Match: "a"'], 200),
        (["If-Match: {tag}"], 200),
        (["If-Match: *"], 200),
        (['If-Match: "a", {tag}'], 200),
        (["If-Match: W/{tag}"], 412),
        (['If-Match: "a"'], 412),
        (["If-Match: {tag}", "If-None-Match: {tag}"], 304),
        (['If-Match: "a"', "If-None-Match: {tag}"], 412),
    ],
)
def test_preconditions_are_evaluated_in_the_order_of_the_rfc(port, stored, method, fields, expected):
    digest, _ = stored
    tag = f'"{digest}"'
    answer = ask(port, method, f"/files/{digest}", *(line.format(tag=tag) for line in fields))
    assert expected == answer.status
    if expected == 304:
        assert (b"", tag) == (answer.body, answer.fields["etag"])


@pytest.mark.servers(*ONE_DAEMON)
def test_if_none_match_may_be_given_twice(port, stored):
    """Nginx refuses that."""
    answer = ask(port, "GET", f"/files/{stored[0]}", 'If-None-Match: "a"', f'If-None-Match: "{stored[0]}"')
    assert (304, b"") == (answer.status, answer.body)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [('"{}"', 206), ('W/"{}"', 200), ('"other"', 200), ("Sun, 22 Nov 2026 06:00:00 GMT", 200)],
)
def test_if_range_is_compared_strongly(port, stored, condition, expected):
    digest, _ = stored
    fields = ["Range: bytes=0-0", f"If-Range: {condition.format(digest)}"]
    assert expected == ask(port, "GET", f"/files/{digest}", *fields).status


# --- ranges ----------------------------------------------------------------------------------


@SPELLINGS
@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("0-0", 0, 1),
        ("0-", 0, None),
        ("3-7", 3, 8),
        ("-4", -4, None),
        ("5-99999", 5, None),
        ("-99999", 0, None),
    ],
)
def test_one_range_is_206(port, stored, spelling, wanted, start, stop):
    digest, content = stored
    answer = ask(port, "GET", spelling.format(digest), f"Range: bytes={wanted}")
    part = content[start:stop]
    assert (206, part, str(len(part))) == (answer.status, answer.body, answer.fields["content-length"])
    first = content.index(part)
    assert f"bytes {first}-{first + len(part) - 1}/{len(content)}" == answer.fields["content-range"]


@pytest.mark.parametrize("wanted", ["9999-", "9999-99999", "-0"])
def test_range_outside_the_file_is_416(port, stored, wanted):
    digest, content = stored
    answer = ask(port, "GET", f"/files/{digest}", f"Range: bytes={wanted}")
    assert (416, f"bytes */{len(content)}") == (answer.status, answer.fields["content-range"])


@pytest.mark.parametrize("wanted", ["items=0-1", "bytes=3-1", "bytes=a-b", "bytes=", "bytes", "bytes=1-2-3"])
def test_malformed_range_is_ignored(port, stored, wanted):
    digest, content = stored
    answer = ask(port, "GET", f"/files/{digest}", f"Range: {wanted}")
    assert (200, content) == (answer.status, answer.body)


def parts(answer):
    kind, _, boundary = answer.fields["content-type"].partition("; boundary=")
    assert "multipart/byteranges" == kind
    frames = answer.body.split(b"--" + boundary.strip('"').encode())
    assert b"--" == frames[-1].strip()
    for frame in frames[1:-1]:
        described, _, data = frame.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in described.split(b"\r\n"))
        yield fields[b"content-range"].decode(), data.removesuffix(b"\r\n")


def test_several_ranges_are_parts_of_one_response(port, stored):
    digest, content = stored
    answer = ask(port, "GET", f"/files/{digest}", "Range: bytes=0-1,4-4,-2")
    size = len(content)
    assert 206 == answer.status
    assert str(len(answer.body)) == answer.fields["content-length"]
    assert [
        (f"bytes 0-1/{size}", content[:2]),
        (f"bytes 4-4/{size}", content[4:5]),
        (f"bytes {size - 2}-{size - 1}/{size}", content[-2:]),
    ] == list(parts(answer))


def test_eight_ranges_are_served_and_nine_are_ignored(port, stored):
    digest, content = stored
    spans = [f"{2 * number}-{2 * number}" for number in range(9)]
    eight = ask(port, "GET", f"/files/{digest}", f"Range: bytes={','.join(spans[:8])}")
    nine = ask(port, "GET", f"/files/{digest}", f"Range: bytes={','.join(spans)}")
    assert (206, 8) == (eight.status, len(list(parts(eight))))
    assert (200, content) == (nine.status, nine.body)


@pytest.mark.parametrize("wanted", ["4-5,0-1", "0-5,3-8", "0-,0-", "0-,0-,0-,0-,0-,0-,0-,0-"])
def test_descending_or_overlapping_ranges_are_ignored(port, stored, wanted):
    digest, content = stored
    answer = ask(port, "GET", f"/files/{digest}", f"Range: bytes={wanted}")
    assert (200, content) == (answer.status, answer.body)


@pytest.mark.parametrize("count", range(1, 12))
def test_no_range_response_exceeds_the_file_by_more_than_1_kib(port, stored, count):
    digest, content = stored
    spans = itertools.islice((f"{2 * number}-{2 * number}" for number in itertools.count()), count)
    answer = ask(port, "GET", f"/files/{digest}", f"Range: bytes={','.join(spans)}")
    assert len(answer.body) <= len(content) + 1024


# --- one connection, many requests -----------------------------------------------------------


def test_pipelined_requests_of_all_kinds_are_answered_in_order(port, stored):
    digest, content = stored
    requests = [
        ("GET", f"/files/{digest}", 200, content),
        ("HEAD", f"/files/{digest}", 200, b""),
        ("GET", f"/files/{UNSTORED}", 404, None),
        ("DELETE", "/", 400, None),
        ("BREW", "/", 405, None),
    ] * 20
    with RawSocketClient(port) as peer:
        peer.send(b"".join(head(method, target) for method, target, _, _ in requests))
        for method, _, status, body in requests:
            answer = peer.read_response(method)
            assert status == answer.status
            assert body in (None, answer.body)


def test_uploads_and_downloads_share_a_connection(port, fresh):
    contents = [fresh() for _ in range(20)]
    with RawSocketClient(port) as peer:
        for content in contents:
            peer.send(head("POST", "/", [f"Content-Length: {len(content)}"]) + content)
        digests = [peer.read_response("POST").body.decode() for _ in contents]
        peer.send(b"".join(head("GET", f"/files/{digest}") for digest in digests))
        assert contents == [peer.read_response("GET").body for _ in contents]
