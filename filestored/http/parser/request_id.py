"""Request ids: that of the header `X-Request-Id`, or a random one.

An id of a client or a proxy is taken if the head has one only, of 1 to 128 characters of a set that can forge
neither a header nor a line of a log. Any other counts as absent. The id is found in the bytes of the head, so
a cached response and a rendered one have the same.

A made id is 16 random bytes in hex, as nginx's ``$request_id``. They are drawn in batches: an id takes 50 ns.
Rejected: a counter, which tells each client the number of all requests.
"""

import re
from collections.abc import Iterator
from itertools import chain
from os import urandom
from struct import Struct

BATCH_IDS = 128
"""Number of ids that are made at once."""

_ID_BYTES = 16
_NAME = b"\r\nx-request-id:"
_LINE = re.compile(_NAME + rb"[ \t]*([A-Za-z0-9._~:/+=@-]{1,128})[ \t]*\r\n(?![ \t])", re.IGNORECASE)
_split = Struct(f"{2 * _ID_BYTES}s" * BATCH_IDS).unpack


def find_request_id(head: bytes) -> bytes | None:
    """Return the id that a request head, or its header lines, have; None if there is none to be taken."""
    if head.lower().count(_NAME) != 1:
        return None
    found = _LINE.search(head)
    return found[1] if found else None


def _batches() -> Iterator[tuple[bytes, ...]]:
    while True:
        yield _split(urandom(_ID_BYTES * BATCH_IDS).hex().encode())


new_request_ids: Iterator[bytes] = chain.from_iterable(_batches())
"""Random ids without an end; for the reactor's thread."""
