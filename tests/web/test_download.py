"""Range requests: one range, several, none, and the size limit of the response."""

import re
from email.parser import BytesParser
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import maybeDeferred

from filestored.digest import algorithm
from filestored.storage.memory import MemoryBackend
from filestored.storage.store import Store
from filestored.web.site import make_site
from tests.wire import Wire

DATA = bytes(range(256)) * 4
NAME = sha256(DATA).hexdigest()
TAG = f'"{NAME}"'


@pytest.fixture
def wire(make_wire):
    wire = make_wire()
    wire.ask("POST", "/", DATA)
    return wire


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=100-", 100, 1024), ("bytes=-24", 1000, 1024), ("bytes=0-9999", 0, 1024)],
)
def test_one_range_is_206(wire, wanted, start, stop):
    answer = wire.ask("GET", f"/files/{NAME}", Range=wanted)
    assert (answer.status, answer.body) == (206, DATA[start:stop])
    assert answer.fields["content-range"] == f"bytes {start}-{stop - 1}/1024"
    assert answer.fields["content-length"] == str(stop - start)
    assert answer.fields["etag"] == TAG


def test_range_after_the_end_is_416(wire):
    answer = wire.ask("GET", f"/files/{NAME}", Range="bytes=1024-")
    assert (answer.status, answer.fields["content-range"]) == (416, "bytes */1024")


@pytest.mark.parametrize(
    "wanted", ["bytes=5-1", "lines=1-2", "bytes=1-2,1-2", "bytes=9-,0-1", "bytes=" + "0-0," * 8 + "1-1"]
)
def test_malformed_or_greedy_range_returns_200(wire, wanted):
    answer = wire.ask("GET", f"/files/{NAME}", Range=wanted)
    assert (answer.status, answer.body) == (200, DATA)
    assert "content-range" not in answer.fields


def test_head_ignores_ranges(wire):
    answer = wire.ask("HEAD", f"/files/{NAME}", Range="bytes=0-0")
    assert (answer.status, answer.fields["content-length"]) == (200, "1024")


@pytest.mark.parametrize(
    ("condition", "expected"), [(TAG, 206), (f"W/{TAG}", 200), ('"x"', 200), ("Sun", 200)]
)
def test_if_range_must_match_for_a_range(wire, condition, expected):
    assert wire.ask("GET", f"/files/{NAME}", Range="bytes=0-0", If_Range=condition).status == expected


def test_range_after_the_end_is_ignored_when_if_range_fails(wire):
    assert wire.ask("GET", f"/files/{NAME}", Range="bytes=9999-", If_Range='"x"').status == 200


def parts_of(answer):
    """Return the parts of a multipart/byteranges response, parsed with the standard library."""
    kind = answer.fields["content-type"].encode()
    message = BytesParser().parsebytes(b"Content-Type: " + kind + b"\r\n\r\n" + answer.body)
    assert not message.defects
    return [(part["Content-Range"], part.get_payload(decode=True)) for part in message.get_payload()]


def test_several_ranges_are_parts_of_one_response(make_wire):
    wire = make_wire()
    target = wire.ask("POST", "/", b"0123456789").fields["location"]
    answer = wire.ask("GET", target, Range="bytes=1-2, 4-4, -1")
    assert answer.status == 206
    assert "content-range" not in answer.fields
    assert parts_of(answer) == [
        ("bytes 1-2/10", b"12"),
        ("bytes 4-4/10", b"4"),
        ("bytes 9-9/10", b"9"),
    ]


def test_multipart_boundary_is_random(wire):
    kinds = {
        wire.ask("GET", f"/files/{NAME}", Range="bytes=0-0,2-2").fields["content-type"] for _ in range(9)
    }
    assert len(kinds) == 9


bounds = st.one_of(st.just(""), st.integers(0, 40).map(str))
wishes = st.lists(st.tuples(bounds, bounds).map("-".join), min_size=1, max_size=9).map(",".join)


@given(wishes, st.integers(0, 35))
def test_no_range_response_exceeds_the_file_by_more_than_1_kib(wish, size):
    own = algorithm("sha256")
    wire = Wire(make_site(Store(MemoryBackend(own), own, maybeDeferred)))
    target = wire.ask("POST", "/", b"x" * size).fields["location"]
    answer = wire.ask("GET", target, Range=f"bytes={wish}")
    assert answer.status in (200, 206, 416)
    assert answer.status == 416 or len(answer.body) <= size + 1024


def test_pipelined_requests_are_answered_in_order(wire):
    wanted = [f"bytes={n}-{n}" for n in range(20)]
    wire.send(
        b"".join(f"GET /files/{NAME} HTTP/1.1\r\nHost: h\r\nRange: {one}\r\n\r\n".encode() for one in wanted)
    )
    answers = wire.answers(*["GET"] * 20)
    assert b"".join(answer.body for answer in answers) == DATA[:20]
    assert all(re.fullmatch(r"bytes \d+-\d+/1024", answer.fields["content-range"]) for answer in answers)
