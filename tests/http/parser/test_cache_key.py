"""Keys of the response cache, by tables."""

import ast
from pathlib import Path

import pytest

import filestored
from filestored.http.parser.cache_key import RELEVANT_FIELDS, HeaderKey, header_key
from tests.web.random_heads import NAMES

MAX_FIELDS = 100


def block(*lines):
    """Return a header block, with the end of the request line."""
    return b"\r\n".join([b"", b"Host: h", *lines, b"", b""])


PLAIN = HeaderKey(block(), None)


@pytest.mark.parametrize(
    "line",
    [
        b"X-Request-Id: 1",
        b"x-forwarded-for:10.0.0.1",
        b"Cookie: a=b; c=d",
        b"Accept-Language: de, en;q=0.5",
        b"Accept-: x",
        b"Hostile: h",
        b"X:",
        b"X: \t ",
        b"X: caf\xe9 \xff",
        b"!#$%&'*+-.^_`|~09azAZ: token",
        b"X: a: b",
        b"Ranges: bytes=1-2",
    ],
)
def test_line_that_cannot_change_the_response_is_removed(line):
    assert PLAIN == header_key(block(line), MAX_FIELDS)
    assert PLAIN == header_key(block(line, line), MAX_FIELDS)
    assert block(b"Accept: x") == header_key(block(line, b"Accept: x", line), MAX_FIELDS).lines


@pytest.mark.parametrize("name", sorted(RELEVANT_FIELDS))
def test_relevant_line_stays_in_the_key_as_it_was_sent(name):
    for form in (name, name.title(), name.upper()):
        raw = block(form.encode() + b": value ")
        assert HeaderKey(raw, None) == header_key(raw, MAX_FIELDS)


@pytest.mark.parametrize(
    "line",
    [
        b"X : blank before the colon",
        b"X",
        b": no name",
        b"X\x00: nul",
        b"X: \x00",
        b"X: \x7f",
        b"X: \x0b",
        b"X: bare \r CR",
        b"X: bare \n LF",
        b" folded: line",
        b"\tfolded",
        b"(X): no token",
        b"X\xe9: no token",
    ],
)
def test_malformed_line_stays_in_the_key(line):
    key = header_key(block(line), MAX_FIELDS)
    assert key is not None
    assert key != PLAIN
    key = header_key(block(b"X: before", line, b"X: behind"), MAX_FIELDS)
    assert key is not None
    assert key != PLAIN


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\nX",
        b"\r\n",
        b"\r\n\r",
        block()[:-1],
        block()[:-2],
        block() + b"G",
        block() + b"X: y\r\n",
        block() + b"X: y\r\n\r\n",
        block() + b"\r\n",
        block() + block(),
        block(b"X: y") + b"X: y",
    ],
)
def test_input_other_than_one_whole_block_has_no_key(raw):
    assert header_key(raw, MAX_FIELDS) is None


def test_block_of_too_many_lines_has_no_key():
    assert PLAIN == header_key(block(*[b"X: y"] * (MAX_FIELDS - 1)), MAX_FIELDS)
    assert header_key(block(*[b"X: y"] * MAX_FIELDS), MAX_FIELDS) is None


@pytest.mark.parametrize(
    ("line", "span"),
    [
        (b"Range: bytes=0-0", (0, 1)),
        (b"range:bytes=5-99", (5, 100)),
        (b"Range: \t bytes=007-8 ", (7, 9)),
        (b"Range: bytes=9-3", (9, 4)),
        (b"Range: bytes=1-" + b"9" * 18, (1, 10**18)),
    ],
)
def test_single_range_is_returned_without_its_line(line, span):
    assert HeaderKey(block(), span) == header_key(block(line), MAX_FIELDS)
    assert HeaderKey(block(b"Accept: x"), span) == header_key(block(b"Accept: x", line, b"X: y"), MAX_FIELDS)


@pytest.mark.parametrize(
    "lines",
    [
        [b"Range: bytes=5-"],
        [b"Range: bytes=-5"],
        [b"Range: bytes=0-1,3-4"],
        [b"Range: bytes=0 - 1"],
        [b"Range: bytes=+0-1"],
        [b"Range: Bytes=0-1"],
        [b"RANGE: bytes=0-1"],
        [b"Range: bytes=1-" + b"9" * 19],
        [b"Range: bytes=0-1", b"Range: bytes=2-3"],
        [b"Range: bytes=0-1", b"RANGE: bytes=2-3"],
        [b"Range: bytes=0-1", b'If-Range: "x"'],
        [b'if-none-match: "x"', b"Range: bytes=0-1"],
    ],
)
def test_other_ranges_stay_in_the_key(lines):
    assert HeaderKey(block(*lines), None) == header_key(block(*lines), MAX_FIELDS)


def test_each_header_that_the_server_reads_is_relevant():
    """Except for those that it reads of an upload or a registration: only responses to GET are cached."""
    read = set()
    package = Path(filestored.__file__).parent
    for path in [
        *package.glob("web/**/*.py"),
        *package.glob("http/*.py"),
        *package.glob("http/transport/*.py"),
    ]:
        if path.name == "twisted_compat.py":  # it is for resources of other projects
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
                read.add(node.value.decode("latin-1"))
    read &= FIELD_NAMES
    assert {"accept", "if-match", "if-none-match", "if-range", "origin", "range"} <= read
    assert OF_OTHER_METHODS | OF_RESPONSES | OF_QUERIES >= read - RELEVANT_FIELDS


OF_OTHER_METHODS = {
    *("content-digest", "content-encoding", "content-range", "content-type", "repr-digest"),
    "access-control-request-method",
    *("cdn-loop", "forwarded", "via", "x-amzn-trace-id"),
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"),
}
OF_QUERIES = {"expires", "signature"}
OF_RESPONSES = {"*", "accept-ranges", "close", "etag", "location"}
FIELD_NAMES = {name.decode().lower() for name in NAMES} | OF_OTHER_METHODS
