"""Table of the `FORMAT` file: contents, layout version, and text."""

import os

import pytest

from filestored.errors import UnusableStore
from filestored.storage.disk import format_file
from filestored.storage.disk.format_file import StoreFormat

RECORDS = {
    b'{"format": 1, "hash": "md5", "id": "x"}\n': StoreFormat("md5", "x"),
    b'{"format": 2, "hash": "sha1", "id": "x", "aliases": ["md5"]}\n': StoreFormat("sha1", "x", ("md5",)),
    b'{"format": 2, "hash": "md5", "id": "x", "moving_to": "sha1"}\n': StoreFormat("md5", "x", (), "sha1"),
}


@pytest.fixture
def root(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("text", RECORDS)
def test_format_is_written_as_one_line_of_json(text):
    assert text == RECORDS[text].to_json()


@pytest.mark.parametrize("text", RECORDS)
def test_format_is_read_back(root, tmp_path, text):
    (tmp_path / format_file.NAME).write_bytes(text)
    assert RECORDS[text] == format_file.read(root)


def test_missing_format_is_none(root):
    assert format_file.read(root) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'"text"',
        b"{",
        b"[" * 200_000,
        b'{"format": [], "hash": "md5", "id": "x"}',
        b'{"format": 1, "hash": "md5"}',
        b'{"format": 3, "hash": "md5", "id": "x"}',
        b'{"format": 1, "hash": 5, "id": "x"}',
        b'{"format": 2, "hash": "md5", "id": "x", "aliases": "md5"}',
        b'{"format": 2, "hash": "md5", "id": "x", "moving_to": 1}',
    ],
)
def test_invalid_format_is_an_unusable_store(root, tmp_path, text):
    (tmp_path / format_file.NAME).write_bytes(text)
    with pytest.raises(UnusableStore):
        format_file.read(root)
