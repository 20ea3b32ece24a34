"""`Content-Disposition` of untrusted file names."""

from urllib.parse import unquote

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


PARENTS = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"


def name_in(value: bytes) -> str:
    """Return the name that a client reads (RFC 8187)."""
    plain, _, extended = value.decode("ascii").partition("; filename*=UTF-8''")
    return unquote(extended) if extended else plain.partition('"')[2].rstrip('"')


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x" * 400 + ".txt", "x" * 251 + ".txt"),
        ("x" * 400 + ".tar.gz", "x" * 248 + ".tar.gz"),
        ("ж" * 400 + ".txt", "ж" * 125 + ".txt"),
        ("x" * 400, "x" * 255),
        ("x" * 400 + ". txt", "x" * 255),
        ("x" * 100 + "." + "y" * 400, "x" * 100 + "." + "y" * 154),
        ("x" * 249 + "e\u0301.txt", "x" * 249 + ".txt"),
        ("x" * 240 + PARENTS + ".txt", "x" * 240 + ".txt"),
        ("x" * 245 + "\U0001f44d\U0001f3fd.txt", "x" * 245 + ".txt"),
        (PARENTS + ".png", PARENTS + ".png"),
        (PERSIAN + ".jpg", PERSIAN + ".jpg"),
        ("a" + "\u0301" * 400 + ".txt", "a" + "\u0301" * 125 + ".txt"),
        ("\u200d\u200c", ""),
        ("...", ""),
        ("..\u200d..", ""),
        ("a\u202e\u2066\u200f\u061cb.txt", "ab.txt"),
    ],
)
def test_long_name_keeps_its_extension_and_whole_characters(name, expected):
    value = content_disposition(name.encode())
    assert expected == name_in(value)
    assert len(expected.encode()) <= MAX_NAME_BYTES
