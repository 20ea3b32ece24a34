"""Signed links: made offline, verified by a table of altered ones."""

import base64
import hashlib
import hmac
from urllib.parse import parse_qs

import pytest

from filestored.access.rules import Right, Token
from filestored.access.signed_links import SignedLink, sign, verify
from filestored.access.tokens import make_secret, sha256_of

SECRET = make_secret()
PATH = b"/buckets/builds/files/900150983cd24fb0d6963f7d28e17f72"
NOW = 1_800_000_000.0
EXPIRES = 1_800_000_060


def token(secret: str = SECRET, expires: float | None = None) -> Token:
    return Token("ci", sha256_of(secret), expires, {"builds": frozenset([Right.READ])})


def link(path: bytes = PATH, **changes: str) -> SignedLink:
    query = {name: values[0] for name, values in parse_qs(sign(SECRET, PATH, EXPIRES)).items()}
    return SignedLink(**{**query, **changes}, path=path)


def test_link_is_signed_as_the_protocol_says():
    stored = hashlib.sha256(SECRET.encode()).digest()
    key = hashlib.sha256(stored).hexdigest()[:16]
    mac = hmac.new(stored, b"GET\n" + PATH + b"\n1800000060", "sha256").digest()
    signature = base64.urlsafe_b64encode(mac).decode().rstrip("=")
    assert f"key={key}&expires=1800000060&signature={signature}" == sign(SECRET, PATH, EXPIRES)


def test_link_is_valid_until_it_expires():
    assert verify(link(), token(), NOW)
    assert verify(link(), token(), EXPIRES - 0.001)
    assert not verify(link(), token(), EXPIRES)


def test_link_ends_with_its_token():
    assert verify(link(), token(expires=NOW + 1), NOW)
    assert not verify(link(), token(expires=NOW), NOW)


def test_link_of_another_secret_is_not_valid():
    assert not verify(link(), token(make_secret()), NOW)


ALTERED = {
    "another path": {"path": PATH.replace(b"builds", b"other")},
    "a path without its last digit": {"path": PATH[:-1]},
    "an encoded path": {"path": PATH.replace(b"b", b"%62")},
    "a later time": {"expires": str(EXPIRES + 1)},
    "a time with a zero before it": {"expires": f"0{EXPIRES}"},
    "a time with a sign": {"expires": f"+{EXPIRES}"},
    "a time with a blank": {"expires": f" {EXPIRES}"},
    "a time with a line end": {"expires": f"{EXPIRES}\n"},
    "a time in other digits": {"expires": "١٨٠٠٠٠٠٠٦٠"},
    "a time of many digits": {"expires": "9" * 5000},
    "no time": {"expires": ""},
    "no signature": {"signature": ""},
    "a signature with padding": {"signature": link().signature + "="},
    "a signature in other letters": {"signature": link().signature.swapcase()},
    "a signature that is not ASCII": {"signature": "é\ud800"},
}


@pytest.mark.parametrize("case", ALTERED)
def test_altered_link_is_not_valid(case):
    assert not verify(link(**ALTERED[case]), token(), NOW)


def test_other_bits_at_the_end_of_a_signature_are_not_valid():
    """The last character of 43 has two bits that no byte uses; only one of four spellings is accepted."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    signature = link().signature
    spellings = [signature[:-1] + last for last in alphabet]
    assert [signature] == [each for each in spellings if verify(link(signature=each), token(), NOW)]


def test_text_of_a_link_does_not_show_its_signature():
    assert link().signature not in repr(link())
