"""Secrets of tokens: their form, checksum, SHA-256 and key id. Pure, except for the random numbers.

A secret is ``fst_``, 43 random characters of base64url, and 6 characters of a checksum: the CRC-32 of all
characters before it, as four bytes in network order, in base64url without padding. A server stores the
SHA-256 of a secret only.

The checksum finds a secret that was copied in part, without asking a server. It proves nothing else.
"""

import re
from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import sha256
from secrets import token_urlsafe
from zlib import crc32

PREFIX = "fst_"
"""First characters of each secret."""

RANDOM_BYTES = 32
"""Random bytes of a secret."""

CHECKSUM_LENGTH = 6
"""Characters of the checksum."""

KEY_ID_LENGTH = 16
"""Hexadecimal digits of a key id."""

MAX_CACHED_HASHES = 256
"""Secrets whose hashes are cached: both hashes of a secret take 2 µs, in each request that is decided."""


def make_secret() -> str:
    """Return a new secret."""
    text = PREFIX + token_urlsafe(RANDOM_BYTES)
    return text + _checksum(text)


def has_checksum(secret: str) -> bool:
    """Return whether `secret` has the form of a secret, and its checksum is right."""
    return _SECRET.fullmatch(secret) is not None and secret[-CHECKSUM_LENGTH:] == _checksum(
        secret[:-CHECKSUM_LENGTH]
    )


@lru_cache(MAX_CACHED_HASHES)
def sha256_of(secret: str) -> bytes:
    """Return the SHA-256 of any text; a server compares it, and it is the key of signed links."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


@lru_cache(MAX_CACHED_HASHES)
def key_id(digest: bytes) -> str:
    """Return the name in signed links of the secret with this SHA-256."""
    return sha256(digest).hexdigest()[:KEY_ID_LENGTH]


def _checksum(text: str) -> str:
    return base64url(crc32(text.encode()).to_bytes(4, "big"))


def base64url(data: bytes) -> str:
    """Return the base64url of `data` without padding (RFC 4648 section 5)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


_SECRET = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{{43 + CHECKSUM_LENGTH}}}", re.ASCII)
