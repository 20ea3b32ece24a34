"""Range headers by table, and by property: within the file, ascending, no longer than promised."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filestored.web.headers.ranges import (
    MAX_RANGES,
    ByteRanges,
    content_range,
    parse_range,
    unsatisfied_range,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"bytes=0-0", [(0, 1)]),
        (b"bytes=0-9", [(0, 10)]),
        (b"bytes=2-", [(2, 10)]),
        (b"bytes=-3", [(7, 10)]),
        (b"bytes=-99", [(0, 10)]),
        (b"bytes=5-99999999999999999999", [(5, 10)]),
        (b"BYTES=1-2", [(1, 3)]),
        (b"bytes=1-2, 4-5", [(1, 3), (4, 6)]),
        (b"bytes=1-2,,3-3 ,", [(1, 3), (3, 4)]),
        (b"bytes=0-1,-1", [(0, 2), (9, 10)]),
        (b"bytes=0-1,20-30", [(0, 2)]),
        (b"bytes=000-001", [(0, 2)]),
    ],
)
def test_valid_ranges_of_ten_bytes(value, expected):
    assert expected == parse_range(value, 10)


@pytest.mark.parametrize("value", [b"bytes=10-", b"bytes=10-11", b"bytes=-0", b"bytes=10-,11-"])
def test_unsatisfiable_ranges_of_ten_bytes(value):
    assert parse_range(value, 10) == []


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"bytes",
        b"bytes=",
        b"bytes=,",
        b"bytes=-",
        b"bytes=a-b",
        b"bytes=1",
        b"bytes=5-2",
        b"bytes=0-1-2",
        b"bytes= 0 - 1",
        b"bytes=+1-2",
        b"bytes=--1",
        b"bytes=0x1-2",
        b"bytes=1_0-2",
        b"bytes=\xb2-",
        b"lines=1-2",
        b"0-1",
        b"bytes=0-1;2-3",
        b"bytes=" + b"9" * 5000 + b"-",
        b"bytes=4-5,1-2",
        b"bytes=0-5,5-6",
        b"bytes=0-,0-",
        b"bytes=0-0,0-0",
        b"bytes=5-,-2",
        b"bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(MAX_RANGES + 1)),
        b"bytes=" + b"," * 8000 + b"x",
    ],
)
def test_malformed_or_greedy_range_header_is_ignored(value):
    assert parse_range(value, 10) is None


@pytest.mark.parametrize(("value", "expected"), [(b"bytes=0-", []), (b"bytes=-0", []), (b"bytes=-1", None)])
def test_empty_file_has_no_ranges(value, expected):
    assert expected == parse_range(value, 0)


def test_eight_ranges_are_accepted():
    value = b"bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(MAX_RANGES))
    assert [(n, n + 1) for n in range(MAX_RANGES)] == parse_range(value, 10)


def test_content_range_ends_with_the_last_byte():
    assert content_range((2, 5), 10) == b"bytes 2-4/10"
    assert unsatisfied_range(10) == b"bytes */10"


def test_multipart_body_of_two_ranges():
    parts = ByteRanges.of([(0, 2), (5, 6)], 10, b"a/b", b"BOUNDARY")
    assert parts.heads == [
        b"--BOUNDARY\r\nContent-Type: a/b\r\nContent-Range: bytes 0-1/10\r\n\r\n",
        b"\r\n--BOUNDARY\r\nContent-Type: a/b\r\nContent-Range: bytes 5-5/10\r\n\r\n",
    ]
    assert parts.tail == b"\r\n--BOUNDARY--\r\n"
    assert parts.length == len(b"".join(parts.heads)) + 3 + len(parts.tail)


bounds = st.one_of(st.just(b""), st.integers(0, 30).map(lambda n: b"%d" % n))
ranges = st.lists(st.tuples(bounds, bounds).map(b"-".join), max_size=10).map(b",".join)


@given(ranges.map(lambda listed: b"bytes=" + listed), st.integers(0, 25))
@example(b"bytes=-1,-1", 1)
def test_spans_are_within_the_file_ascending_and_disjoint(value, size):
    spans = parse_range(value, size) or []
    assert spans == sorted(spans)
    covered = [byte for start, stop in spans for byte in range(start, stop)]
    assert len(set(covered)) == len(covered)
    assert all(0 <= start < stop <= size for start, stop in spans)


@given(st.binary(max_size=80), st.integers(0, 2**63))
def test_range_header_of_random_bytes_raises_nothing(value, size):
    for text in (value, b"bytes=" + value):
        spans = parse_range(text, size)
        assert spans is None or sum(stop - start for start, stop in spans) <= size
