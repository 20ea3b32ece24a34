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
def test_the_last_part_of_a_path_is_the_name(path, name):
    assert name == base_name(path)


@pytest.mark.parametrize("path", ["", "/", "photos/", "a" * 256, "ж" * 128, "\udcff.png"])
def test_what_is_no_name_is_refused(path):
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
def test_a_file_name_can_be_read_and_does_no_harm(name, file_name):
    assert file_name == escape(name)


def test_long_names_that_begin_alike_have_files_of_their_own():
    names = ["ж" * 127 + last for last in "ab"]
    assert 2 == len(set(map(escape, names)))
    assert all(escape(name).startswith("ж" * 50 + "%~") for name in names)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255).filter(
    lambda text: len(text.encode()) <= 255
)


@given(texts)
def test_any_name_becomes_the_name_of_a_record(name):
    assert [escape(name)] == split(escape(name))
    assert len(os.fsencode(escape(name))) <= 255


@given(texts, texts)
def test_different_names_have_different_files(one, other):
    assert (one == other) == (escape(one) == escape(other))


@pytest.mark.parametrize(("one", "other"), [("%2e", "."), ("a%2fb", "a/b"), ("%25", "%"), ("É", "E\u0301")])
def test_names_that_resemble_escapes_stay_apart(one, other):
    assert escape(one) != escape(other)
