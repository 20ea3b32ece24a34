"""Search for the boundary of a form, by table and by property."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestored.web.forms.multipart_parser import BoundaryScanner

DELIMITER = b"\r\n--b"


def scan(chunks):
    """Return the content of all chunks, and the bytes from the delimiter on."""
    scanner = BoundaryScanner(b"b")
    content = b""
    for index, chunk in enumerate(chunks):
        data, rest = scanner.split(chunk)
        content += data
        if rest is not None:
            return content, DELIMITER + rest + b"".join(chunks[index + 1 :])
    return content, b""


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([b"hello"], (b"hello", b"")),
        ([b"hello\r\n--b--"], (b"hello", b"\r\n--b--")),
        ([b"hello\r\n", b"--b--"], (b"hello", b"\r\n--b--")),
        ([b"hello\r", b"\n-", b"-b\r\n"], (b"hello", b"\r\n--b\r\n")),
        ([b"hello\r\n--", b"x"], (b"hello\r\n--x", b"")),
        ([b"hello\r\n--", b"b"], (b"hello", b"\r\n--b")),
        ([b"\r\r\n--b"], (b"\r", b"\r\n--b")),
        ([b"hello\r\n-"], (b"hello", b"")),
    ],
)
def test_split_at_the_delimiter(chunks, expected):
    assert expected == scan(chunks)


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"-", b"--", b"b", b"x"]), max_size=12))
def test_chunks_do_not_change_the_result(chunks):
    content, found, after = b"".join(chunks).partition(DELIMITER)
    scanned, rest = scan(chunks)
    if found:
        assert (content, found + after) == (scanned, rest)
    else:
        assert content.startswith(scanned)
        assert DELIMITER.startswith(content[len(scanned) :])
