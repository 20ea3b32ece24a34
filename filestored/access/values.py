"""Values of the access rules: `Right`, `Token`, `BucketRules`. Pure."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from enum import StrEnum

from filestored.access.tokens import key_id

DEFAULT_BUCKET = "default"
"""Name of the bucket that ``/`` serves."""

OTHER_BUCKETS = "*"
"""Name in a token that stands for all buckets that it does not name."""


class Right(StrEnum):
    """A right in a bucket."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    LIST = "list"


def ordered(rights: Set[Right]) -> list[Right]:
    """Return rights in the order of `Right`."""
    return [right for right in Right if right in rights]


NO_RIGHTS: frozenset[Right] = frozenset()
"""The empty set of rights."""


@dataclass(frozen=True, slots=True)
class BucketRules:
    """Rules of a bucket. `quota` in bytes, `expire` in seconds; None means no limit.

    `public` are the rights without credentials. `cors` are the origins whose pages may use the bucket, in the
    form in which browsers send them.
    """

    name: str
    quota: int | None = None
    max_files: int | None = None
    expire: float | None = None
    public: frozenset[Right] = NO_RIGHTS
    cors: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Token:
    """A token: the SHA-256 of its secret, and its rights in each bucket.

    `expires` is in seconds since the epoch. `sha256` is the key of signed links, so `repr` leaves it out.
    """

    name: str
    sha256: bytes = field(repr=False)
    expires: float | None
    buckets: Mapping[str, frozenset[Right]]

    @property
    def key_id(self) -> str:
        """The name of this token in signed links."""
        return key_id(self.sha256)

    def is_expired(self, now: float) -> bool:
        """Return whether the token has expired at `now`, in seconds since the epoch."""
        return self.expires is not None and now >= self.expires

    def rights(self, bucket: str) -> frozenset[Right]:
        """Return the rights in a bucket; an entry of its own name replaces that of all others."""
        found = self.buckets.get(bucket)
        return self.buckets.get(OTHER_BUCKETS, NO_RIGHTS) if found is None else found
