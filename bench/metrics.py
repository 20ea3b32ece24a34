"""Cost of ``--metrics``: CPU time per request with and without it, in interleaved rounds."""

import time
from typing import ClassVar

from bench.costs import Costs
from bench.request_mixes import AGENT_HEADS
from bench.servers.filestored import Filestored
from bench.workloads import Workload, download_requests, small_uploads
from filestored.daemon.monitoring.store_count import START_SECONDS


class Monitored(Filestored):
    """filestored that counts what it does."""

    name: str = "filestored, --metrics"
    omits: ClassVar[str] = "As filestored, and counts what it does."
    options: tuple[str, ...] = ("--metrics", "tcp:0:interface=127.0.0.1")

    def start(self) -> None:
        """Start twistd, and wait until its child process has counted the files of the store."""
        super().start()
        time.sleep(START_SECONDS + 1)
        while len(self.processes.pids()) > 1:
            time.sleep(0.1)


PLAIN, MONITORED = Filestored.name, Monitored.name

MAX_RATIO = 1.02

WORKLOADS = (
    Workload(
        "metrics-get-4k",
        "GET 4 KiB from the response cache, 64 connections",
        (PLAIN, MONITORED),
        download_requests("4 KiB", 64),
    ),
    Workload(
        "metrics-get-4k-single",
        "GET 4 KiB from the response cache, 1 connection",
        (PLAIN, MONITORED),
        download_requests("4 KiB", 1),
    ),
    Workload(
        "metrics-get-4k-uncached",
        "GET 4 KiB, 64 connections, each with another User-Agent",
        (PLAIN, MONITORED),
        download_requests("4 KiB", 64, heads=AGENT_HEADS),
    ),
    Workload(
        "metrics-post-4k",
        "Upload of 4 KiB, 64 connections",
        (PLAIN, MONITORED),
        small_uploads(64),
    ),
)

COSTS = Costs((Filestored, Monitored), WORKLOADS, {each.name: MAX_RATIO for each in WORKLOADS})
"""The rows, in the order of the report; the second daemon costs 2 % more at most."""
