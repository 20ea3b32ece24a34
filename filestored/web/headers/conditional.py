"""Preconditions of a request, decided as RFC 9110 section 13 orders them.

In: the entity tag of what is stored (or None when nothing is) and the values of the
request's fields. Out: a `Precondition`. Nothing is read, nothing is sent.

There are no dates here. A stored file never changes, so a modification date could only
repeat what the entity tag says better; `If-Modified-Since` and `If-Unmodified-Since` are
ignored, as section 13.1.3 asks of a server that has no date to compare.

Lists are split at commas without looking at quotes. An entity tag can't hold a quote, and
ours hold no comma, so ours can't turn up where the sender did not write it.
"""

from enum import Enum, auto

from filestored.digest import Digest


class Precondition(Enum):
    """What the preconditions say: go on, 304, or 412."""

    PROCEED = auto()
    NOT_MODIFIED = auto()
    FAILED = auto()


def entity_tag(digest: Digest, suffix: bytes = b"") -> bytes:
    """The strong entity tag of what is stored under `digest`; each form of it has a suffix of its own."""
    return b'"%s%s"' % (digest.hex.encode("ascii"), suffix)


def evaluate_preconditions(
    tag: bytes | None, if_match: bytes | None, if_none_match: bytes | None, *, reading: bool
) -> Precondition:
    """Decide in the order of RFC 9110 section 13.2.2.

    `tag` is the quoted strong entity tag of what is stored, None when nothing is.
    `reading` tells GET and HEAD from the methods that change something.
    """
    if if_match is not None and not _names(if_match, tag, weakly=False):
        return Precondition.FAILED
    if if_none_match is not None and _names(if_none_match, tag, weakly=True):
        return Precondition.NOT_MODIFIED if reading else Precondition.FAILED
    return Precondition.PROCEED


def range_applies(tag: bytes, if_range: bytes | None) -> bool:
    """Whether a `Range` counts: without `If-Range`, or when it holds our tag (section 13.1.5).

    The comparison is the strong one. A date never matches, for we send none.
    """
    return if_range is None or if_range.strip(b" \t") == tag


def _names(listed: bytes, tag: bytes | None, *, weakly: bool) -> bool:
    """Whether a list of entity tags, or ``*``, covers what is stored (section 8.8.3.2)."""
    if tag is None:
        return False
    if listed.strip(b" \t") == b"*":
        return True
    members = [member.strip(b" \t") for member in listed.split(b",")]
    return tag in members or (weakly and b"W/" + tag in members)
