"""P23, P24: slow uploads on more connections than there are places do not keep others from uploading.

Two workers have 64 places each. 200 connections upload 1.1 kB/s each, which no deadline ends; after 15 s they
need places. All the while another client uploads small and large files.
"""

import os
import time

from tests.daemon.trickling import RATE, trickle
from tests.deep.bench import Bench, Verdict, upload

UPLOADS = 200
MIN_SECONDS = 45.0
"""Seconds after which all slow uploads have sent more than may be kept without a place."""
MARK = 0.99


def prove(bench: Bench) -> Verdict:
    """Return the share of uploads of another client that were acknowledged."""
    daemon = bench.start("--workers", "2")
    outcomes: list[bool] = []
    with trickle(daemon, UPLOADS):
        deadline = time.monotonic() + max(bench.seconds, MIN_SECONDS)
        while time.monotonic() < deadline:
            size = 4096 if len(outcomes) % 8 else 1 << 20
            outcomes.append(upload(daemon, os.urandom(size)) is not None)
            time.sleep(0.02)
    share = sum(outcomes) / len(outcomes)
    figure = f"{sum(outcomes)} of {len(outcomes)} uploads beside {UPLOADS} of {RATE} bytes/s"
    return Verdict(figure, share >= MARK)
