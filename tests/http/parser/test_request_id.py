"""Request ids in heads, by tables, and made ones."""

import itertools
import re

import pytest

from filestored.http.parser.request_id import BATCH_IDS, find_request_id, new_request_ids


def head(*lines):
    return b"\r\n".join([b"GET / HTTP/1.1", b"Host: h", *lines, b"", b""])


TAKEN = {
    b"X-Request-Id: 1": b"1",
    b"x-request-id:a": b"a",
    b"X-REQUEST-ID: \t a \t": b"a",
    b"X-Request-ID: AZaz09._~:/+=@-": b"AZaz09._~:/+=@-",
    b"X-Request-Id: " + b"x" * 128: b"x" * 128,
    b"X-Request-Id: 7d3e64d4-8a4b-4f0a-9f0c-0a5c1d2e3f40": b"7d3e64d4-8a4b-4f0a-9f0c-0a5c1d2e3f40",
}


@pytest.mark.parametrize("line", TAKEN)
def test_id_of_a_head_is_taken(line):
    assert TAKEN[line] == find_request_id(head(line))
    assert TAKEN[line] == find_request_id(head(b"Accept: */*", line, b"User-Agent: X-Request-Id: other"))
    assert TAKEN[line] == find_request_id(head(line)[len(b"GET / HTTP/1.1") :])


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"X-Request-Id:"],
        [b"X-Request-Id: "],
        [b"X-Request-Id: " + b"x" * 129],
        [b"X-Request-Id: a b"],
        [b"X-Request-Id: a, b"],
        [b"X-Request-Id: a\tb"],
        [b"X-Request-Id: a;b"],
        [b'X-Request-Id: "a"'],
        [b"X-Request-Id: a%0d%0a"],
        [b"X-Request-Id: [a]"],
        [b"X-Request-Id: caf\xe9"],
        [b"X-Request-Id: a\x00"],
        [b"X-Request-Id: a\n"],
        [b"X-Request-Id: a\nb: c"],
        [b"X-Request-Id: a\r"],
        [b"X-Request-Id: a", b" b"],
        [b"X-Request-Id: a", b"X-Request-Id: a"],
        [b"X-Request-Id: a", b"x-request-id: b"],
        [b"X-Request-Id: a", b"X-Request-Id:"],
        [b"X-Request-Id : a"],
        [b"X-Request-Ids: a"],
        [b"X_Request_Id: a"],
        [b"Y-X-Request-Id: a"],
        [b"Request-Id: a"],
    ],
)
def test_malformed_or_repeated_id_counts_as_absent(lines):
    assert find_request_id(head(*lines)) is None


def test_made_ids_are_different_and_of_the_form_of_nginx():
    made = list(itertools.islice(new_request_ids, 3 * BATCH_IDS))
    assert len(made) == len(set(made))
    assert all(re.fullmatch(rb"[0-9a-f]{32}", each) for each in made)
    assert made[0] == find_request_id(head(b"X-Request-Id: " + made[0]))
