"""The reserve is kept: uploads at once, whose length is unknown before their end, leave the free space alone.

More is sent to a tmpfs, in chunks, than there is room for. Each upload has to be 507, and the least free
space seen has to be the reserve, but for a slack.
"""

import os
import threading
from collections.abc import Iterator

import requests

from tests.deep.bench import Bench, Verdict
from tests.deep.volume import mounted

RESERVE = 256 << 20
"""Value of ``--reserve``."""

SLACK = 40 << 20
"""Bytes that uploads may use of it: 16 MiB for each of two workers, and the pieces that are being written."""

UPLOADS = 6


def prove(bench: Bench) -> Verdict:
    """The answers, and the least free space."""
    least, statuses = RESERVE * 2, []
    mount = os.path.join(bench.directory, "mount")
    with mounted(["-t", "tmpfs", "-o", f"size={RESERVE + (60 << 20)}", "none"], mount):
        daemon = bench.start(
            *("--workers", "2", "--reserve", str(RESERVE), "--store", os.path.join(mount, "store"))
        )

        def send() -> None:
            answer = requests.post(daemon.url, data=_pieces(), timeout=120)
            statuses.append(answer.status_code)

        threads = [threading.Thread(target=send) for _ in range(UPLOADS)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            space = os.statvfs(mount)
            least = min(least, space.f_bavail * space.f_frsize)
        daemon.end()
    figure = f"{UPLOADS} chunked uploads at once: {statuses}, at least {least >> 20} MiB free"
    return Verdict(figure, set(statuses) == {507} and least >= RESERVE - SLACK)


def _pieces() -> Iterator[bytes]:
    """A body of 90 MB without an announced length."""
    for _ in range(90):
        yield os.urandom(1_000_000)
