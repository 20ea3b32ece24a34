"""Integrity fields of RFC 9530: digests that travel with a body.

In: the value of `Content-Digest` or `Repr-Digest`. Out: the `Digest` values that the body
must have. And back: the field that announces the digest of a stored file.

`sha-256` and `sha-512` are checked. The other registered algorithms are deprecated
(section 5), and a recipient may ignore any (section 2), so these and unknown ones are
passed over; a field that can't be parsed, or a digest of the wrong length, is an error:
somebody wanted a check that could not be made.

An upload has no content coding, so both fields are about the same bytes: the message's
content. Of a form that is the whole form, with its boundaries, not the file in it.
"""

from base64 import b64encode
from typing import cast

import http_sf

from filestored.digest import Digest, algorithm
from filestored.errors import MalformedDigest


def parse_digests(value: bytes) -> list[Digest]:
    """The digests in the value of a field. Raises `MalformedDigest`."""
    try:
        members = cast("dict[str, tuple[object, object]]", http_sf.parse(value, tltype="dictionary"))
    except http_sf.StructuredFieldError:
        raise _malformed() from None
    return [_digest(name, members[key][0]) for key, name in _ALGORITHMS.items() if key in members]


def repr_digest(digest: Digest) -> bytes | None:
    """The value of `Repr-Digest` for a file stored under `digest`, if its algorithm has a key there."""
    key = _KEYS.get(digest.algorithm)
    return b"%s=:%s:" % (key, b64encode(bytes.fromhex(digest.hex))) if key else None


def _digest(name: str, value: object) -> Digest:
    if not isinstance(value, bytes):
        raise _malformed()
    return algorithm(name).parse(value.hex())


def _malformed() -> MalformedDigest:
    return MalformedDigest("a digest field is not a dictionary of byte sequences (RFC 9530)")


_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}
_KEYS = {name: key.encode() for key, name in _ALGORITHMS.items()}
