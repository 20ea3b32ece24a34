"""Digests and invalid ones: only exact text becomes a file name."""

import hashlib
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestored.digest import ALGORITHMS, Digest, algorithm
from filestored.errors import MalformedDigest, UnknownAlgorithm

MD5 = algorithm("md5")
HEX = "5d41402abc4b2a76b9719d911017c592"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("md5", HEX),
        ("sha1", "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"),
        ("sha256", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"),
        ("sha512", hashlib.sha512(b"hello").hexdigest()),
        ("blake2b", hashlib.blake2b(b"hello").hexdigest()),
        ("blake3", "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f"),
    ],
)
def test_known_bytes_have_their_known_digests(name, expected):
    own = algorithm(name)
    hasher = own.new()
    hasher.update(b"hel")
    hasher.update(bytearray(b"lo"))
    assert Digest(name, expected) == own.finish(hasher) == own.parse(expected)
    assert (2 * own.size, expected[:2], expected) == (
        len(expected),
        own.parse(expected).shard,
        str(own.parse(expected)),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX[:-1],
        HEX + "0",
        HEX.upper(),
        HEX[:-1] + "g",
        HEX[:-1] + "\n",
        HEX + "\n",
        " " + HEX[1:],
        HEX[:-1] + "\0",
        "../" + HEX[3:],
        "5d/" + HEX[3:],
        "0x" + HEX[2:],
        "٣" * 32,
        "5" * 31 + "\u0661",
        "-" * 32,
        "%35" + HEX[3:],
    ],
)
def test_text_that_is_no_digest_is_refused(text):
    with pytest.raises(MalformedDigest, match="32 hexadecimal digits"):
        MD5.parse(text)


def test_an_error_does_not_repeat_what_it_was_given():
    with pytest.raises(MalformedDigest) as caught:
        MD5.parse("<script>")
    assert "<script>" not in str(caught.value)


@given(st.text())
def test_only_lower_case_hexadecimal_of_the_right_length_is_a_digest(text):
    try:
        assert text == MD5.parse(text).hex
    except MalformedDigest:
        assert not re.fullmatch("[0-9a-f]{32}", text)


def test_100_000_crafted_names_are_all_refused():
    alphabet = "./\\\0%~\u202e\uff0e\uff0f ABCDEF"
    refused = 0
    for number in range(100_000):
        stranger = alphabet[number % len(alphabet)]
        place = number % 32
        crafted = (f"{number:032x}"[:place] + stranger + f"{number:032x}")[:32]
        try:
            MD5.parse(crafted)
        except MalformedDigest:
            refused += 1
    assert 100_000 == refused


@pytest.mark.parametrize("name", ["", "MD5", "md4", "sha3", "md5 ", "../md5", "blake4"])
def test_unknown_algorithms_are_refused_with_the_known_ones(name):
    with pytest.raises(UnknownAlgorithm, match="choose one of md5, sha1, sha256"):
        algorithm(name)


def test_every_name_on_the_list_is_an_algorithm():
    assert list(ALGORITHMS) == [algorithm(name).name for name in ALGORITHMS]


def test_algorithms_of_one_name_are_equal():
    assert (True, False) == (algorithm("md5") == MD5, algorithm("sha1") == MD5)


def test_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "blake3", None)
    with pytest.raises(UnknownAlgorithm, match=r"blake3 is not installed: in the checkout run pip install "):
        algorithm("blake3")
