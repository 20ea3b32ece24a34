"""Search for the boundary of a form, by table and by property."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestored.web.errors import HTTPError
from filestored.web.forms.multipart_parser import MultipartParser

HEAD = b"--b\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\n"
DELIMITER = b"\r\n--b"


def content_of(chunks):
    """Return the content of a file that arrives in these chunks, up to its delimiter."""
    parser = MultipartParser(b"b", 1 << 20)
    content = b""
    with suppress(HTTPError):  # these chunks may end the file with what is no delimiter
        for chunk in (HEAD, *chunks):
            for event in parser.parse(chunk):
                content += event if isinstance(event, bytes) else b""
    return content


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([b"hello"], b"hello"),
        ([b"hello\r\n--b--"], b"hello"),
        ([b"hello\r\n", b"--b--"], b"hello"),
        ([b"hello\r", b"\n-", b"-b\r\n"], b"hello"),
        ([b"hello\r\n--", b"x"], b"hello\r\n--x"),
        ([b"hello\r\n--", b"b"], b"hello"),
        ([b"\r\r\n--b"], b"\r"),
        ([b"hello\r\n-"], b"hello"),
        ([b"\r\n--b"], b""),
        ([b"--b--"], b""),
    ],
)
def test_content_ends_at_the_delimiter(chunks, expected):
    assert expected == content_of(chunks)


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"-", b"--", b"b", b"x"]), max_size=12))
def test_chunks_do_not_change_the_content(chunks):
    # The line break that ends the head may begin a delimiter.
    content, found, _ = (b"\r\n" + b"".join(chunks)).partition(DELIMITER)
    read = content_of(chunks)
    if found:
        assert content[2:] == read
    else:
        assert content[2:].startswith(read)
        unread = [content[2 + len(read) :], *([] if read else [content])]
        assert any(DELIMITER.startswith(rest) for rest in unread)
