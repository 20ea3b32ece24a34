"""`Content-Disposition` of untrusted file names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestored.web.headers.disposition import MAX_NAME_BYTES, content_disposition


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("report.pdf", 'attachment; filename="report.pdf"'),
        ("two words.txt", 'attachment; filename="two words.txt"'),
        (
            "наука.txt",
            "attachment; filename=\"_____.txt\"; filename*=UTF-8''%D0%BD%D0%B0%D1%83%D0%BA%D0%B0.txt",
        ),
        ("€ rate.txt", "attachment; filename=\"_ rate.txt\"; filename*=UTF-8''%E2%82%AC%20rate.txt"),
        ('a"b.txt', "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
        ("50%.txt", "attachment; filename=\"50_.txt\"; filename*=UTF-8''50%25.txt"),
        ("it's (1).txt", 'attachment; filename="it\'s (1).txt"'),
        ("../../etc/passwd", 'attachment; filename="passwd"'),
        ("C:\\Windows\\system.ini", 'attachment; filename="system.ini"'),
        (".bashrc", 'attachment; filename="bashrc"'),
        ("a\r\nSet-Cookie: x=1", 'attachment; filename="aSet-Cookie: x=1"'),
        ("a\x00b\x7fc", 'attachment; filename="abc"'),
        ("invoice\u202efdp.exe", 'attachment; filename="invoicefdp.exe"'),
        ("  spaced. ", 'attachment; filename="spaced"'),
        ("", "attachment"),
        ("..", "attachment"),
        ("/", "attachment"),
        ("\u2028", "attachment"),
        ("a/", "attachment"),
    ],
)
def test_disposition_removes_unsafe_characters_of_a_name(name, expected):
    assert expected.encode() == content_disposition(name.encode())


def test_long_name_is_truncated_between_characters():
    value = content_disposition(("ж" * 300).encode())
    assert value.endswith(b"UTF-8''" + b"%D0%B6" * (MAX_NAME_BYTES // 2))


def test_name_that_is_not_utf_8_raises():
    with pytest.raises(ValueError, match="utf-8"):
        content_disposition(b"\xff\xfe")


@given(st.text())
def test_no_name_breaks_the_header(name):
    try:
        value = content_disposition(name.encode()).decode("ascii")
    except UnicodeEncodeError:  # a lone surrogate has no bytes a client could send
        return
    assert value.isprintable()
    assert value.count('"') in (0, 2)
    assert "/" not in value.replace("application/", "")
    assert len(value) < 4 * MAX_NAME_BYTES + 100
