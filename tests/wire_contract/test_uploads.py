"""Uploads over raw sockets: statuses, headers, bodies."""

import base64
import hashlib
import json

import pytest

from tests.http_clients.raw_socket import FORM, JSON, RAW, RawSocketClient, ask, chunked, form, head
from tests.wire_contract.servers import ALL_SERVERS, ONE_DAEMON

pytestmark = pytest.mark.servers(*ALL_SERVERS)

UNSTORED = hashlib.sha256(b"nobody ever stored this").hexdigest()
CHUNKED = "Transfer-Encoding: chunked"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def read_back(port, digest):
    return ask(port, "GET", f"/files/{digest}").body


def test_form_stores_its_file_and_returns_the_hash_only(port, fresh):
    content = fresh()
    answer = ask(port, "POST", "/", FORM, body=form(content))
    assert (200, sha256(content).encode()) == (answer.status, answer.body)
    assert answer.fields["content-type"].startswith("text/plain")
    assert content == read_back(port, sha256(content))


def test_all_files_of_a_form_are_stored_and_fields_dropped(port, fresh, files):
    first, second = fresh(), fresh()
    field = b'--frontier\r\nContent-Disposition: form-data; name="a"\r\n\r\nvalue\r\n'
    body = field + form(first)[: -len(b"--frontier--\r\n")] + form(second)
    answer = ask(port, "POST", "/", FORM, body=body)
    assert (200, [sha256(first), sha256(second)]) == (answer.status, answer.body.decode().splitlines())
    assert [first, second] == [read_back(port, sha256(content)) for content in (first, second)]
    assert sha256(b"value") not in files()


def test_form_without_a_file_is_400_and_stores_nothing(port, files):
    before = files()
    field = b'--frontier\r\nContent-Disposition: form-data; name="a"\r\n\r\nvalue\r\n--frontier--\r\n'
    assert 400 == ask(port, "POST", "/", FORM, body=field).status
    assert before == files()


@pytest.mark.parametrize(
    "kind",
    [
        *("application/octet-stream", "text/plain; charset=utf-8", "application/x-www-form-urlencoded"),
        *("application/json", "image/png", "multipart/mixed; boundary=x", ""),
    ],
)
def test_body_of_any_other_type_is_the_file(port, fresh, kind):
    content = fresh()
    fields = [f"Content-Type: {kind}"] if kind else []
    answer = ask(port, "POST", "/", *fields, body=content)
    assert (200, sha256(content).encode()) == (answer.status, answer.body)
    assert content == read_back(port, sha256(content))


@pytest.mark.parametrize("kind", [RAW, FORM], ids=["raw", "form"])
def test_chunked_body_is_stored(port, fresh, kind):
    content = fresh() * 100
    body = form(content) if kind == FORM else content
    pieces = [body[start : start + 7] for start in range(0, len(body), 7)]
    with RawSocketClient(port) as peer:
        peer.send(head("POST", "/", [kind, CHUNKED]) + chunked(*pieces))
        answer = peer.read_response("POST")
    assert (200, sha256(content).encode()) == (answer.status, answer.body)
    assert content == read_back(port, sha256(content))


@pytest.mark.parametrize("kind", [RAW, FORM], ids=["raw", "form"])
def test_body_sent_byte_by_byte_is_stored(port, fresh, kind):
    content = fresh()
    body = form(content) if kind == FORM else content
    with RawSocketClient(port) as peer:
        for byte in head("POST", "/", [kind, f"Content-Length: {len(body)}"]) + body:
            peer.send(bytes([byte]))
        answer = peer.read_response("POST")
    assert (200, sha256(content).encode()) == (answer.status, answer.body)


@pytest.mark.parametrize("body", [b"", form(b"")], ids=["raw", "form"])
def test_file_of_zero_bytes_is_stored(port, body):
    answer = ask(port, "POST", "/", FORM if body else RAW, body=body)
    assert (200, sha256(b"").encode()) == (answer.status, answer.body)
    assert b"" == read_back(port, sha256(b""))


def test_put_of_zero_bytes_is_stored(port):
    ask(port, "DELETE", f"/files/{sha256(b'')}")
    assert 201 == ask(port, "PUT", f"/files/{sha256(b'')}", body=b"").status


@pytest.mark.parametrize(("method", "target"), [("POST", "/"), ("PUT", f"/files/{UNSTORED}")])
def test_upload_without_body_is_400(port, method, target):
    assert 400 == ask(port, method, target, RAW).status


def test_http_1_0_upload_is_stored(port, fresh):
    content = fresh()
    with RawSocketClient(port) as peer:
        peer.send(b"POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))
        assert sha256(content).encode() == peer.read_response("POST").body
        assert b"" == peer.remainder()


def test_upload_of_a_stored_file_is_200_with_the_same_hash(port, stored):
    digest, content = stored
    answer = ask(port, "POST", "/", RAW, body=content)
    assert (200, digest.encode()) == (answer.status, answer.body)


def test_if_none_match_of_any_makes_a_second_upload_412(port, stored, fresh):
    digest, content = stored
    assert 412 == ask(port, "POST", "/", RAW, "If-None-Match: *", body=content).status
    assert 412 == ask(port, "PUT", f"/files/{digest}", "If-None-Match: *", body=content).status
    assert 200 == ask(port, "POST", "/", RAW, "If-None-Match: *", body=fresh()).status


def test_put_is_201_and_then_200(port, fresh):
    content = fresh()
    target = f"/files/{sha256(content)}"
    assert [201, 200] == [ask(port, "PUT", target, body=content).status for _ in range(2)]
    assert content == read_back(port, sha256(content))


def test_put_of_other_bytes_is_422_and_stores_nothing(port, fresh, files):
    content = fresh()
    before = files()
    assert 422 == ask(port, "PUT", f"/files/{UNSTORED}", body=content).status
    assert before == files()
    assert 404 == ask(port, "GET", f"/files/{UNSTORED}").status


def test_chunked_put_is_checked(port, fresh):
    content = fresh()
    for target, expected in (sha256(content), 201), (UNSTORED, 422):
        with RawSocketClient(port) as peer:
            peer.send(head("PUT", f"/files/{target}", [CHUNKED]) + chunked(content[:3], content[3:]))
            assert expected == peer.read_response("PUT").status


@pytest.mark.parametrize("name", ["x", "0" * 63, "0" * 65, "G" * 64, "0" * 32, "%30" * 63])
def test_put_with_malformed_hash_is_400(port, name):
    assert 400 == ask(port, "PUT", f"/files/{name}", body=b"x").status


def test_upload_response_has_location_entity_tag_and_digest(port, fresh):
    content = fresh()
    digest = sha256(content)
    for answer in (
        ask(port, "POST", "/", RAW, body=content),
        ask(port, "PUT", f"/files/{digest}", body=content),
    ):
        assert f"/files/{digest}" == answer.fields["location"]
        assert f'"{digest}"' == answer.fields["etag"]
        value = base64.b64encode(bytes.fromhex(digest)).decode()
        assert f"sha-256=:{value}:" == answer.fields["repr-digest"]


def test_json_response_if_accepted(port, fresh):
    content = fresh()
    told = [ask(port, "POST", "/", RAW, JSON, body=content) for _ in range(2)]
    assert ["application/json"] * 2 == [answer.fields["content-type"].split(";")[0] for answer in told]
    first, second = (json.loads(answer.body) for answer in told)
    assert {"hash", "algorithm", "size", "created", "url"} == set(first)
    assert (sha256(content), "sha256", len(content)) == (first["hash"], first["algorithm"], first["size"])
    assert first["url"].endswith(f"/files/{sha256(content)}")
    assert (True, False) == (first["created"], second["created"])


DIGESTS = pytest.mark.parametrize("name", ["Content-Digest", "Repr-Digest"])
ALGORITHMS = pytest.mark.parametrize(("key", "function"), [("sha-256", "sha256"), ("sha-512", "sha512")])


def digest_field(name, key, function, content):
    value = base64.b64encode(hashlib.new(function, content).digest()).decode()
    return f"{name}: {key}=:{value}:"


@DIGESTS
@ALGORITHMS
def test_content_digest_is_checked(port, fresh, files, name, key, function):
    content = fresh()
    right = digest_field(name, key, function, content)
    wrong = digest_field(name, key, function, content + b"!")
    before = files()
    assert 422 == ask(port, "POST", "/", RAW, wrong, body=content).status
    assert before == files()
    assert 200 == ask(port, "POST", "/", RAW, right, body=content).status


@pytest.mark.parametrize("value", ["sha-256=:AAAA:", "sha-256=x", "sha-256", ":::", "sha-256=:!!!!:"])
def test_malformed_content_digest_is_400(port, fresh, value):
    assert ask(port, "POST", "/", RAW, f"Repr-Digest: {value}", body=fresh()).status in {400, 422}


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip", "unheard-of"])
def test_content_encoding_is_415_before_the_body(port, coding):
    with RawSocketClient(port) as peer:
        peer.send(head("POST", "/", [RAW, f"Content-Encoding: {coding}", "Content-Length: 100"]))
        assert 415 == peer.read_response("POST").status


@pytest.mark.parametrize("digits", [1, 15, 16, 17, 20])
@pytest.mark.parametrize("like_chunks", [False, True])
def test_chunk_size_with_leading_zeros_is_accepted(port, fresh, digits, like_chunks):
    content = b"aXX3\r\nbcd\r\n0\r\nZZ" + fresh() if like_chunks else fresh()
    body = b"%0*x\r\n%b\r\n0\r\n\r\n" % (digits, len(content), content)
    with RawSocketClient(port) as peer:
        peer.send(head("POST", "/", [RAW, "Transfer-Encoding: chunked"]) + body)
        answer = peer.read_response("POST")
    assert (200, hashlib.sha256(content).hexdigest()) == (answer.status, answer.body.decode())


@pytest.mark.parametrize(
    "length",
    ["+5", "-5", "0x5", "5 5", "0" * 30 + "5", "9" * 19, "9" * 5000, str(1 << 63), str((1 << 64) + 5)],
)
@pytest.mark.servers(*ONE_DAEMON)
def test_ambiguous_content_length_is_400(port, length):
    """Nginx takes leading zeros, and passes the number on without them."""
    with RawSocketClient(port) as peer:
        peer.send(head("POST", "/", [RAW, f"Content-Length: {length}"]) + b"hello")
        assert 400 == peer.read_response("POST").status


@pytest.mark.parametrize("number", ["9" * 40, "9" * 41, "9" * 5000])
def test_numbers_of_very_many_digits_are_4xx(port, stored, number):
    digest, content = stored
    answer = ask(port, "GET", f"/files/{digest}", f"Range: bytes=0-{number}")
    assert answer.status in {200, 206}
    assert content == answer.body
    answer = ask(port, "POST", "/", RAW, f"Content-Digest: sha-256={number}", body=b"x")
    assert 400 == answer.status
    disposition = 'Content-Disposition: form-data; name="f"; filename="x"'
    part = f"--frontier\r\n{disposition}\r\nContent-Length: {number}\r\n\r\nx\r\n--frontier--\r\n".encode()
    assert 400 == ask(port, "POST", "/", FORM, body=part).status
