"""Request heads: the parts of good heads, and the status for bad ones."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestored.http.limits import Limits
from filestored.http.parser.headers import BadRequest
from filestored.http.parser.request_head import MAX_CACHED_BYTES, RequestHeadParser

LIMITS = Limits()
PLAIN = b"GET /a/b?c=d HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"


def read(data: bytes):
    return RequestHeadParser(LIMITS).feed(data)


def refusal(data: bytes) -> int:
    with pytest.raises(BadRequest) as caught:
        read(data)
    return caught.value.status


def head_of(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def post(*fields: str) -> bytes:
    return head_of("POST / HTTP/1.1", "Host: x", *fields)


def test_parts_of_a_request_head():
    head, rest = read(PLAIN)
    assert (b"GET", b"/a/b?c=d", b"/a/b", b"c=d", b"HTTP/1.1") == (
        head.method,
        head.target,
        head.path,
        head.query,
        head.version,
    )
    assert [(b"host", b"x"), (b"accept", b"*/*")] == head.fields.lines
    assert (True, False, None, b"") == (
        head.fields.keep_alive,
        head.fields.has_body,
        head.fields.length,
        rest,
    )


def test_head_byte_by_byte():
    reader = RequestHeadParser(LIMITS)
    for position in range(len(PLAIN) - 1):
        assert reader.feed(PLAIN[position : position + 1]) is None
    assert reader.feed(PLAIN[-1:]) == read(PLAIN)


@given(st.binary(max_size=64))
def test_bytes_after_a_head_are_returned(garbage):
    head, rest = read(PLAIN + garbage)
    assert (read(PLAIN)[0], garbage) == (head, rest)


@given(st.lists(st.integers(1, len(PLAIN) - 1)))
def test_head_cut_anywhere(cuts):
    reader = RequestHeadParser(LIMITS)
    borders = [0, *sorted(set(cuts)), len(PLAIN)]
    answers = [reader.feed(PLAIN[a:b]) for a, b in itertools.pairwise(borders)]
    assert [None] * (len(answers) - 1) + [read(PLAIN)] == answers


@pytest.mark.parametrize(
    ("line", "fields", "keep_alive"),
    [
        ("GET / HTTP/1.1", [], True),
        ("GET / HTTP/1.1", ["Connection: close"], False),
        ("GET / HTTP/1.1", ["Connection: Upgrade", "Upgrade: h2c"], True),
        ("GET / HTTP/1.0", [], False),
        ("GET / HTTP/1.0", ["Connection: keep-alive"], True),
    ],
)
def test_keep_alive_by_version_and_connection_header(line, fields, keep_alive):
    head, _ = read(head_of(line, "Host: x", *fields))
    assert keep_alive == head.fields.keep_alive


@pytest.mark.parametrize(
    ("fields", "length", "chunked"),
    [
        ([], None, False),
        (["Content-Length: 0"], 0, False),
        (["Content-Length: 12"], 12, False),
        (["Transfer-Encoding: chunked"], None, True),
        (["transfer-encoding: Chunked"], None, True),
        (["Transfer-Encoding: chunked", "Upgrade: h2c", "Connection: upgrade"], None, True),
        (["Content-Length: 7", "Upgrade: h2c", "Connection: upgrade"], 7, False),
    ],
)
def test_length_and_chunked_of_the_body(fields, length, chunked):
    head, _ = read(post(*fields))
    assert (length, chunked) == (head.fields.length, head.fields.chunked)


@pytest.mark.parametrize("method", ["BREW", "PROPFIND", "get", "SETUP", "M-SEARCH", "CONNECT"])
def test_unknown_methods_are_accepted(method):
    head, _ = read(head_of(f"{method} / HTTP/1.1", "Host: x", "Content-Length: 3"))
    assert (method.encode(), 3) == (head.method, head.fields.length)


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (400, b"GET / HTTP/1.1\nHost: x\n\n"),
        (400, b"GET / HTTP/1.1\r\nHost: x\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n Host: x\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost : x\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\nA\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x7fc\r\n\r\n"),
        (400, b"\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        (400, b"\rGET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        (400, b"\r\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        (400, b"\r\n GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        (400, b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n"),
        (400, b"GET /  HTTP/1.1\r\nHost: x\r\n\r\n"),
        (400, b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n"),
        (400, b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n"),
        (400, b"GET /\x80 HTTP/1.1\r\nHost: x\r\n\r\n"),
        (400, b"GET /\r\n\r\n"),
        (400, b"GET / http/1.1\r\nHost: x\r\n\r\n"),
        (400, b"GET / RTSP/1.0\r\nHost: x\r\n\r\n"),
        (400, b"G@T / HTTP/1.1\r\nHost: x\r\n\r\n"),
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"),
        (505, b"GET / HTTP/2.0\r\nHost: x\r\n\r\n"),
        (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (505, b"GET / HTTP/0.9\r\nHost: x\r\n\r\n"),
        (400, head_of("GET / HTTP/1.1")),
        (400, head_of("GET / HTTP/1.1", "Host: x", "A: b", " ", "C: d")),
        (400, head_of("GET / HTTP/1.1", "Host: x", "\t", "C: d")),
        (400, head_of("GET / HTTP/1.1", "Host: x", "A ", "C: d")),
        (400, head_of("GET / HTTP/1.1", "Host: x", "Host: x")),
        (400, head_of("GET / HTTP/1.1", "Host: x y")),
        (400, head_of("GET / HTTP/1.0", "Host: x/y")),
        (400, post("Content-Length: 3", "Content-Length: 3")),
        (400, post("Content-Length: 3, 3")),
        (400, post("Content-Length: +3")),
        (400, post("Content-Length: -3")),
        (400, post("Content-Length: 0x3")),
        (400, post("Content-Length: 3_0")),
        (400, post("Content-Length: 3 0")),
        (400, post("Content-Length: ")),
        (400, post("Content-Length: 1000000000000000000000")),
        (400, post("Transfer-Encoding: gzip, chunked")),
        (400, post("Transfer-Encoding: chunked, chunked")),
        (400, post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked")),
        (400, post("Transfer-Encoding: xchunked")),
        (400, post("Transfer-Encoding: identity")),
        (400, post("Transfer-Encoding: \x0bchunked")),
        (400, post("Transfer-Encoding: ")),
        (400, post("Transfer-Encoding: chunked", "Content-Length: 3")),
        (400, post("Content-Length: 3", "Transfer-Encoding: chunked")),
        (400, head_of("POST / HTTP/1.0", "Transfer-Encoding: chunked")),
        (400, head_of("GET http://x/ HTTP/1.1")),
        (400, head_of("GET http://x/ HTTP/1.1", "Host: x", "Host: y")),
        (400, head_of("GET http:/// HTTP/1.1", "Host: x")),
        (400, head_of("GET http:x/ HTTP/1.1", "Host: x")),
        (400, head_of("GET http://user@x/ HTTP/1.1", "Host: x")),
        (400, head_of("GET http://x\\y/ HTTP/1.1", "Host: x")),
        (400, head_of("GET http://x/../y HTTP/1.1", "Host: x")),
        (400, head_of("GET http://x/a%2fb HTTP/1.1", "Host: x")),
        (400, head_of("GET http://x#y HTTP/1.1", "Host: x")),
        (400, head_of("GET ftp://x/ HTTP/1.1", "Host: x")),
        (400, head_of("GET * HTTP/1.1", "Host: x")),
        (400, head_of("OPTIONS ** HTTP/1.1", "Host: x")),
        (400, head_of("GET x:80 HTTP/1.1", "Host: x")),
        (400, head_of("CONNECT x HTTP/1.1", "Host: x")),
        (400, head_of("GET /../etc/passwd HTTP/1.1", "Host: x")),
        (400, head_of("GET /a/.. HTTP/1.1", "Host: x")),
        (400, head_of("GET /a/%2e%2E/b HTTP/1.1", "Host: x")),
        (400, head_of("GET /a%2fb HTTP/1.1", "Host: x")),
        (400, head_of("GET /a%00b HTTP/1.1", "Host: x")),
        (400, head_of("GET /a%zzb HTTP/1.1", "Host: x")),
        (400, head_of("GET /a%2 HTTP/1.1", "Host: x")),
        (400, head_of("GET /a\\b HTTP/1.1", "Host: x")),
        (414, head_of("GET /" + "a" * 8192 + " HTTP/1.1", "Host: x")),
        (414, b"GET /" + b"a" * 8200),
        (431, head_of("GET / HTTP/1.1", "Host: x", "A: " + "a" * 8192)),
        (431, head_of("GET / HTTP/1.1", "Host: x", *["A: " + "a" * 4000] * 5)),
        (431, head_of("GET / HTTP/1.1", "Host: x", *["A: b"] * 100)),
    ],
)
def test_bad_head_is_refused_with_its_status(status, data):
    assert status == refusal(data)


@pytest.mark.parametrize("lines", [b"\r\n", b"\r\n\r\n", b"\r\n" * 9])
def test_empty_lines_before_a_request_are_skipped(lines):
    assert read(PLAIN) == read(lines + PLAIN)
    reader = RequestHeadParser(LIMITS)
    *unfinished, found = [reader.feed(bytes([byte])) for byte in lines + PLAIN]
    assert {None} == set(unfinished)
    assert read(PLAIN) == found


def test_empty_lines_do_not_begin_a_request():
    reader = RequestHeadParser(LIMITS)
    assert reader.feed(b"\r\n") is None
    assert not reader.began
    assert reader.feed(b"\r") is None
    assert reader.began


@pytest.mark.parametrize(
    ("target", "origin_form", "host"),
    [
        ("http://name:9000/a/b?c=d", "/a/b?c=d", "name:9000"),
        ("HTTPS://name/a", "/a", "name"),
        ("http://[::1]:9000/", "/", "[::1]:9000"),
        ("http://name", "/", "name"),
        ("http://name?c=d", "/?c=d", "name"),
        ("http://name/?c=http://x/", "/?c=http://x/", "name"),
    ],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_absolute_target_is_taken_and_its_authority_replaces_host(target, origin_form, host, version):
    head, _ = read(head_of(f"GET {target} HTTP/{version}", "Host: other", "Accept: */*"))
    assert origin_form.encode() == head.target
    assert head.target == head.path + (b"?" + head.query if head.query else b"")
    assert host.encode() == head.fields.last[b"host"]
    assert [host.encode()] == list(head.fields.values(b"host"))
    assert b"*/*" == head.fields.last[b"accept"]


def test_host_of_an_absolute_target_holds_for_one_request():
    reader = RequestHeadParser(LIMITS)
    fields = ["Host: x", "Content-Length: 3"]
    first, _ = reader.feed(head_of("POST http://y/ HTTP/1.1", *fields))
    second, _ = reader.feed(head_of("POST / HTTP/1.1", *fields))
    assert (b"y", b"x") == (first.fields.last[b"host"], second.fields.last[b"host"])
    assert (3, 3) == (first.fields.length, second.fields.length)


@pytest.mark.parametrize("line", ["OPTIONS *", "CONNECT x:80"])
def test_target_of_options_and_connect_is_the_root(line):
    head, _ = read(head_of(f"{line} HTTP/1.1", "Host: x"))
    assert (b"/", line.partition(" ")[2].encode()) == (head.path, head.target)


@pytest.mark.parametrize("version", ["1.2", "1.7", "1.9"])
def test_version_above_1_1_is_served_as_1_1(version):
    head, _ = read(head_of(f"POST / HTTP/{version}", "Host: x", "Transfer-Encoding: chunked"))
    assert (b"HTTP/1.1", True, True) == (head.version, head.fields.keep_alive, head.fields.chunked)


@pytest.mark.parametrize("before", ["", " ", "\t", " \t "])
@pytest.mark.parametrize("after", [" ", "\t", "  \t"])
def test_blanks_around_values_are_removed(before, after):
    def value(name: str, text: str) -> str:
        return f"{name}:{before}{text}{after}"

    head, _ = read(
        head_of("POST / HTTP/1.1", value("Host", "x"), value("Content-Length", "5"), value("A", "b c"))
    )
    assert (b"x", 5, b"b c") == (head.fields.last[b"host"], head.fields.length, head.fields.last[b"a"])
    fields = [value("Host", "x"), value("Transfer-Encoding", "chunked"), value("Expect", "100-continue")]
    head, _ = read(head_of("POST / HTTP/1.1", *fields, value("Connection", "close")))
    assert (True, True, False) == (head.fields.chunked, head.fields.expects_continue, head.fields.keep_alive)


def test_unfinished_bad_head_is_refused_early():
    assert 400 == refusal(b"GET / HTTP/1.1\r\nHost: x\n")
    assert 505 == refusal(b"GET / HTTP/3.0\r\n")
    assert 431 == refusal(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 3000)
    assert 431 == refusal(b"GET / HTTP/1.1\r\nA: " + b"a" * 9000)


@pytest.mark.parametrize("target", ["/", "/a..b", "/...", "/a/..b", "/%41", "/a//b", "/?x=%2f..%00/../"])
def test_harmless_dots_and_escapes_are_accepted(target):
    head, _ = read(head_of(f"GET {target} HTTP/1.1", "Host: x"))
    assert target.encode() == head.target


def test_head_that_comes_again_is_not_parsed_again():
    parser = RequestHeadParser(Limits())
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
    first, rest = parser.feed(post + b"abc")
    again, next_rest = parser.feed(post + b"def")
    assert (b"abc", b"def") == (rest, next_rest)
    assert again is first


@pytest.mark.parametrize("cut", [1, 20, 40])
def test_head_that_comes_again_in_pieces_is_the_same(cut):
    parser = RequestHeadParser(Limits())
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
    first, _ = parser.feed(post)
    assert parser.feed(post[:cut]) is None
    assert (first, b"abc") == parser.feed(post[cut:] + b"abc")


def test_another_head_is_parsed():
    parser = RequestHeadParser(Limits())
    targets = [b"/", b"/a", b"/a", b"/"]
    heads = [parser.feed(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)[0] for target in targets]
    assert targets == [head.target for head in heads]


def test_long_head_is_not_kept():
    parser = RequestHeadParser(Limits())
    long = b"GET / HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n" % (b"x" * MAX_CACHED_BYTES)
    assert parser.feed(long)[0] is not parser.feed(long)[0]
