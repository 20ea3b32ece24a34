"""Uploads of plain content with POST and PUT."""

import json
from base64 import b64encode
from hashlib import md5, sha256, sha512

import pytest

from filestored.digest import Algorithm, algorithm
from filestored.http.limits import Limits

HELLO = sha256(b"hello").hexdigest()
OTHER = sha256(b"other").hexdigest()


def field(name, data):
    hasher = {"sha-256": sha256, "sha-512": sha512, "md5": md5}[name]
    return f"{name}=:{b64encode(hasher(data).digest()).decode()}:"


def stored(wire, name=HELLO):
    return wire.ask("GET", f"/files/{name}").status == 200


# --- POST --------------------------------------------------------------------------------------


def test_post_returns_the_hash_only(wire):
    answer = wire.ask("POST", "/", b"hello")
    assert (answer.status, answer.body) == (200, HELLO.encode())
    assert answer.fields["content-type"] == "text/plain; charset=utf-8"


def test_post_returns_location_and_entity_tag(wire):
    answer = wire.ask("POST", "/", b"hello")
    assert answer.fields["location"] == f"/files/{HELLO}"
    assert answer.fields["etag"] == f'"{HELLO}"'
    assert wire.ask("GET", answer.fields["location"]).body == b"hello"


def test_chunked_post_is_stored_as_one_file(wire):
    chunks = b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
    assert wire.ask("POST", "/", chunks, Transfer_Encoding="chunked").body == HELLO.encode()
    assert stored(wire)


@pytest.mark.parametrize(
    "kind",
    ["application/x-www-form-urlencoded", "text/plain", "multipart/mixed; boundary=b", "nonsense", ""],
)
def test_body_that_is_no_form_is_the_file(wire, kind):
    assert wire.ask("POST", "/", b"hello", Content_Type=kind).body == HELLO.encode()


def test_empty_file_is_stored(wire):
    answer = wire.ask("POST", "/", b"")
    assert (answer.status, answer.body) == (200, sha256(b"").hexdigest().encode())
    assert wire.ask("GET", answer.fields["location"]).body == b""


def test_empty_chunked_file_is_stored(wire):
    answer = wire.ask("POST", "/", b"0\r\n\r\n", Transfer_Encoding="chunked")
    assert answer.body == sha256(b"").hexdigest().encode()


@pytest.mark.parametrize(("method", "target"), [("POST", "/"), ("PUT", f"/files/{HELLO}")])
def test_upload_without_body_is_400(wire, method, target):
    assert wire.ask(method, target).status == 400


def test_upload_of_a_stored_file_is_200_with_the_same_hash(wire):
    first, second = wire.ask("POST", "/", b"hello"), wire.ask("POST", "/", b"hello")
    assert (second.status, second.body) == (first.status, first.body)


@pytest.mark.parametrize("condition", ["*", f'"{HELLO}"', f'"x", W/"{HELLO}"'])
def test_if_none_match_of_any_makes_a_second_upload_412(wire, condition):
    assert wire.ask("POST", "/", b"hello", If_None_Match=condition).status == 200
    assert wire.ask("POST", "/", b"hello", If_None_Match=condition).status == 412
    assert stored(wire)


def test_if_none_match_with_another_tag_is_200(wire):
    wire.ask("POST", "/", b"hello")
    assert wire.ask("POST", "/", b"hello", If_None_Match=f'"{OTHER}"').status == 200


# --- JSON and integrity ------------------------------------------------------------------------


def test_json_response_of_an_upload(wire):
    answer = wire.ask("POST", "/", b"hello", Accept="application/json")
    assert answer.fields["content-type"] == "application/json"
    expected = {
        "hash": HELLO,
        "algorithm": "sha256",
        "size": 5,
        "created": True,
        "url": f"/files/{HELLO}",
    }
    assert json.loads(answer.body) == expected
    again = wire.ask("POST", "/", b"hello", Accept="application/json")
    assert json.loads(again.body) == {**expected, "created": False}


@pytest.mark.parametrize(("name", "key"), [("sha256", "sha-256"), ("sha512", "sha-512")])
def test_repr_digest_is_sent_for_algorithms_of_the_rfc(make_wire, name, key):
    answer = make_wire(algorithm=algorithm(name)).ask("POST", "/", b"hello")
    assert answer.fields["repr-digest"] == field(key, b"hello")


@pytest.mark.parametrize("name", ["md5", "sha1", "blake2b"])
def test_repr_digest_is_absent_for_other_algorithms(make_wire, name):
    assert "repr-digest" not in make_wire(algorithm=algorithm(name)).ask("POST", "/", b"hello").fields


@pytest.mark.parametrize("header", ["Content_Digest", "Repr_Digest"])
@pytest.mark.parametrize("key", ["sha-256", "sha-512"])
def test_wrong_content_digest_is_422(wire, header, key):
    assert wire.ask("POST", "/", b"hello", **{header: field(key, b"other")}).status == 422
    assert not stored(wire)
    assert wire.ask("POST", "/", b"hello", **{header: field(key, b"hello")}).status == 200


def test_all_announced_digests_are_checked(wire):
    both = f"{field('sha-256', b'hello')}, {field('sha-512', b'other')}"
    assert wire.ask("POST", "/", b"hello", Content_Digest=both).status == 422


def test_deprecated_digest_algorithm_is_ignored(wire):
    assert wire.ask("POST", "/", b"hello", Content_Digest=field("md5", b"other")).status == 200


@pytest.mark.parametrize("value", ["sha-256=hello", "sha-256=:AAAA:", "="])
def test_malformed_digest_header_is_400(wire, value):
    assert wire.ask("POST", "/", b"hello", Content_Digest=value).status == 400
    assert not stored(wire)


# --- PUT ---------------------------------------------------------------------------------------


def test_put_is_201_for_a_new_file_and_then_200(wire):
    first = wire.ask("PUT", f"/files/{HELLO}", b"hello")
    assert (first.status, first.body) == (201, HELLO.encode())
    assert wire.ask("PUT", f"/files/{HELLO}", b"hello").status == 200


def test_put_of_other_bytes_is_422_and_stores_nothing(wire):
    assert wire.ask("PUT", f"/files/{HELLO}", b"other").status == 422
    assert not stored(wire)
    assert not stored(wire, OTHER)


@pytest.mark.parametrize("name", ["x", HELLO + "0", "%00", "..%2f", "%D0%B6"])
def test_put_with_malformed_hash_is_400(wire, name):
    assert wire.ask("PUT", f"/files/{name}", b"hello").status == 400


def test_put_with_if_none_match_is_412_before_the_body(wire):
    wire.ask("POST", "/", b"hello")
    wire.send(
        f"PUT /files/{HELLO} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
        "If-None-Match: *\r\nExpect: 100-continue\r\n\r\n".encode()
    )
    assert wire.received().startswith(b"HTTP/1.1 412 ")


@pytest.mark.parametrize(("condition", "expected"), [("*", 412), (f'"{HELLO}"', 412)])
def test_put_with_if_match_needs_the_stored_file(wire, condition, expected):
    assert wire.ask("PUT", f"/files/{HELLO}", b"hello", If_Match=condition).status == expected
    wire.connect()
    wire.ask("POST", "/", b"hello")
    assert wire.ask("PUT", f"/files/{HELLO}", b"hello", If_Match=condition).status == 200


# --- errors ----------------------------------------------------------------------------------

EXPECTING = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"


def test_accepted_upload_gets_100_continue(wire):
    wire.send(f"{EXPECTING}Content-Length: 5\r\n\r\n".encode())
    assert wire.received() == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(b"hello")
    (answer,) = wire.answers("POST")
    assert answer.body == HELLO.encode()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("Content-Length: 11\r\n", 413),
        ("Content-Length: 5\r\nContent-Encoding: gzip\r\n", 415),
        ("Content-Length: 5\r\nContent-Encoding: identity\r\nContent-Encoding: br\r\n", 415),
        ("Content-Length: 5\r\nContent-Range: bytes 0-4/10\r\n", 400),
        ("Content-Length: 5\r\nContent-Digest: ;\r\n", 400),
        ("Content-Length: 5\r\nContent-Type: multipart/form-data\r\n", 400),
        ("Content-Length: 5\r\nContent-Type: a/b\r\nContent-Type: multipart/form-data; boundary=x\r\n", 400),
        ("Content-Length: 9999999\r\nContent-Type: multipart/form-data; boundary=b\r\n", 413),
    ],
)
def test_error_is_sent_instead_of_100_continue(make_wire, fields, expected):
    wire = make_wire(max_size=10)
    wire.send(f"{EXPECTING}{fields}\r\n".encode())
    assert wire.received().startswith(b"HTTP/1.1 %d " % expected)


def test_415_has_accept_encoding(wire):
    answer = wire.ask("POST", "/", b"hello", Content_Encoding="gzip")
    assert (answer.status, answer.fields["accept-encoding"]) == (415, "identity")


def test_identity_content_encoding_is_accepted(wire):
    assert wire.ask("POST", "/", b"hello", Content_Encoding="Identity").status == 200


def test_chunked_body_over_the_limit_is_413_and_stores_nothing(make_wire):
    wire = make_wire(max_size=4)
    answer = wire.ask("POST", "/", b"5\r\nhello\r\n0\r\n\r\n", Transfer_Encoding="chunked")
    assert answer.status == 413
    assert wire.store.uploads_in_flight == 0


def test_file_of_exactly_the_size_limit_is_stored(make_wire):
    assert make_wire(max_size=5).ask("POST", "/", b"hello").status == 200


# --- incomplete bodies -----------------------------------------------------------------


def test_stalled_body_is_408_and_stores_nothing(make_wire):
    wire = make_wire(limits=Limits(body_stall_timeout=30))
    wire.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel")
    wire.wait(40)
    (answer,) = wire.answers("POST")
    assert (answer.status, answer.fields["connection"]) == (408, "close")
    assert wire.store.uploads_in_flight == 0


@pytest.mark.parametrize("sent", [0, 1, 4])
def test_disconnect_during_an_upload_stores_nothing(wire, sent):
    wire.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n" + b"hello"[:sent])
    assert wire.store.uploads_in_flight == 1
    wire.disconnect()
    assert wire.store.uploads_in_flight == 0
    assert wire.store.statistics.uploads == 0
    wire.connect()
    assert not stored(wire)


def test_malformed_chunks_are_400_and_store_nothing(wire):
    answer = wire.ask("POST", "/", b"5\r\nhello\r\nzz\r\n", Transfer_Encoding="chunked")
    assert answer.status == 400
    assert wire.store.uploads_in_flight == 0


# --- collisions --------------------------------------------------------------------------------


class FirstByte:
    """A hash with easy collisions: the first byte."""

    def __init__(self):
        self._first = b""

    def update(self, data):
        self._first = self._first or bytes(data[:1])

    def digest(self):
        return self._first or b"\0"


def test_collision_is_409_and_keeps_the_first_file(make_wire):
    wire = make_wire(algorithm=Algorithm("md5", 1, FirstByte))
    name = wire.ask("POST", "/", b"house").body.decode()
    assert wire.ask("POST", "/", b"horse").status == 409
    assert wire.ask("GET", f"/files/{name}").body == b"house"
