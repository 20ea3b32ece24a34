"""Request ids: that of the header `X-Request-Id`, or a random one.

An id of a client or a proxy is taken if the head has one only, of 1 to 128 characters of a set that can forge
neither a header nor a line of a log. Any other counts as absent. The id is found in the bytes of the head, so
a cached response and a rendered one have the same.

A made id has 32 hexadecimal digits, as nginx's ``$request_id``. The ids of a batch share 30 random digits and
differ in the last two, in a random order. So an id takes 50 ns; one that is random as a whole takes 140 ns.
Rejected: a counter, which tells each client the number of all requests.
"""

import re
from collections.abc import Iterator
from itertools import chain
from os import urandom
from random import sample

BATCH_IDS = 256
"""Number of ids that share their first digits."""

_RANDOM_BYTES = 15
_ENDS = [b"%02x" % number for number in sample(range(BATCH_IDS), BATCH_IDS)]
_NAME = b"\r\nx-request-id:"
_LINE = re.compile(_NAME + rb"[ \t]*([A-Za-z0-9._~:/+=@-]{1,128})[ \t]*\r\n(?![ \t])", re.IGNORECASE)


def find_request_id(head: bytes) -> bytes | None:
    """Return the id that a request head, or its header lines, have; None if there is none to be taken."""
    if head.lower().count(_NAME) != 1:
        return None
    found = _LINE.search(head)
    return found[1] if found else None


def _batches() -> Iterator[Iterator[bytes]]:
    while True:
        yield map(urandom(_RANDOM_BYTES).hex().encode().__add__, _ENDS)


new_request_ids: Iterator[bytes] = chain.from_iterable(_batches())
"""Random ids without an end; for the reactor's thread."""
