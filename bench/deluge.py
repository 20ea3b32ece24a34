"""Many large uploads at once, and the memory that they take.

Only filestored is asked: a server that keeps each body in memory would take the whole machine's. The
clients are threads that send from one block of memory; they share the client's core and are not what is
measured.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench.bulk import Target, upload
from bench.cleaning import remove
from bench.cores import on
from bench.files import MIB
from bench.house import House
from bench.servers.filestored import Filestored

SIZE = 256 * MIB


@dataclass(frozen=True, slots=True)
class Deluge:
    """What came of it: `before` and `peak` in bytes of memory, `refused` uploads that failed."""

    uploads: int
    seconds: float
    before: int
    peak: int
    refused: int

    @property
    def rate(self) -> float:
        """MiB a second, all of them together."""
        return self.uploads * SIZE / MIB / self.seconds


def measure(house: House, uploads: int) -> Deluge:
    """Start a fresh filestored on a store of its own and send it everything at once."""
    store = os.path.join(house.path, "deluge")
    server = house.start(Filestored, store=store)
    try:
        before = server.family.resident()
        server.family.forget_peak()
        started = time.monotonic()
        with on(house.cores.clients(1)), ThreadPoolExecutor(uploads) as threads:
            answers = [threads.submit(_send, server.port) for _ in range(uploads)]
            refused = sum(answer.result() != 200 for answer in answers)
        return Deluge(uploads, time.monotonic() - started, before, server.family.peak(), refused)
    finally:
        server.stop()
        remove(store)


def _send(port: int) -> int:
    try:
        return upload(port, Target("POST", "/"), SIZE)
    except OSError:
        return 0
