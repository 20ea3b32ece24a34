"""Digest headers of RFC 9530, parsed and formatted; entity tags."""

import contextlib
from base64 import b64encode
from hashlib import sha256, sha512

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestored.digest import Digest, algorithm
from filestored.errors import MalformedDigest
from filestored.web.headers.digests import entity_tag, parse_digests, repr_digest

SHA256 = sha256(b"x")
SHA512 = sha512(b"x")
FIELD256 = b"sha-256=:" + b64encode(SHA256.digest()) + b":"
FIELD512 = b"sha-512=:" + b64encode(SHA512.digest()) + b":"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (FIELD256, [Digest("sha256", SHA256.hexdigest())]),
        (FIELD512, [Digest("sha512", SHA512.hexdigest())]),
        (
            FIELD512 + b", " + FIELD256,
            [Digest("sha256", SHA256.hexdigest()), Digest("sha512", SHA512.hexdigest())],
        ),
        (FIELD256 + b";parameter=1", [Digest("sha256", SHA256.hexdigest())]),
        (b"md5=:1B2M2Y8AsgTpgAmY7PhCfg==:, crc32c=:AAAA:, unheard-of=1", []),
        (b"", []),
    ],
)
def test_parse_digests_of_known_algorithms(value, expected):
    assert expected == parse_digests(value)


@pytest.mark.parametrize(
    "value",
    [
        b"sha-256=abc",
        b"sha-256=:AAAA:",
        b"sha-256=::",
        b"sha-256",
        b'sha-256="text"',
        b"sha-256=(:AAAA: :AAAA:)",
        b"SHA-256=" + FIELD256[8:],
        FIELD256 + b",",
        FIELD256[:-1],
        b"\xff",
    ],
)
def test_malformed_digest_header_raises(value):
    with pytest.raises(MalformedDigest):
        parse_digests(value)


@pytest.mark.parametrize("digest", [b64encode(SHA256.hexdigest().encode()), b"AAAA"])
def test_digest_of_wrong_length_raises_an_error_about_base64(digest):
    with pytest.raises(MalformedDigest, match=r"the sha256 digest .* is not the base64 of 32 bytes"):
        parse_digests(b"sha-256=:" + digest + b":")


@given(st.binary(max_size=100), st.booleans())
def test_random_bytes_are_digests_or_malformed(value, keyed):
    with contextlib.suppress(MalformedDigest):
        parse_digests(b"sha-256=" + value if keyed else value)


@pytest.mark.parametrize("name", ["sha256", "sha512"])
def test_repr_digest_parses_to_the_same_digest(name):
    digest = algorithm(name).finish(algorithm(name).new())
    assert [digest] == parse_digests(repr_digest(digest))


@pytest.mark.parametrize("name", ["md5", "sha1", "blake2b"])
def test_repr_digest_of_other_algorithms_is_none(name):
    assert repr_digest(algorithm(name).finish(algorithm(name).new())) is None


@pytest.mark.parametrize(("suffix", "expected"), [(b"", b'"a1b2"'), (b"-gzip", b'"a1b2-gzip"')])
def test_entity_tag_is_the_quoted_digest_with_its_suffix(suffix, expected):
    assert expected == entity_tag(Digest("sha256", "a1b2"), suffix)
