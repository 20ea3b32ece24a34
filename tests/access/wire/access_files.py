"""Access files of tests, their tokens and links, made from the contract alone. Imports nothing of filestored.

A secret is ``fst_``, 43 characters, and a checksum of 6. A link has an HMAC-SHA-256, keyed with the hash of
the secret.
"""

import base64
import hashlib
import hmac
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

RIGHTS = ("read", "write", "delete", "list")
PAST = "2020-01-01"
FUTURE = "4000000000"
"""A moment in the year 2096, in seconds since the epoch."""


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def make_secret(name: str) -> str:
    """Return the secret of a token; equal names have equal secrets."""
    start = "fst_" + _base64url(hashlib.sha256(b"secret of " + name.encode()).digest())
    return start + _base64url(zlib.crc32(start.encode()).to_bytes(4, "big"))


@dataclass(frozen=True)
class Token:
    """A token of an access file: its rights in each bucket, ``*`` being all buckets without an own entry."""

    name: str
    buckets: Mapping[str, Sequence[str]]
    expires: str | None = None
    """A date or a moment, as TOML has it."""

    @property
    def secret(self) -> str:
        """The secret, which no file has."""
        return make_secret(self.name)

    @property
    def sha256(self) -> bytes:
        """The hash of the secret, which the access file has."""
        return hashlib.sha256(self.secret.encode()).digest()

    @property
    def key_id(self) -> str:
        """The value of ``key`` in links."""
        return hashlib.sha256(self.sha256).hexdigest()[:16]

    def rights(self, bucket: str) -> frozenset[str]:
        """The rights in an existing bucket, without those of the public."""
        return frozenset(self.buckets.get(bucket, self.buckets.get("*", ())))

    def signature(self, path: str, expires: str = FUTURE) -> str:
        """Return the signature of a path."""
        text = f"GET\n{path}\n{expires}".encode()
        return _base64url(hmac.digest(self.sha256, text, "sha256"))

    def sign(self, path: str, expires: str = FUTURE) -> str:
        """Return the query of a link to a path."""
        return f"key={self.key_id}&expires={expires}&signature={self.signature(path, expires)}"

    def to_toml(self) -> str:
        """Return the tables of the access file."""
        lines = [f"[tokens.{self.name}]", f'sha256 = "{self.sha256.hex()}"']
        lines += [f"expires = {self.expires}"] if self.expires else []
        lines += [f"[tokens.{self.name}.buckets]"]
        lines += [f'"{bucket}" = {list(rights)}' for bucket, rights in self.buckets.items()]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Bucket:
    """A bucket of an access file: `public` are rights without credentials, `options` other lines."""

    name: str
    public: Sequence[str] = ()
    options: Sequence[str] = field(default_factory=tuple)

    def to_toml(self) -> str:
        """Return the table of the access file."""
        return "\n".join([f"[buckets.{self.name}]", f"public = {list(self.public)}", *self.options]) + "\n"


def access_text(*parts: Token | Bucket) -> str:
    """Return the text of an access file."""
    return "\n".join(part.to_toml() for part in parts)


def write_access(path: str, text: str, mode: int = 0o600) -> str:
    """Write an access file beside its final place, and replace it; return its path."""
    new = path + ".new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(new, mode)
    os.replace(new, path)
    return path


def bearer(secret: str) -> str:
    """Return the header line of a secret."""
    return f"Authorization: Bearer {secret}"


def basic(secret: str, user: str = "") -> str:
    """Return the header line of a secret as the password of a user."""
    return "Authorization: Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()
