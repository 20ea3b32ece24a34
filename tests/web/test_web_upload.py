"""Uploads of plain content: every row of the contract that begins with POST or PUT."""

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


def test_a_post_answers_the_hash_and_nothing_else(wire):
    answer = wire.ask("POST", "/", b"hello")
    assert (answer.status, answer.body) == (200, HELLO.encode())
    assert answer.fields["content-type"] == "text/plain; charset=utf-8"


def test_a_post_tells_where_the_file_is(wire):
    answer = wire.ask("POST", "/", b"hello")
    assert answer.fields["location"] == f"/files/{HELLO}"
    assert answer.fields["etag"] == f'"{HELLO}"'
    assert wire.ask("GET", answer.fields["location"]).body == b"hello"


def test_a_post_in_chunks_is_stored_as_one_file(wire):
    chunks = b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
    assert wire.ask("POST", "/", chunks, Transfer_Encoding="chunked").body == HELLO.encode()
    assert stored(wire)


@pytest.mark.parametrize(
    "kind",
    ["application/x-www-form-urlencoded", "text/plain", "multipart/mixed; boundary=b", "nonsense", ""],
)
def test_content_that_is_no_form_is_the_file_itself(wire, kind):
    assert wire.ask("POST", "/", b"hello", Content_Type=kind).body == HELLO.encode()


def test_an_empty_file_is_a_file(wire):
    answer = wire.ask("POST", "/", b"")
    assert (answer.status, answer.body) == (200, sha256(b"").hexdigest().encode())
    assert wire.ask("GET", answer.fields["location"]).body == b""


def test_an_empty_file_in_chunks_is_a_file(wire):
    answer = wire.ask("POST", "/", b"0\r\n\r\n", Transfer_Encoding="chunked")
    assert answer.body == sha256(b"").hexdigest().encode()


@pytest.mark.parametrize(("method", "target"), [("POST", "/"), ("PUT", f"/files/{HELLO}")])
def test_an_upload_without_a_body_is_400(wire, method, target):
    assert wire.ask(method, target).status == 400


def test_what_is_stored_already_answers_200_and_the_same_hash(wire):
    first, second = wire.ask("POST", "/", b"hello"), wire.ask("POST", "/", b"hello")
    assert (second.status, second.body) == (first.status, first.body)


@pytest.mark.parametrize("condition", ["*", f'"{HELLO}"', f'"x", W/"{HELLO}"'])
def test_if_none_match_makes_a_second_upload_412(wire, condition):
    assert wire.ask("POST", "/", b"hello", If_None_Match=condition).status == 200
    assert wire.ask("POST", "/", b"hello", If_None_Match=condition).status == 412
    assert stored(wire)


def test_if_none_match_with_another_tag_does_not_matter(wire):
    wire.ask("POST", "/", b"hello")
    assert wire.ask("POST", "/", b"hello", If_None_Match=f'"{OTHER}"').status == 200


# --- JSON and integrity ------------------------------------------------------------------------


def test_json_tells_more(wire):
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
def test_repr_digest_is_told_for_algorithms_that_have_one(make_wire, name, key):
    answer = make_wire(algorithm=algorithm(name)).ask("POST", "/", b"hello")
    assert answer.fields["repr-digest"] == field(key, b"hello")


@pytest.mark.parametrize("name", ["md5", "sha1", "blake2b"])
def test_repr_digest_is_not_told_for_algorithms_that_have_none(make_wire, name):
    assert "repr-digest" not in make_wire(algorithm=algorithm(name)).ask("POST", "/", b"hello").fields


@pytest.mark.parametrize("header", ["Content_Digest", "Repr_Digest"])
@pytest.mark.parametrize("key", ["sha-256", "sha-512"])
def test_an_announced_digest_is_checked(wire, header, key):
    assert wire.ask("POST", "/", b"hello", **{header: field(key, b"other")}).status == 422
    assert not stored(wire)
    assert wire.ask("POST", "/", b"hello", **{header: field(key, b"hello")}).status == 200


def test_every_announced_digest_is_checked(wire):
    both = f"{field('sha-256', b'hello')}, {field('sha-512', b'other')}"
    assert wire.ask("POST", "/", b"hello", Content_Digest=both).status == 422


def test_a_deprecated_digest_is_passed_over(wire):
    assert wire.ask("POST", "/", b"hello", Content_Digest=field("md5", b"other")).status == 200


@pytest.mark.parametrize("value", ["sha-256=hello", "sha-256=:AAAA:", "="])
def test_a_malformed_digest_field_is_400(wire, value):
    assert wire.ask("POST", "/", b"hello", Content_Digest=value).status == 400
    assert not stored(wire)


# --- PUT ---------------------------------------------------------------------------------------


def test_a_put_is_201_when_new_and_200_when_not(wire):
    first = wire.ask("PUT", f"/files/{HELLO}", b"hello")
    assert (first.status, first.body) == (201, HELLO.encode())
    assert wire.ask("PUT", f"/files/{HELLO}", b"hello").status == 200


def test_a_put_of_other_bytes_is_422_and_stores_nothing(wire):
    assert wire.ask("PUT", f"/files/{HELLO}", b"other").status == 422
    assert not stored(wire)
    assert not stored(wire, OTHER)


@pytest.mark.parametrize("name", ["x", HELLO.upper(), HELLO + "0", "%00", "..%2f", "%D0%B6"])
def test_a_put_under_a_malformed_hash_is_400(wire, name):
    assert wire.ask("PUT", f"/files/{name}", b"hello").status == 400


def test_a_put_with_if_none_match_is_412_before_its_body(wire):
    wire.ask("POST", "/", b"hello")
    wire.send(
        f"PUT /files/{HELLO} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
        "If-None-Match: *\r\nExpect: 100-continue\r\n\r\n".encode()
    )
    assert wire.received().startswith(b"HTTP/1.1 412 ")


@pytest.mark.parametrize(("condition", "expected"), [("*", 412), (f'"{HELLO}"', 412)])
def test_a_put_with_if_match_needs_the_file(wire, condition, expected):
    assert wire.ask("PUT", f"/files/{HELLO}", b"hello", If_Match=condition).status == expected
    wire.connect()
    wire.ask("POST", "/", b"hello")
    assert wire.ask("PUT", f"/files/{HELLO}", b"hello", If_Match=condition).status == 200


# --- refusals ----------------------------------------------------------------------------------

EXPECTING = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"


def test_a_welcome_body_is_called_for(wire):
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
def test_the_refusal_comes_instead_of_100_continue(make_wire, fields, expected):
    wire = make_wire(max_size=10)
    wire.send(f"{EXPECTING}{fields}\r\n".encode())
    assert wire.received().startswith(b"HTTP/1.1 %d " % expected)


def test_415_says_which_coding_is_taken(wire):
    answer = wire.ask("POST", "/", b"hello", Content_Encoding="gzip")
    assert (answer.status, answer.fields["accept-encoding"]) == (415, "identity")


def test_the_identity_coding_is_no_coding(wire):
    assert wire.ask("POST", "/", b"hello", Content_Encoding="Identity").status == 200


def test_chunks_beyond_the_limit_are_413_and_nothing_is_stored(make_wire):
    wire = make_wire(max_size=4)
    answer = wire.ask("POST", "/", b"5\r\nhello\r\n0\r\n\r\n", Transfer_Encoding="chunked")
    assert answer.status == 413
    assert wire.store.uploads_in_flight == 0


def test_a_file_of_exactly_the_limit_is_taken(make_wire):
    assert make_wire(max_size=5).ask("POST", "/", b"hello").status == 200


# --- bodies that do not arrive -----------------------------------------------------------------


def test_a_stalled_body_is_answered_408_and_stores_nothing(make_wire):
    wire = make_wire(limits=Limits(body_stall_timeout=30))
    wire.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel")
    wire.wait(40)
    (answer,) = wire.answers("POST")
    assert (answer.status, answer.fields["connection"]) == (408, "close")
    assert wire.store.uploads_in_flight == 0


@pytest.mark.parametrize("sent", [0, 1, 4])
def test_a_client_that_vanishes_leaves_nothing_behind(wire, sent):
    wire.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n" + b"hello"[:sent])
    assert wire.store.uploads_in_flight == 1
    wire.hang_up()
    assert wire.store.uploads_in_flight == 0
    assert wire.store.statistics.uploads == 0
    wire.connect()
    assert not stored(wire)


def test_broken_chunks_are_400_and_store_nothing(wire):
    answer = wire.ask("POST", "/", b"5\r\nhello\r\nzz\r\n", Transfer_Encoding="chunked")
    assert answer.status == 400
    assert wire.store.uploads_in_flight == 0


# --- collisions --------------------------------------------------------------------------------


class FirstByte:
    """A hash that is easy to collide: it is the first byte."""

    def __init__(self):
        self._first = b""

    def update(self, data):
        self._first = self._first or bytes(data[:1])

    def digest(self):
        return self._first or b"\0"


def test_a_collision_is_409_and_leaves_the_first_file_unchanged(make_wire):
    wire = make_wire(algorithm=Algorithm("md5", 1, FirstByte))
    name = wire.ask("POST", "/", b"house").body.decode()
    assert wire.ask("POST", "/", b"horse").status == 409
    assert wire.ask("GET", f"/files/{name}").body == b"house"
