"""Table of alias lines: width, marks of corrupt and unreadable files, binary search."""

import os

import pytest

from filestored.digest import algorithm
from filestored.errors import NotFound, UnusableStore
from filestored.storage.disk.aliases import AliasFile, format_line, line_width
from filestored.storage.disk.syscalls import Syscalls
from tests.storage.contract import MD5, digest_of

SHA256 = algorithm("sha256")
WIDTH = line_width(MD5, SHA256)
CONTENTS = sorted((b"%d" % number for number in range(7)), key=lambda data: digest_of(data).hex)
CORRUPT, UNREADABLE = CONTENTS[0], CONTENTS[-1]


def lines() -> bytes:
    text = b""
    for data in CONTENTS:
        old, new = digest_of(data), digest_of(data, SHA256)
        text += format_line(old, None if data == CORRUPT else old if data == UNREADABLE else new, WIDTH)
    return text


@pytest.fixture
def open_aliases(tmp_path):
    opened = []

    def open_it(text: bytes) -> AliasFile:
        (tmp_path / "md5").write_bytes(text)
        descriptor = os.open(tmp_path / "md5", os.O_RDONLY)
        opened.append(descriptor)
        return AliasFile(descriptor, MD5, SHA256, Syscalls())

    yield open_it
    for descriptor in opened:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("data", "rest"), [(CONTENTS[1], None), (CORRUPT, b"-" * 64), (UNREADABLE, b"?" * 64)]
)
def test_alias_line_has_fixed_width_and_marks_files_without_a_new_digest(data, rest):
    number = CONTENTS.index(data)
    expected = digest_of(data).hex.encode() + b" " + (rest or digest_of(data, SHA256).hex.encode()) + b"\n"
    assert expected == lines()[number * WIDTH : (number + 1) * WIDTH]


@pytest.mark.parametrize("data", CONTENTS[1:-1])
def test_binary_search_finds_each_digest(open_aliases, data):
    assert digest_of(data, SHA256) == open_aliases(lines()).find(digest_of(data))


def test_unreadable_file_keeps_its_digest(open_aliases):
    assert digest_of(UNREADABLE) == open_aliases(lines()).find(digest_of(UNREADABLE))


@pytest.mark.parametrize("data", [CORRUPT, b"never stored"])
def test_corrupt_or_unknown_digest_is_not_found(open_aliases, data):
    with pytest.raises(NotFound):
        open_aliases(lines()).find(digest_of(data))


def test_lines_start_at_a_line_number(open_aliases):
    assert [digest_of(data) for data in CONTENTS[4:]] == [old for old, _ in open_aliases(lines()).lines(4)]


def test_file_with_an_incomplete_line_is_refused(open_aliases):
    with pytest.raises(UnusableStore, match="damaged"):
        open_aliases(lines()[:-1])
