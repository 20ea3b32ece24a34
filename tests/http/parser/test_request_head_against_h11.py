"""Request heads compared with h11: a head that h11 refuses is refused, too."""

import h11
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filestored.http.limits import Limits
from filestored.http.parser.headers import BadRequest
from filestored.http.parser.request_head import RequestHeadParser

TOKENS = st.sampled_from(
    [
        *(b"GET", b"POST", b"/", b"*", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0"),
        *(b" ", b"  ", b"\t", b"\r\n", b"\n", b"\r", b":", b",", b"(", b"@", b'"'),
        *(b"\x00", b"\x0b", b"\x7f", b"\x80", b"\xff", b"A", b"x", b"5", b"-1"),
        *(b"Host", b"host", b"Content-Length", b"Transfer-Encoding", b"chunked", b"gzip"),
        *(b"Connection", b"close"),
    ]
)
LINES = st.lists(
    st.sampled_from(
        [
            *(b"Host: x", b"Host: y", b"\x0bHost: x", b"Expect: 100-continue", b""),
            *(b"Content-Length: 5", b"Content-Length: 05", b"Content-Length: 5, 5", b"Content-Length: 6"),
            *(b"Content-Length:5 ", b"Content-Length: 5\t", b"content-length: +5"),
            *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked ", b"Transfer-Encoding:\tchunked"),
            *(b"Transfer-Encoding: x, chunked", b"Transfer-Encoding: chunked, identity"),
            *(b"Transfer_Encoding: chunked", b"Transfer-Encoding : chunked", b" Transfer-Encoding: chunked"),
            *(b"A:", b"A: \x01", b"A: b\x0c", b"A: \xe9"),
            *(b"A: b\rContent-Length: 9", b"A: b\nContent-Length: 9"),
        ]
    ),
    max_size=5,
)
START = st.sampled_from(
    [b"POST / HTTP/1.1", b"POST / HTTP/1.0", b"GET / HTTP/1.1", b"POST /  HTTP/1.1", b"FOO / HTTP/1.1"]
)


def parse(wire: bytes):
    """Return method, target and framing of the body, or None for no request (yet)."""
    try:
        found = RequestHeadParser(Limits()).feed(wire)
    except BadRequest:
        return None
    return found and (found[0].method, found[0].target, found[0].fields.chunked, found[0].fields.length)


def parse_with_h11(wire: bytes):
    """Return the same as parsed by h11."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(wire)
    try:
        request = server.next_event()
    except h11.RemoteProtocolError:
        return None
    if not isinstance(request, h11.Request):
        return None
    fields = dict(request.headers)
    length = fields.get(b"content-length")
    return (
        request.method,
        request.target,
        b"transfer-encoding" in fields,
        None if length is None else int(length),
    )


def check(wire: bytes) -> None:
    seen = parse(wire)
    if seen is not None:
        assert parse_with_h11(wire) == seen


@settings(max_examples=1000)
@given(START, LINES)
@example(b"POST / HTTP/1.1", [b"Host: x", b"Transfer-Encoding: chunked", b"Content-Length: 5"])
def test_heads_of_odd_lines_are_refused_or_parsed_as_by_h11(start, lines):
    check(b"\r\n".join([start, *lines, b"", b""]))


@settings(max_examples=1000)
@given(st.lists(TOKENS, max_size=24))
def test_heads_of_odd_tokens_are_refused_or_parsed_as_by_h11(tokens):
    check(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(tokens) + b"\r\n\r\n")
    check(b"".join(tokens) + b"\r\n\r\n")


@settings(max_examples=500)
@given(st.integers(0, 60), st.binary(min_size=1, max_size=3))
def test_heads_with_changed_bytes_are_refused_or_parsed_as_by_h11(position, change):
    wire = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nA: bcd\r\n\r\n"
    check(wire[:position] + change + wire[position + len(change) :])
    check(wire[:position] + change + wire[position:])
