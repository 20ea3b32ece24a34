"""Decisions about access: may a client with these credentials use a right in a bucket at this time? Pure.

The checks, in this order:

1. Credentials that are malformed, unknown or expired are refused, even where the public has the right.
2. The token has the right: allowed.
3. A signed link is valid, and its token may read the bucket: reading is allowed. A link that is not valid is
   refused, even where the public may read.
4. The public has the right: allowed.
5. Otherwise a client without credentials is asked for them, in a bucket that exists as in one that does not.
   A client with a token is told that the bucket does not exist, unless it has another right there.
"""

from enum import Enum, auto
from typing import NamedTuple

from filestored.access.rules import NO_RIGHTS, AccessRules, Right, Token
from filestored.access.signed_links import SignedLink, verify


class Credentials(NamedTuple):
    """The credentials of a request: those of Authorization, and the parameters of a signed link.

    `malformed` means that Authorization is present and cannot be parsed.
    """

    secret: str | None = None
    malformed: bool = False
    link: SignedLink | None = None

    def __repr__(self) -> str:
        return "Credentials(...)"


class Outcome(Enum):
    """The result of a decision."""

    ALLOWED = auto()
    CREDENTIALS_NEEDED = auto()
    FORBIDDEN = auto()
    UNKNOWN_BUCKET = auto()
    BAD_LINK = auto()


class Decision(NamedTuple):
    """The result of a decision; `private` means that other credentials may get another response."""

    outcome: Outcome
    private: bool


def decide(
    rules: AccessRules, credentials: Credentials, bucket: str, right: Right | None, now: float
) -> Decision:
    """Decide about one right in a bucket; None stands for any right, which makes the bucket visible.

    `now` is in seconds since the epoch. Pass a link only for GET and HEAD of a file.
    """
    if credentials == _NONE and _includes(rules.rights(None, bucket), right):
        return Decision(Outcome.ALLOWED, private=False)
    return Decision(_outcome(rules, credentials, bucket, right, now), private=True)


def is_refused(credentials: Credentials, token: Token | None, now: float) -> bool:
    """Return whether credentials are malformed, unknown or expired; `token` is that of their secret."""
    unknown_or_expired = token is None or token.is_expired(now)
    return credentials.malformed or (credentials.secret is not None and unknown_or_expired)


def _outcome(
    rules: AccessRules, credentials: Credentials, bucket: str, right: Right | None, now: float
) -> Outcome:
    token = None if credentials.secret is None else rules.find_secret(credentials.secret)
    if is_refused(credentials, token, now):
        return Outcome.CREDENTIALS_NEEDED
    exists = bucket in rules.buckets
    if token is not None and exists and _includes(token.rights(bucket), right):
        return Outcome.ALLOWED
    if credentials.link is not None:
        granted = _rights_of_link(rules, credentials.link, bucket, now)
        if not granted:
            return Outcome.BAD_LINK
        if _includes(granted, right):
            return Outcome.ALLOWED
    rights = rules.rights(token, bucket)
    if _includes(rights, right):
        return Outcome.ALLOWED
    if token is None:
        return Outcome.CREDENTIALS_NEEDED
    return Outcome.FORBIDDEN if rights else Outcome.UNKNOWN_BUCKET


def _rights_of_link(rules: AccessRules, link: SignedLink, bucket: str, now: float) -> frozenset[Right]:
    """Return the right to read if the link is valid in the bucket, else no right."""
    token = rules.find_key(link.key)
    if token is None or not verify(link, token, now):
        return NO_RIGHTS
    return rules.rights(token, bucket) & {Right.READ}


def _includes(rights: frozenset[Right], right: Right | None) -> bool:
    return bool(rights) if right is None else right in rights


_NONE = Credentials()
