"""Signed links: GET and HEAD of one path without credentials, until a time. Pure.

The query is ``key=K&expires=UNIX&signature=S``. Let T be the 32 bytes of the SHA-256 of a secret. K is the
first 16 hexadecimal digits of the SHA-256 of T. S is the HMAC-SHA-256, keyed with T, of ``GET``, the path as
sent without the query, and the expiry, joined by newlines; it is in base64url without padding.

The holder of a secret signs without the server. A link has no right that its token has not, and ends with it.
"""

import hmac
import re
from typing import NamedTuple

from filestored.access.tokens import base64url, key_id, sha256_of
from filestored.access.values import Token


class SignedLink(NamedTuple):
    """The parameters of a signed link as sent, a missing one empty; `path` is without the query."""

    key: str
    expires: str
    signature: str
    path: bytes

    def __repr__(self) -> str:
        return "SignedLink(...)"  # a signature is a secret


def sign(secret: str, path: bytes, expires: int) -> str:
    """Return the query of a signed link; `expires` is in seconds since the epoch."""
    key = sha256_of(secret)
    return f"key={key_id(key)}&expires={expires}&signature={_signature(key, path, str(expires))}"


def verify(link: SignedLink, token: Token, now: float) -> bool:
    """Return whether `token` has signed the link, and neither of them has expired at `now`."""
    if not _EXPIRES.fullmatch(link.expires) or now >= int(link.expires) or token.is_expired(now):
        return False
    expected = _signature(token.sha256, link.path, link.expires)
    return hmac.compare_digest(expected.encode(), link.signature.encode("utf-8", "surrogatepass"))


def _signature(key: bytes, path: bytes, expires: str) -> str:
    text = b"\n".join((b"GET", path, expires.encode("ascii")))
    return base64url(hmac.digest(key, text, "sha256"))


_EXPIRES = re.compile("[0-9]{1,12}", re.ASCII)
