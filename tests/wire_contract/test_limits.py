"""Every limit from both sides: the last accepted value, and the first rejected one."""

from contextlib import ExitStack

import pytest

from tests.http_clients.raw_socket import FORM, RAW, RawSocketClient, ask, chunked, form, head
from tests.wire_contract.conftest import MAX_SIZE

UNSTORED = "0" * 64
UPLOADS = pytest.mark.parametrize(("method", "target"), [("POST", "/"), ("PUT", f"/files/{UNSTORED}")])
KIB = 1024


def refused(port, data, method="GET"):
    """The answer to bytes that end a connection; fails when it does not end."""
    with RawSocketClient(port) as peer:
        peer.send(data)
        answer = peer.read_response(method)
        assert "close" == answer.fields["connection"].lower()
        assert b"" == peer.remainder()
        return answer


@UPLOADS
def test_body_announced_too_long_is_413_before_it_arrives(port, method, target):
    assert 413 == refused(port, head(method, target, [RAW, f"Content-Length: {MAX_SIZE + 1}"]), method).status


@UPLOADS
def test_chunked_body_over_the_limit_is_413(port, files, method, target):
    before = files()
    chunks = chunked(*[bytes(64 * KIB)] * 17).removesuffix(b"0\r\n\r\n")  # the end is not waited for
    data = head(method, target, [RAW, "Transfer-Encoding: chunked"]) + chunks
    assert 413 == refused(port, data, method).status
    assert before == files()


def test_file_of_exactly_the_limit_is_stored_in_every_framing(port):
    content = bytes(MAX_SIZE)
    assert 200 == ask(port, "POST", "/", RAW, body=content).status
    assert 200 == ask(port, "POST", "/", FORM, body=form(content)).status
    with RawSocketClient(port) as peer:
        peer.send(head("POST", "/", ["Transfer-Encoding: chunked"]) + chunked(content))
        assert 200 == peer.read_response("POST").status


def test_file_in_a_form_one_byte_over_the_limit_is_413(port, files):
    before = files()
    assert 413 == ask(port, "POST", "/", FORM, body=form(bytes(MAX_SIZE + 1))).status
    assert before == files()


@pytest.mark.parametrize("length", ["9" * 19, "9" * 30, str(2**63), str(2**64), str(2**64 + 5)])
def test_huge_content_length_is_refused(port, length):
    answer = refused(port, head("POST", "/", [RAW, f"Content-Length: {length}"]), "POST")
    assert answer.status in {400, 413}


def test_target_of_8_kib_is_accepted_and_a_longer_one_is_414(port):
    assert 404 == ask(port, "GET", "/" + "a" * (8 * KIB - 20)).status
    assert 414 == refused(port, head("GET", "/" + "a" * 8 * KIB)).status


def test_endless_target_is_414(port):
    assert 414 == refused(port, b"GET /" + b"a" * 9 * KIB).status


def test_header_under_8_kib_is_accepted_and_a_longer_one_is_431(port):
    assert 404 == ask(port, "GET", f"/files/{UNSTORED}", f"X: {'a' * (8 * KIB - 10)}").status
    assert 431 == refused(port, head("GET", "/", [f"X: {'a' * (8 * KIB)}"])).status


@pytest.mark.parametrize("data", [b"X: " + b"a" * 9 * KIB, b"x" * 9 * KIB], ids=["value", "name"])
def test_endless_header_is_431(port, data):
    assert 431 == refused(port, b"GET / HTTP/1.1\r\nHost: x\r\n" + data).status


def test_head_over_16_kib_is_431(port):
    fields = [f"X-{number}: {'a' * 4000}" for number in range(5)]
    assert 404 == ask(port, "GET", f"/files/{UNSTORED}", *fields[:3]).status
    assert 431 == refused(port, head("GET", "/", fields)).status


def test_100_headers_are_accepted_and_101_are_431(port):
    fields = [f"X-{number}: a" for number in range(100)]
    assert 404 == ask(port, "GET", f"/files/{UNSTORED}", *fields[:99]).status  # Host is the hundredth
    assert 431 == refused(port, head("GET", "/", fields)).status


def chunk_of_extension(size):
    return b"1;" + b"e" * size + b"\r\nx\r\n0\r\n\r\n"


def test_chunk_size_line_is_limited_to_256_bytes(port):
    start = head("POST", "/", [RAW, "Transfer-Encoding: chunked"])
    with RawSocketClient(port) as peer:
        peer.send(start + chunk_of_extension(200))
        assert 200 == peer.read_response("POST").status
    assert refused(port, start + chunk_of_extension(300), "POST").status in {400, 413, 431}


def test_trailers_are_ignored_up_to_8_kib(port, fresh):
    start = head("POST", "/", [RAW, "Transfer-Encoding: chunked"])
    body = chunked(fresh()).removesuffix(b"\r\n")
    with RawSocketClient(port) as peer:
        peer.send(start + body + b"ETag: x\r\nX: " + b"a" * 4000 + b"\r\n\r\n")
        assert 200 == peer.read_response("POST").status
    trailers = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 2000) for number in range(6))
    assert refused(port, start + body + trailers + b"\r\n", "POST").status in {400, 413, 431}


@pytest.mark.parametrize("trailer", [b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Host: y"])
def test_framing_header_in_a_trailer_is_ignored(port, fresh, stored, trailer):
    body = chunked(fresh()).removesuffix(b"\r\n") + trailer + b"\r\n\r\n"
    with RawSocketClient(port) as peer:
        peer.send(
            head("POST", "/", ["Transfer-Encoding: chunked"]) + body + head("GET", f"/files/{stored[0]}")
        )
        if peer.read_response("POST").status == 200:
            assert stored[1] == peer.read_response().body
        else:
            assert b"" == peer.remainder()


@pytest.mark.parametrize(
    ("boundary", "expected"), [("b" * 200, {200}), ("b" * 201, {400})], ids=["200", "201"]
)
def test_boundary_is_limited_to_200_characters(port, fresh, boundary, expected):
    kind = f"Content-Type: multipart/form-data; boundary={boundary}"
    assert ask(port, "POST", "/", kind, body=form(fresh(), boundary=boundary)).status in expected


def field_part(size=5, lines=1):
    more = b"".join(b"X-%d: a\r\n" % number for number in range(lines - 1))
    disposition = b'--frontier\r\nContent-Disposition: form-data; name="a"\r\n'
    return disposition + more + b"\r\n" + b"v" * size + b"\r\n"


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (field_part() * 999, {200}),
        (field_part() * 1000, {413}),
        (field_part(size=64 * KIB), {200}),
        (field_part(size=64 * KIB + 1), {400, 413}),
        (field_part(lines=16), {200}),
        (field_part(lines=17), {400, 413}),
        (field_part().replace(b'"a"', b'"%b"' % (b"a" * 8 * KIB)), {400, 413}),
    ],
    ids=["1000 parts", "1001 parts", "64 KiB", "64 KiB + 1", "16 lines", "17 lines", "8 KiB of name"],
)
def test_form_over_a_limit_is_413(port, fresh, before, expected):
    assert ask(port, "POST", "/", FORM, body=before + form(fresh())).status in expected


def test_concurrent_upload_over_the_limit_is_503_with_retry_after(port, fresh):
    """64 uploads write to disk, none of them slowly, each with the end of its body still to come."""
    with ExitStack() as crowd:
        peers = [crowd.enter_context(RawSocketClient(port)) for _ in range(64)]
        contents = [fresh() + bytes(240_000) for _ in peers]
        for peer, content in zip(peers, contents, strict=True):
            peer.send(head("POST", "/", [RAW, f"Content-Length: {len(content)}"]) + content[:-1])
        waiting = [RAW, "Content-Length: 20000", "Expect: 100-continue"]
        late = refused(port, head("POST", "/", waiting), "POST")
        assert (503, True, []) == (late.status, late.fields["retry-after"].isdigit(), late.interim)
        assert 404 == ask(port, "GET", f"/files/{UNSTORED}").status
        for peer, content in zip(peers, contents, strict=True):
            peer.send(content[-1:])
            assert 200 == peer.read_response("POST").status
    assert 200 == ask(port, "POST", "/", RAW, body=fresh()).status
