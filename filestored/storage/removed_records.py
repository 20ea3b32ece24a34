"""Values of removed records: objects that count as absent.

Most object stores cannot delete an object on a condition, so a record is removed by replacing its value with
`REMOVED`. A copy of an object store on a disk has such values, too, so all records know them.
"""

import re
import secrets

REMOVED = b"filestored: this record was removed\n"
"""The value of a removed record."""

_BEING_DELETED = re.compile(rb"filestored: this record is being deleted by [0-9a-f]{16}\n")


def being_deleted() -> bytes:
    """Return a new value of a removed record whose object is about to be deleted by the caller."""
    return b"filestored: this record is being deleted by %b\n" % secrets.token_hex(8).encode()


def is_removed(value: bytes) -> bool:
    """Return whether a value is that of a removed record."""
    return value == REMOVED or is_being_deleted(value)


def is_being_deleted(value: bytes) -> bool:
    """Return whether a value is one of `being_deleted`."""
    return _BEING_DELETED.fullmatch(value) is not None


SIZES = frozenset({len(REMOVED), len(being_deleted())})
"""Sizes of these values in bytes; others need not be read to be told apart."""
