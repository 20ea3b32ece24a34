"""P7: a full disk refuses uploads with 507, keeps serving and deleting, and recovers by itself.

Once a tmpfs runs out of blocks (beyond the reserve that is always kept), once out of inodes. Several uploads
at once, whose length nobody knows before their end, leave the reserve alone, too.
"""

import os
import threading
from collections.abc import Iterator

import requests

from tests.deep.bench import Bench, Verdict
from tests.deep.volume import tmpfs

RESERVE = 256 << 20
"""What the store always leaves free."""

SLACK = 40 << 20
"""What uploads may use of it: 16 MiB for each of two workers, and the pieces that are being written."""

AT_ONCE = 6


def prove(bench: Bench) -> Verdict:
    """What is answered when blocks run out, and inodes."""
    outcomes = {
        "blocks": _fill(bench, "blocks", f"size={RESERVE + (24 << 20)}", 1 << 20),
        "inodes": _fill(bench, "inodes", "size=600m,nr_inodes=400", 100),
    }
    holds = all(outcome.endswith("507, reads, deletes, recovers") for outcome in outcomes.values())
    statuses, least = _fill_at_once(bench)
    figure = "; ".join(f"{name}: {outcome}" for name, outcome in outcomes.items())
    figure += f"; {AT_ONCE} chunked uploads at once: {statuses}, at least {least >> 20} MiB free"
    return Verdict(figure, holds and set(statuses) == {507} and least >= RESERVE - SLACK)


def _fill_at_once(bench: Bench) -> tuple[list[int], int]:
    """Upload more in chunks than there is room for: the answers, and the least free space in bytes."""
    least, statuses = RESERVE * 2, []
    with tmpfs(os.path.join(bench.directory, "crowd.mount"), f"size={RESERVE + (60 << 20)}") as mount:
        daemon = bench.start("--workers", "2", "--store", os.path.join(mount, "store"), name="crowd")

        def send() -> None:
            answer = requests.post(daemon.url, data=_pieces(), timeout=120)
            statuses.append(answer.status_code)

        threads = [threading.Thread(target=send) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            space = os.statvfs(mount)
            least = min(least, space.f_bavail * space.f_frsize)
        daemon.end()
    return statuses, least


def _pieces() -> Iterator[bytes]:
    """A body of 90 MB without an announced length."""
    for _ in range(90):
        yield os.urandom(1_000_000)


def _fill(bench: Bench, name: str, options: str, size: int) -> str:
    """Upload until it is refused; then read, delete and upload again. What happened, in words."""
    with tmpfs(os.path.join(bench.directory, f"{name}.mount"), options) as mount:
        daemon = bench.start("--workers", "1", "--store", os.path.join(mount, "store"), name=name)
        with requests.Session() as session:
            stored = []
            while (answer := session.post(daemon.url, data=os.urandom(size), timeout=30)).ok and len(
                stored
            ) < 1000:
                stored.append(answer.text)
            words = [f"{len(stored)} stored, then {answer.status_code}"]
            if all(session.get(f"{daemon.url}files/{digest}", timeout=30).ok for digest in stored):
                words.append("reads")
            if all(session.delete(f"{daemon.url}files/{digest}", timeout=30).ok for digest in stored[:5]):
                words.append("deletes")
            if session.post(daemon.url, data=os.urandom(size), timeout=30).ok:
                words.append("recovers")
        daemon.end()
    return ", ".join(words)
