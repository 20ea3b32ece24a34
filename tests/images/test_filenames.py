"""Names of images: what is one, and which file stands for it."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestored.errors import InvalidFileName
from filestored.images.filenames import base_name, escape
from filestored.storage.disk.records import split


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("cat.png", "cat.png"),
        ("/home/anna/cat.png", "cat.png"),
        ("C:\\Users\\anna\\cat.png", "cat.png"),
        ("../../etc/passwd", "passwd"),
        (" ", " "),
        (".", "."),
        ("..", ".."),
        ("ж" * 127, "ж" * 127),
        ("a" * 255, "a" * 255),
    ],
)
def test_base_name_is_the_last_part_of_a_path(path, name):
    assert name == base_name(path)


@pytest.mark.parametrize("path", ["", "/", "photos/", "a" * 256, "ж" * 128, "\udcff.png"])
def test_invalid_name_is_refused(path):
    with pytest.raises(InvalidFileName):
        base_name(path)


@pytest.mark.parametrize(
    ("name", "file_name"),
    [
        ("cat.png", "cat.png"),
        ("Ёжик в тумане.png", "Ёжик в тумане.png"),
        ("🦔.gif", "🦔.gif"),
        ("100%.png", "100%25.png"),
        ("a/b", "a%2fb"),
        (".", "%2e"),
        ("..", "%2e."),
        (".hidden.png", "%2ehidden.png"),
        ("a\0b\n\x1b[2J", "a%00b%0a%1b[2J"),
        ("\u202egnp.exe", "%e2%80%aegnp.exe"),
        ("\u00a0", "%c2%a0"),
    ],
)
def test_escape_keeps_printable_characters_and_hides_no_others(name, file_name):
    assert file_name == escape(name)


def test_escape_of_long_names_with_a_common_prefix_differs():
    names = ["ж" * 127 + last for last in "ab"]
    assert 2 == len(set(map(escape, names)))
    assert all(escape(name).startswith("ж" * 50 + "%~") for name in names)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255).filter(
    lambda text: len(text.encode()) <= 255
)


@given(texts)
def test_escape_of_any_name_is_a_record_name(name):
    assert [escape(name)] == split(escape(name))
    assert len(os.fsencode(escape(name))) <= 255


@given(texts, texts)
def test_escape_of_different_names_differs(one, other):
    assert (one == other) == (escape(one) == escape(other))


@pytest.mark.parametrize(("one", "other"), [("%2e", "."), ("a%2fb", "a/b"), ("%25", "%"), ("É", "E\u0301")])
def test_escape_of_names_that_resemble_escapes_differs(one, other):
    assert escape(one) != escape(other)
