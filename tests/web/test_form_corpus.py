"""Forms of many clients: whole, byte by byte, and cut at every byte."""

import pytest

from tests.web.form_corpus import ACCEPTED, CONTENT, REFUSED, REFUSED_TYPES
from tests.web.forms import name_of, store_form


def boundary(sample):
    value = sample.kind.lower().partition("boundary")[2].partition("=")[0]
    start = sample.kind.lower().index("boundary") + len("boundary") + len(value) + 1
    text = sample.kind[start:].strip()
    text = text[1 : text.index('"', 1)] if text.startswith('"') else text.partition(";")[0].strip()
    return text.encode("latin-1")


def send(wire, kind, body):
    """Send a request whose content type may hold any bytes."""
    head = f"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    wire.send(head.encode("latin-1") + body)
    (answer,) = wire.answers("POST")
    return answer


@pytest.mark.parametrize("client", ACCEPTED)
def test_form_of_client_is_stored(wire, client):
    sample = ACCEPTED[client]
    answer = send(wire, sample.kind, sample.body)
    assert 200 == answer.status
    assert [name_of(content) for content in sample.files] == answer.body.splitlines()


@pytest.mark.parametrize("client", ACCEPTED)
def test_form_of_client_is_stored_byte_by_byte(client):
    sample = ACCEPTED[client]
    pieces = [sample.body[at : at + 1] for at in range(len(sample.body))]
    assert [name_of(content) for content in sample.files] == store_form(pieces, boundary(sample))


@pytest.mark.parametrize("client", ACCEPTED)
def test_form_of_client_is_stored_in_two_pieces_cut_anywhere(client):
    sample = ACCEPTED[client]
    expected = [name_of(content) for content in sample.files]
    for at in range(1, len(sample.body)):
        assert expected == store_form([sample.body[:at], sample.body[at:]], boundary(sample)), at


@pytest.mark.parametrize("point", REFUSED)
def test_ambiguous_form_is_400_and_stores_nothing(wire, point):
    assert 400 == send(wire, "multipart/form-data; boundary=AB", REFUSED[point]).status
    assert 0 == wire.store.statistics.uploads
    assert 0 == wire.store.uploads_in_flight


@pytest.mark.parametrize("point", REFUSED)
def test_ambiguous_form_is_400_in_two_pieces_cut_anywhere(point):
    body = REFUSED[point]
    for at in range(1, len(body), 1 + len(body) // 1000):
        assert 400 == store_form([body[:at], body[at:]], "AB"), at


@pytest.mark.parametrize("kind", REFUSED_TYPES)
@pytest.mark.parametrize("call", ["POST /", "PUT /files/" + name_of(CONTENT).decode()])
def test_content_type_that_begins_like_a_form_is_400(wire, call, kind):
    body = ACCEPTED["blanks around the boundary"].body
    head = f"{call} HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    wire.send(head.encode() + body)
    (answer,) = wire.answers("POST")
    assert 400 == answer.status
    assert 0 == wire.store.statistics.uploads


@pytest.mark.parametrize("kind", ["multipart/mixed; boundary=AB", "multipart/related", "application/form"])
def test_content_type_that_is_no_form_stores_the_body(wire, kind):
    assert name_of(b"--AB--") == send(wire, kind, b"--AB--").body


def test_encoded_part_is_400_with_the_cause(wire):
    answer = send(wire, "multipart/form-data; boundary=AB", REFUSED["base64"])
    assert b"Send the files of a form without an encoding such as base64 or gzip.\n" == answer.body
