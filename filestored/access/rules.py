"""Access rules: the rights of each token in each bucket, and the limits of buckets. Pure.

In: the text of an access file, or the values themselves. Out: `AccessRules`, which never change; a new
version of the file is a new value.
"""

import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from filestored.access.tokens import key_id, sha256_of
from filestored.access.values import (
    DEFAULT_BUCKET,
    NO_RIGHTS,
    OTHER_BUCKETS,
    BucketRules,
    Right,
    Token,
    ordered,
)

__all__ = [
    "DEFAULT_BUCKET",
    "NO_RIGHTS",
    "OTHER_BUCKETS",
    "AccessRules",
    "BucketRules",
    "Right",
    "Token",
    "ordered",
]


@dataclass(frozen=True, slots=True)
class AccessRules:
    """All tokens and buckets by their names.

    `buckets` also has the default bucket, and each bucket that a token names, even if the constructor does
    not get them.
    """

    tokens: Mapping[str, Token]
    buckets: Mapping[str, BucketRules]
    _by_key_id: Mapping[str, Token] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        named = {name for token in self.tokens.values() for name in token.buckets} - {OTHER_BUCKETS}
        added = {name: BucketRules(name) for name in sorted({DEFAULT_BUCKET, *named})}
        object.__setattr__(self, "buckets", {**added, **self.buckets})
        object.__setattr__(self, "_by_key_id", {token.key_id: token for token in self.tokens.values()})

    @classmethod
    def parse(cls, text: str) -> "AccessRules":
        """Parse the text of an access file. Raises `AccessFileError`, which names the key, in one line."""
        from filestored.access import access_toml  # it imports a parser, which no server without a file needs

        return cls(*access_toml.parse(text))

    def to_json(self) -> str:
        """Return the rules as one line of JSON, for `from_json` in another process. It has keys of links."""
        tokens = [
            (
                each.name,
                each.sha256.hex(),
                each.expires,
                {name: ordered(r) for name, r in each.buckets.items()},
            )
            for each in self.tokens.values()
        ]
        buckets = [
            (each.name, each.quota, each.max_files, each.expire, ordered(each.public), sorted(each.cors))
            for each in self.buckets.values()
        ]
        return json.dumps({"tokens": tokens, "buckets": buckets})

    @classmethod
    def from_json(cls, text: str) -> "AccessRules":
        """Return the rules that `to_json` wrote."""
        found = json.loads(text)
        tokens = [
            Token(name, bytes.fromhex(sha256), expires, {each: _rights(r) for each, r in buckets.items()})
            for name, sha256, expires, buckets in found["tokens"]
        ]
        buckets = [
            BucketRules(name, quota, max_files, expire, _rights(public), frozenset(cors))
            for name, quota, max_files, expire, public, cors in found["buckets"]
        ]
        return cls({each.name: each for each in tokens}, {each.name: each for each in buckets})

    def find_secret(self, secret: str) -> Token | None:
        """Return the token with this secret, or None.

        The index holds hashes of the stored SHA-256 only, which is itself compared in constant time.
        """
        found = sha256_of(secret)
        token = self._by_key_id.get(key_id(found))
        return token if token is not None and hmac.compare_digest(token.sha256, found) else None

    def find_key(self, key: str) -> Token | None:
        """Return the token that signed links name so, or None."""
        return self._by_key_id.get(key)

    def rights(self, token: Token | None, bucket: str) -> frozenset[Right]:
        """Return the rights of the token and of the public in a bucket; none in an unknown bucket."""
        found = self.buckets.get(bucket)
        if found is None:
            return NO_RIGHTS
        return found.public if token is None else token.rights(bucket) | found.public

    def next_expiry(self, now: float) -> float | None:
        """Return the time at which the next token expires after `now`, or None. Seconds since the epoch."""
        times = [token.expires for token in self.tokens.values() if token.expires is not None]
        return min((time for time in times if time > now), default=None)


def _rights(names: Iterable[str]) -> frozenset[Right]:
    return frozenset(map(Right, names))
