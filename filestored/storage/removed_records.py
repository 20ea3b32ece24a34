"""Values of removed records: objects that count as absent.

Most object stores cannot delete an object on a condition, so a record is removed by replacing its value with
one of `removed`. A copy of an object store on a disk has such values, too, so all records know them. No two
are equal, so that a condition on one never holds for another.
"""

import re
import secrets

_REMOVED = re.compile(rb"filestored: this record was removed [0-9a-f]{16}\n")
_BEING_DELETED = re.compile(rb"filestored: this record is being deleted [0-9a-f]{16}\n")


def removed() -> bytes:
    """Return a new value of a removed record."""
    return b"filestored: this record was removed %b\n" % _nonce()


def being_deleted() -> bytes:
    """Return a new value of a removed record whose object is about to be deleted by the caller."""
    return b"filestored: this record is being deleted %b\n" % _nonce()


def is_removed(value: bytes) -> bool:
    """Return whether a value is that of a removed record."""
    return _REMOVED.fullmatch(value) is not None or is_being_deleted(value)


def is_being_deleted(value: bytes) -> bool:
    """Return whether a value is one of `being_deleted`."""
    return _BEING_DELETED.fullmatch(value) is not None


def _nonce() -> bytes:
    return secrets.token_hex(8).encode()


SIZES = frozenset({len(removed()), len(being_deleted())})
"""Sizes of these values in bytes; others need not be read to be told apart."""
