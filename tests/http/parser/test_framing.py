"""Framing of bodies: any cut gives the same bytes, and violations of RFC 9112 are refused."""

import itertools
from random import Random

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestored.errors import BodyMalformed
from filestored.http.limits import Limits
from filestored.http.parser.framing import MAX_CHUNKS, ChunkedReader, LengthReader
from tests.http.parser.h11_comparison import parse, parse_with_h11, random_bodies, random_cut

CHUNKED = b"5\r\nhello\r\n1;name=value\r\n \r\n00A\r\nworld\r\nabc\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n"
BODY = b"hello world\r\nabc"


def chunked() -> ChunkedReader:
    return ChunkedReader(Limits())


def read_all(reader, pieces):
    body, rest, complete = b"", b"", False
    for piece in pieces:
        if complete:
            rest += piece
            continue
        rest = piece
        while rest and not complete:
            part, rest, complete = reader.feed(rest)
            body += part
    return body, rest, complete


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


@pytest.mark.parametrize(("reader", "data"), [(LengthReader(len(BODY)), BODY), (chunked(), CHUNKED)])
def test_body_in_one_piece(reader, data):
    assert (BODY, b"", True) == read_all(reader, [data])


@pytest.mark.parametrize(("reader", "data"), [(LengthReader(len(BODY)), BODY), (chunked(), CHUNKED)])
def test_body_byte_by_byte(reader, data):
    assert (BODY, b"", True) == read_all(reader, bytewise(data))


@pytest.mark.parametrize(("reader", "data"), [(LengthReader(len(BODY)), BODY), (chunked(), CHUNKED)])
def test_body_ends_before_garbage(reader, data):
    assert (BODY, b"GET / \x00\xff", True) == read_all(reader, [data + b"GET / \x00\xff"])


def test_unfinished_body_is_not_complete():
    for end in range(len(CHUNKED)):
        assert not read_all(chunked(), [CHUNKED[:end]])[2]


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.data())
def test_chunks_of_any_size_and_cut_give_the_same_body(parts, data):
    wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(0, len(wire)), max_size=12)) | {0, len(wire)})
    pieces = [wire[a:b] for a, b in itertools.pairwise(cuts)]
    assert (b"".join(parts), b"", True) == read_all(chunked(), pieces)


BROKEN = [
    b"\r\nabc\r\n0\r\n\r\n",
    b"x\r\n",
    b"0x3\r\nabc\r\n",
    b"+3\r\nabc\r\n",
    b"-3\r\nabc\r\n",
    b" 3\r\nabc\r\n",
    b"3\nabc\r\n0\r\n\r\n",
    b"3\r\nabcd\r\n0\r\n\r\n",
    b"3\r\nabc0\r\n\r\n",
    b"3\r\nabc\n0\r\n\r\n",
    b"3\rabc\r\n",
    b"ffffffffffffffffff\r\n",
    b"3;" + b"a" * 260 + b"\r\nabc\r\n",
    b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    b"0\r\nbad trailer\r\n\r\n",
    b"0\r\nA: b\nc\r\n\r\n",
    b"0\r\n" + b"A: " + b"b" * 8200 + b"\r\n\r\n",
    b"0\r\n" + b"A: b\r\n" * 1400 + b"\r\n",
    b"3" * 300,
]


@pytest.mark.parametrize("data", BROKEN)
def test_malformed_chunks_are_refused_in_one_piece_and_byte_by_byte(data):
    with pytest.raises(BodyMalformed):
        read_all(chunked(), [data])
    with pytest.raises(BodyMalformed):
        read_all(chunked(), bytewise(data))


@given(
    st.lists(
        st.sampled_from(
            [
                b"3",
                b"0",
                b"a",
                b"\r\n",
                b"\n",
                b"\r",
                b";",
                b"=",
                b" ",
                b"abc",
                b"x",
                b":",
                b"\x00",
                b"F",
                b"-",
            ]
        ),
        max_size=14,
    )
)
def test_chunks_that_h11_refuses_are_refused(tokens):
    wire = b"".join(tokens)
    try:
        body, rest, complete = read_all(chunked(), [wire])
    except BodyMalformed:
        return
    if not complete:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + wire)
    assert isinstance(server.next_event(), h11.Request)
    parse_with_h11 = b""
    while isinstance(event := server.next_event(), h11.Data):
        parse_with_h11 += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert (parse_with_h11, server.trailing_data[0]) == (body, rest)


SMUGGLED = b"aXX3\r\nbcd\r\n0\r\nZZ"


@pytest.mark.parametrize(
    "line", [b"5; a", b"5 ;a", b"5\t;a", b"5; a = b", b'5;a="b c"', b"5;a\t;b =c", b"5 ", b"5 \t ", b"5;a "]
)
def test_blanks_in_chunk_extensions_are_accepted(line):
    wire = line + b"\r\nhello\r\n" + line.replace(b"5", b"0") + b"\r\n\r\n"
    for pieces in ([wire], bytewise(wire)):
        assert (b"hello", b"", True) == read_all(chunked(), pieces)


@pytest.mark.parametrize("line", [b" 5", b"5 5", b"5 a", b"5 ; a\n", b"5 ; a\0", b"5 \x0b", b"5 ;\ra"])
def test_blanks_elsewhere_in_a_size_line_are_malformed(line):
    wire = line + b"\r\nhello\r\n0\r\n\r\n"
    for pieces in ([wire], bytewise(wire)):
        with pytest.raises(BodyMalformed):
            read_all(chunked(), pieces)


@pytest.mark.parametrize("digits", range(1, 21))
@pytest.mark.parametrize("content", [b"hello", SMUGGLED], ids=["plain", "like chunks"])
def test_chunk_size_with_leading_zeros(digits, content):
    wire = b"%0*x\r\n%b\r\n%b\r\n\r\n" % (digits, len(content), content, b"0" * digits)
    for pieces in ([wire], bytewise(wire)):
        assert (content, b"", True) == read_all(chunked(), pieces)


@pytest.mark.parametrize("digits", [21, 40, 200])
def test_chunk_size_of_too_many_digits_is_malformed(digits):
    wire = b"%0*x\r\n%b\r\n0\r\n\r\n" % (digits, 5, b"hello")
    for pieces in ([wire], bytewise(wire)):
        with pytest.raises(BodyMalformed):
            read_all(chunked(), pieces)


@pytest.mark.parametrize("size", [1 << 64, (1 << 64) + 5, (1 << 68) + 5, (1 << 80) - 1])
def test_chunk_size_beyond_64_bits_is_malformed(size):
    with pytest.raises(BodyMalformed):
        read_all(chunked(), [b"%x\r\nhello\r\n0\r\n\r\n" % size])


def test_each_chunk_is_compared_with_llhttp():
    """A parser that reads another size than llhttp stops at that chunk, not at the end."""

    class Misreading(ChunkedReader):
        def _read_size(self, data, position):
            end, body = super()._read_size(data, position)
            self._missing -= 1
            return end, body

    reader = Misreading(Limits())
    with pytest.raises(BodyMalformed):
        read_all(reader, [b"6\r\nhello!", b"\r\n"])


def test_random_chunked_bodies_are_read_as_by_h11():
    random = Random(20)
    accepted = 0
    for _ in range(3_000):
        wire, without_blanks = random_bodies(random)
        pieces = random_cut(random, wire)
        seen = parse(pieces)
        if seen is not None:
            assert seen in (parse_with_h11(pieces), parse_with_h11([without_blanks])), pieces
            accepted += seen.complete and bool(seen.body)
    assert accepted > 1_000


def test_one_feed_reads_at_most_max_chunks():
    count = 10 * MAX_CHUNKS
    wire = b"1\r\nx\r\n" * count + b"0\r\n\r\nbehind"
    reader, sizes, rest, complete = chunked(), [], wire, False
    while not complete:
        body, rest, complete = reader.feed(rest)
        sizes.append(len(body))
    assert (MAX_CHUNKS, count, b"behind") == (max(sizes), sum(sizes), rest)
