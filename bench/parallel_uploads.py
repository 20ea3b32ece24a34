"""Parallel large uploads, and their memory.

Only filestored runs: a server that keeps each body in memory would need all of the machine's. The clients
are threads that send from one block of memory; they share the client's core and are not measured.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench.cleanup import remove
from bench.cpu_affinity import on
from bench.environment import Environment
from bench.files import MIB
from bench.servers.filestored import Filestored
from bench.upload_client import TIMEOUT, Target, upload

SIZE = 256 * MIB


@dataclass(frozen=True, slots=True)
class ParallelUploads:
    """Result: memory `before` and at the `peak` in bytes, and the number of `refused` uploads."""

    uploads: int
    seconds: float
    before: int
    peak: int
    refused: int

    @property
    def rate(self) -> float:
        """MiB a second, all of them together."""
        return self.uploads * SIZE / MIB / self.seconds


def measure(environment: Environment, uploads: int) -> ParallelUploads:
    """Start filestored on an empty store and send all uploads at once."""
    store = os.path.join(environment.path, "parallel")
    server = environment.start(Filestored, store=store)
    try:
        before = server.processes.resident()
        server.processes.reset_peak()
        started = time.monotonic()
        with on(environment.cores.for_client(1)), ThreadPoolExecutor(uploads) as threads:
            answers = [threads.submit(send, server.port) for _ in range(uploads)]
            refused = sum(answer.result() != 200 for answer in answers)
        return ParallelUploads(uploads, time.monotonic() - started, before, server.processes.peak(), refused)
    finally:
        server.stop()
        remove(store)


def send(port: int, timeout: float = TIMEOUT) -> int:
    """Upload one file; returns the status, or 0 when the connection fails."""
    try:
        return upload(port, Target("POST", "/"), SIZE, timeout)
    except OSError:
        return 0
