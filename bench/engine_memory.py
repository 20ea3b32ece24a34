"""Memory of a worker on an engine while many large uploads run, and the disk space of their spool files.

Anonymous memory and mapped pages of files are counted apart: the kernel drops the latter if memory is short.
A spool file has no name, so its size is that of an open descriptor of the worker.
"""

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from bench.cpu_affinity import on
from bench.engine import running
from bench.environment import Environment
from bench.files import GIB, MIB
from bench.parallel_uploads import SIZE, send
from bench.processes import memory
from bench.servers.seaweedfs_s3 import FilestoredOnEngine

RESERVE_BYTES = 4 * GIB
"""Bytes that stay free on the disk."""

SAMPLE_SECONDS = 0.05
"""Interval of two readings."""

ANSWER_SECONDS = 900.0
"""Seconds until an answer: the last upload waits until the engine has stored all others."""

SETTLE_SECONDS = 5.0
"""Maximum seconds after the last answer until all spool files are closed."""


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """Result: bytes `before` and at the `peak`, anonymous and mapped; spool bytes at the peak and after.

    `refused` counts uploads that were not answered with 200.
    """

    uploads: int
    seconds: float
    refused: int
    before: tuple[int, int]
    peak: tuple[int, int]
    spooled: int
    kept: int

    @property
    def rate(self) -> float:
        """MiB a second, all of them together."""
        return self.uploads * SIZE / MIB / self.seconds


def measure(environment: Environment, uploads: int) -> EngineMemory:
    """Send all uploads at once to filestored on an engine. Raises `RuntimeError` for a disk too small."""
    needed = 2 * uploads * SIZE + RESERVE_BYTES
    free = shutil.disk_usage(environment.path).free
    if free < needed:
        raise RuntimeError(f"{environment.path} has {free / GIB:.0f} GiB free, {needed / GIB:.0f} are needed")
    with running(environment) as (_, server):
        pid = server.processes.pids()[-1]
        before = memory(pid)
        started = time.monotonic()
        with on(server.cores.for_client(1)), ThreadPoolExecutor(uploads) as threads:
            answers = [threads.submit(send, server.port, ANSWER_SECONDS) for _ in range(uploads)]
            peak, spooled = _watch(pid, server, answers)
            seconds = time.monotonic() - started
        refused = sum(answer.result() != 200 for answer in answers)
        kept = _settled(lambda: spool_bytes(pid, server.spool))
        return EngineMemory(uploads, seconds, refused, before, peak, spooled, kept)


def _watch(pid: int, server: FilestoredOnEngine, answers: list[Future[int]]) -> tuple[tuple[int, int], int]:
    """Read until all uploads are answered; returns the maximum of memory of each kind, and of the spool."""
    anonymous = mapped = spooled = 0
    while not all(answer.done() for answer in answers):
        now = memory(pid)
        anonymous, mapped = max(anonymous, now[0]), max(mapped, now[1])
        spooled = max(spooled, spool_bytes(pid, server.spool))
        time.sleep(SAMPLE_SECONDS)
    return (anonymous, mapped), spooled


def spool_bytes(pid: int, directory: str) -> int:
    """Return the disk space of the files without a name below `directory` that a process has open.

    A memory map has a descriptor of its own: each file counts once.
    """
    found: dict[int, int] = {}
    folder = f"/proc/{pid}/fd"
    for descriptor in os.listdir(folder):
        path = f"{folder}/{descriptor}"
        with suppress(FileNotFoundError):
            name = os.readlink(path)
            if name.startswith(f"{directory}/") and name.endswith(" (deleted)"):
                status = os.stat(path)
                found[status.st_ino] = status.st_blocks * 512
    return sum(found.values())


def _settled(read: Callable[[], int]) -> int:
    deadline = time.monotonic() + SETTLE_SECONDS
    while (value := read()) and time.monotonic() < deadline:
        time.sleep(SAMPLE_SECONDS)
    return value
