"""Secrets of tokens: form, checksum, SHA-256."""

import base64
import binascii
import hashlib
import re

import pytest

from filestored.access.tokens import has_checksum, key_id, make_secret, sha256_of

SECRET = "fst_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA7B1Okw"


def test_secret_has_a_prefix_43_random_characters_and_a_checksum():
    secret = make_secret()
    assert re.fullmatch(r"fst_[A-Za-z0-9_-]{49}", secret)
    checksum = binascii.crc32(secret[:47].encode()).to_bytes(4, "big")
    assert checksum == base64.urlsafe_b64decode(secret[47:] + "==")
    assert has_checksum(secret)
    assert secret != make_secret()


def test_checksum_does_not_change_between_versions():
    assert has_checksum(SECRET)


def test_checksum_finds_each_altered_character():
    for place, character in enumerate(SECRET):
        altered = SECRET[:place] + ("B" if character == "A" else "A") + SECRET[place + 1 :]
        assert not has_checksum(altered), place


@pytest.mark.parametrize(
    "text", ["", "fst_", SECRET[:-1], SECRET + "A", f" {SECRET}", f"{SECRET}\n", "é" * 53]
)
def test_text_of_another_form_has_no_checksum(text):
    assert not has_checksum(text)


def test_sha256_is_that_of_the_text():
    assert hashlib.sha256(SECRET.encode()).digest() == sha256_of(SECRET)


@pytest.mark.parametrize("text", ["", "é", "\0", "\ud800"])
def test_sha256_of_any_text_exists(text):
    assert 32 == len(sha256_of(text))


def test_key_id_is_the_beginning_of_the_hash_of_the_hash():
    stored = hashlib.sha256(SECRET.encode()).digest()
    assert hashlib.sha256(stored).hexdigest()[:16] == key_id(sha256_of(SECRET))
