"""P14: the files of a form are stored with their contents, however the form is written and cut.

Random forms (`tests.web.random_forms`), half of them damaged. A valid form gives the contents that its
generator knows. A damaged one is refused with 400 or 413, or gives the files that a reader of lines finds,
whole and in its pieces. Two of a hundred are also uploaded to a real daemon, piece by piece, and the answers
compared. At the end no stored file has the name of other content.
"""

import os
import time
from random import Random

from tests.daemon_process import Running
from tests.deep.bench import Bench, Verdict, connection, damage, read_all
from tests.web.forms import store_form
from tests.web.random_forms import RandomForm, damaged, random_form

FORMS = 100_000
MIN_REFUSED = FORMS // 8
"""Fewer refused forms would prove nothing about damaged ones."""
UPLOADED_EACH = 100


def prove(bench: Bench) -> Verdict:
    """Count forms that are stored with other contents, or answered with another status."""
    seed = int.from_bytes(os.urandom(4), "big")
    random = Random(seed)
    daemon = bench.start("--workers", "1")
    refused = different = uploaded = 0
    for number in range(FORMS):
        form = random_form(random)
        expected: list[bytes] | int = form.names()
        if number % 2:
            form = damaged(random, form)
            expected = store_form([b"".join(form.pieces)], form.boundary)
            different += isinstance(expected, list) and expected != form.names()
        different += store_form(form.pieces, form.boundary) != expected
        refused += expected in (400, 413)
        different += isinstance(expected, int) and expected not in (400, 413)
        if number % UPLOADED_EACH < 2:
            uploaded += 1
            different += _upload(daemon, form) != expected
    _, partial = damage(daemon.store, {})
    figure = (
        f"{FORMS} forms, {refused} refused, {uploaded} uploaded, {different} different, "
        f"{partial} damaged files, seed {seed}"
    )
    return Verdict(figure, not (different or partial) and refused >= MIN_REFUSED)


def _upload(daemon: Running, form: RandomForm) -> list[bytes] | int:
    """Upload a form; return the hashes in the answer, or its status."""
    length = sum(map(len, form.pieces))
    head = (
        f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {form.kind}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    with connection(daemon) as peer:
        peer.sendall(head.encode("latin-1"))
        for piece in form.pieces[:100]:
            peer.sendall(piece)
            time.sleep(0.0002)
        peer.sendall(b"".join(form.pieces[100:]))
        answer = read_all(peer)
    status = int(answer[9:12])
    return answer.partition(b"\r\n\r\n")[2].split() if status == 200 else status
