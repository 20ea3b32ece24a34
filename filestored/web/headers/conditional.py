"""Conditional requests: `If-Match`, `If-None-Match` and `If-Range` (RFC 9110 section 13).

In: the entity tag of the stored file (None if there is none) and values of request headers. Out: a
`PreconditionResult`.

Stored files have no modification date, because they never change. `If-Modified-Since` and
`If-Unmodified-Since` are ignored then (section 13.1.3).

Lists are split at commas, also within quotes. The entity tags of this server have no commas, and no tag has
a quote, so this cannot produce a false match.
"""

from enum import Enum, auto


class PreconditionResult(Enum):
    """The result of preconditions: proceed, 304, or 412."""

    PROCEED = auto()
    NOT_MODIFIED = auto()
    FAILED = auto()


def evaluate_preconditions(
    tag: bytes | None, if_match: bytes | None, if_none_match: bytes | None, *, reading: bool
) -> PreconditionResult:
    """Evaluate preconditions in the order of RFC 9110 section 13.2.2.

    `tag` is the quoted strong entity tag of the stored file, None if there is none. `reading` is True for GET
    and HEAD.
    """
    if if_match is not None and not _matches(if_match, tag, weakly=False):
        return PreconditionResult.FAILED
    if if_none_match is not None and _matches(if_none_match, tag, weakly=True):
        return PreconditionResult.NOT_MODIFIED if reading else PreconditionResult.FAILED
    return PreconditionResult.PROCEED


def range_applies(tag: bytes, if_range: bytes | None) -> bool:
    """Return whether `Range` applies: without `If-Range`, or when that is `tag` (section 13.1.5).

    The comparison is the strong one. A date never matches, because responses have none.
    """
    return if_range is None or if_range.strip(b" \t") == tag


def _matches(listed: bytes, tag: bytes | None, *, weakly: bool) -> bool:
    """Return whether a list of entity tags, or ``*``, matches the stored file (section 8.8.3.2)."""
    if tag is None:
        return False
    if listed.strip(b" \t") == b"*":
        return True
    members = [member.strip(b" \t") for member in listed.split(b",")]
    return tag in members or (weakly and b"W/" + tag in members)
