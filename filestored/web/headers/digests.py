"""Digest headers: `Content-Digest` and `Repr-Digest` (RFC 9530), and the entity tag of a digest.

In: the value of a header. Out: the `Digest` values that the body must have. And the reverse: the values of
`Repr-Digest` and `ETag` of a stored file.

`sha-256` and `sha-512` are checked. Deprecated algorithms (section 5) and unknown ones are ignored, as
section 2 allows. A malformed header, or a digest of wrong length, is an error: the client wants a check that
is impossible.

Uploads have no content coding, so both headers cover the same bytes: the content of the message. Of a form
they cover the encoded form, not the file in it.
"""

from binascii import b2a_base64, unhexlify
from typing import cast

import http_sf

from filestored.digest import Digest, algorithm
from filestored.errors import MalformedDigest


def parse_digests(value: bytes) -> list[Digest]:
    """Return the digests in a header. Raises `MalformedDigest`."""
    try:
        members = cast("dict[str, tuple[object, object]]", http_sf.parse(value, tltype="dictionary"))
    except http_sf.StructuredFieldError:
        raise _malformed() from None
    return [_digest(name, members[key][0]) for key, name in _ALGORITHMS.items() if key in members]


def entity_tag(digest: Digest, suffix: bytes = b"") -> bytes:
    """Return the strong entity tag of `digest`; `suffix` tells representations of it apart."""
    return b'"%s%s"' % (digest.hex.encode("ascii"), suffix)


def repr_digest(digest: Digest) -> bytes | None:
    """Return the value of `Repr-Digest` for a stored file; None if the RFC lacks its algorithm."""
    key = _KEYS.get(digest.algorithm)
    return b"%b=:%b:" % (key, b2a_base64(unhexlify(digest.hex), newline=False)) if key else None


def _digest(name: str, value: object) -> Digest:
    if not isinstance(value, bytes):
        raise _malformed()
    found = algorithm(name)
    if len(value) != found.size:
        raise MalformedDigest(f"the {name} digest of a digest field is not the base64 of {found.size} bytes")
    return found.parse(value.hex())


def _malformed() -> MalformedDigest:
    return MalformedDigest("a digest field needs base64 between colons, as in sha-256=:BASE64: (RFC 9530)")


_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}
_KEYS = {name: key.encode() for key, name in _ALGORITHMS.items()}
