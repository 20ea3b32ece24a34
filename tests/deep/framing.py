"""P10: what is stored is what the framing says, by every reader.

Random chunked bodies, valid or nearly so, are read by `ChunkedReader` and by h11, cut in the same way
(`tests.http.parser.h11_comparison`). What h11 refuses must be refused; what is accepted must be h11's bytes.
Every hundredth body is also uploaded to a real daemon, and the stored file compared.
"""

import hashlib
import os
from random import Random

from tests.daemon_process import Running
from tests.deep.bench import Bench, Verdict, connection, read_all
from tests.http.parser.h11_comparison import HEAD, parse, parse_with_h11, random_bodies, random_cut

FRAMINGS = 100_000
MIN_ACCEPTED = FRAMINGS // 4
"""Fewer accepted bodies would prove nothing."""
UPLOADED_EACH = 100


def prove(bench: Bench) -> Verdict:
    """Count bodies accepted by both parsers, and bodies parsed differently."""
    seed = int.from_bytes(os.urandom(4), "big")
    random = Random(seed)
    daemon = bench.start("--workers", "1")
    accepted = different = uploaded = 0
    for number in range(FRAMINGS):
        wire, without_blanks = random_bodies(random)
        pieces = random_cut(random, wire)
        seen, expected = parse(pieces), (parse_with_h11(pieces), parse_with_h11([without_blanks]))
        whole = seen is not None and seen.complete
        accepted += whole
        different += seen is not None and seen not in expected
        if number % UPLOADED_EACH == 0:
            digest = hashlib.sha256(seen.body).hexdigest() if seen is not None and seen.complete else None
            uploaded += digest is not None
            different += _stored(daemon, wire) != digest
    figure = f"{accepted} of {FRAMINGS} accepted, {uploaded} stored, {different} different, seed {seed}"
    return Verdict(figure, not different and accepted >= MIN_ACCEPTED and uploaded > 0)


def _stored(daemon: Running, wire: bytes) -> str | None:
    """The hash of the file that a daemon stores for a chunked body, None when it refuses it."""
    with connection(daemon) as peer:
        peer.sendall(HEAD + wire)
        peer.shutdown(1)
        first = read_all(peer).partition(b"HTTP/1.1 400 ")[0]
    return first.partition(b"\r\n\r\n")[2][:64].decode() if first.startswith(b"HTTP/1.1 200 ") else None
