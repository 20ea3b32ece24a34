"""P7: a full disk refuses uploads with 507, keeps serving and deleting, and recovers by itself.

Once a tmpfs runs out of blocks (beyond the reserve that is always kept), once out of inodes.
"""

import os

import requests

from tests.deep.bench import Bench, Verdict
from tests.deep.volume import tmpfs

RESERVE = 256 << 20
"""What the store always leaves free."""


def prove(bench: Bench) -> Verdict:
    """What is answered when blocks run out, and inodes."""
    outcomes = {
        "blocks": _fill(bench, "blocks", f"size={RESERVE + (24 << 20)}", 1 << 20),
        "inodes": _fill(bench, "inodes", "size=600m,nr_inodes=400", 100),
    }
    figure = "; ".join(f"{name}: {outcome}" for name, outcome in outcomes.items())
    return Verdict(
        figure, all(outcome.endswith("507, reads, deletes, recovers") for outcome in outcomes.values())
    )


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
