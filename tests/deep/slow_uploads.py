"""P23, P24: slow uploads on more connections than there are slots do not keep others from uploading.

Two workers have 64 slots each. 200 connections upload 1.1 kB/s each, which no deadline ends; after 15 s they
need slots. All the while another client uploads small and large files. Then 1,000 connections send nearly
as much as needs no slot, and stay: the memory that they take is bounded.
"""

import os
import time

from filestored.storage.admission import MAX_BYTES_WITHOUT_SLOT
from tests.daemon.slow_uploads import RATE, upload_slowly
from tests.daemon_process import Running, memory
from tests.deep.bench import Bench, Verdict, processes, upload

UPLOADS = 200
MIN_SECONDS = 45.0
"""Seconds after which all slow uploads have sent more than may be kept without a slot."""
MARK = 0.99
WAITING = 1_000
MAX_MIB = 64
"""MiB above its baseline that the memory of a worker may rise by."""


def prove(bench: Bench) -> Verdict:
    """Return the share of uploads of another client that were acknowledged, and the rise of memory."""
    daemon = bench.start("--workers", "2")
    outcomes: list[bool] = []
    with upload_slowly(daemon, UPLOADS):
        deadline = time.monotonic() + max(bench.seconds, MIN_SECONDS)
        while time.monotonic() < deadline:
            size = 4096 if len(outcomes) % 8 else 1 << 20
            outcomes.append(upload(daemon, os.urandom(size)) is not None)
            time.sleep(0.02)
    share = sum(outcomes) / len(outcomes)
    rise = _rise(bench.start("--workers", "1", name="waiting"))
    figure = (
        f"{sum(outcomes)} of {len(outcomes)} uploads beside {UPLOADS} of {RATE} bytes/s; "
        f"{WAITING} without a slot +{rise} MiB, the mark is +{MAX_MIB}"
    )
    return Verdict(figure, share >= MARK and rise <= MAX_MIB)


def _rise(daemon: Running) -> int:
    """Return by how many MiB the memory of a worker rises with `WAITING` slow uploads."""
    (pid,) = processes(daemon)
    baseline = memory(pid)
    with upload_slowly(daemon, WAITING, burst=MAX_BYTES_WITHOUT_SLOT - 2 * RATE):
        assert upload(daemon, os.urandom(4096)) is not None, "an upload beside those that wait"
        time.sleep(1.0)
    return (memory(pid, "VmHWM") - baseline) // 1024
