"""Credentials of a request: `Authorization` (Bearer, Basic), or the signature of a link.

In: a request. Out: `Credentials`, unchecked. RFC 6750 section 2.1 and RFC 7617: the secret is the bearer
token, or the password of any user. A header that has neither form is malformed, and so are several headers,
which are joined by a comma and a space.
"""

import re
from binascii import Error, a2b_base64
from collections.abc import Sequence
from functools import lru_cache

from filestored.access.decisions import Credentials
from filestored.access.signed_links import SignedLink
from filestored.interfaces import IStreamedRequest

NO_CREDENTIALS = Credentials()
MALFORMED = Credentials(malformed=True)

MAX_CACHED_VALUES = 256
"""Values of `Authorization` whose credentials are cached."""

_LINK_FIELDS = (b"key", b"expires", b"signature")
_SIGNED_METHODS = frozenset([b"GET", b"HEAD"])
_SECRET = re.compile(rb"[\x21-\x7e]{1,1024}")


def credentials_of(request: IStreamedRequest, path: Sequence[bytes]) -> Credentials:
    """Return the credentials of a request for `path` within its bucket."""
    value = request.header(b"authorization")
    found = NO_CREDENTIALS if value is None else _from_value(value)
    if b"?" in request.uri and request.method in _SIGNED_METHODS and len(path) == 2 and path[0] == b"files":
        return found._replace(link=_link(request))
    return found


@lru_cache(MAX_CACHED_VALUES)
def _from_value(value: bytes) -> Credentials:
    scheme, _, parameter = value.strip(b" \t").partition(b" ")
    parameter = parameter.strip(b" \t")
    match scheme.lower():
        case b"bearer":
            return _with_secret(parameter)
        case b"basic":
            return _from_basic(parameter)
    return MALFORMED


def _from_basic(parameter: bytes) -> Credentials:
    try:
        _, colon, password = a2b_base64(parameter, strict_mode=True).partition(b":")
    except Error:
        return MALFORMED
    return _with_secret(password) if colon else MALFORMED


def _with_secret(secret: bytes) -> Credentials:
    return Credentials(secret=secret.decode("ascii")) if _SECRET.fullmatch(secret) else MALFORMED


def _link(request: IStreamedRequest) -> SignedLink | None:
    """Return the signature in the query, None without one; a missing or repeated part is empty."""
    fields = [request.args.get(name, []) for name in _LINK_FIELDS]
    if not any(fields):
        return None
    key, expires, signature = (values[0].decode("latin-1") if len(values) == 1 else "" for values in fields)
    return SignedLink(key, expires, signature, request.path)
