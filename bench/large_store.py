"""A store with very many files: start time, and rates compared with a store of few files.

A hundred thousand of them are small files as in the ordinary set; the others are empty, with names drawn at
random: they fill the directories as well as any, and are made and removed in a fraction of the time. The
store is served by a filestored and by nginx; requests are for a thousand files, as in the ordinary set, and
for all hundred thousand, which the kernel has not looked up lately.
"""

import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.cleanup import remove
from bench.environment import Environment
from bench.files import FILE_KINDS, add_empty_files, small_files, write_files
from bench.rounds import Log, Result, run_rounds
from bench.servers import filestored, nginx
from bench.servers.base import Server
from bench.workloads import FILESTORED, Workload, download_requests
from filestored.storage.disk.layout import prepare

FULL_STORE = "filestored, full"
OTHER = "nginx, full"
"""Names of the servers of the full store."""

FEW_FILES = FILE_KINDS[0].count
SCATTERED = 100_000


@dataclass(frozen=True, slots=True)
class LargeStore:
    """Result: number of files, seconds to the first response with few and with all, two workloads."""

    files: int
    few: float
    full: float
    results: Sequence[Result]


def measure(environment: Environment, files: int, *, rounds: int, seconds: float, log: Log) -> LargeStore:
    """Fill a store, run servers on it in interleaved rounds, and remove it."""
    few, store = os.path.join(environment.path, "few"), os.path.join(environment.path, "full")
    prepare(few, "sha256")
    prepare(store, "sha256")
    ordinary = write_files(few, FILE_KINDS[0].contents())
    started = time.monotonic()
    digests = write_files(store, small_files(min(files, SCATTERED)))
    add_empty_files(store, files - len(digests))
    os.sync()
    log(f"  {files:,} files written in {time.monotonic() - started:.0f} s")
    chosen = random.Random(files)
    served = {"4 KiB": chosen.sample(digests, min(FEW_FILES, len(digests))), "scattered": digests}
    servers: dict[str, Server] = {}
    try:
        servers[FILESTORED] = environment.start(filestored.Filestored, store=few)
        servers[FILESTORED].served = {"4 KiB": ordinary}
        for name, kind in ((FULL_STORE, filestored.Filestored), (OTHER, nginx.Nginx)):
            servers[name] = environment.start(kind, store=store)
            servers[name].name, servers[name].served = name, served
        results = [
            run_rounds(workload, servers, environment.cores, rounds=rounds, seconds=seconds, log=log)
            for workload in _workloads(files)
        ]
        return LargeStore(files, servers[FILESTORED].started, servers[FULL_STORE].started, results)
    finally:
        for server in servers.values():
            server.stop()
        remove(store)
        remove(few)


def _workloads(files: int) -> tuple[Workload, Workload]:
    return (
        Workload(
            "million",
            f"GET 4 KiB, 1,000 files of {files:,} stored",
            (FULL_STORE, FILESTORED),
            download_requests("4 KiB", 64),
            goals={FILESTORED: 0.95},
            ours=FULL_STORE,
        ),
        Workload(
            "scattered",
            f"GET 4 KiB, {min(files, SCATTERED):,} files of {files:,} stored",
            (FULL_STORE, OTHER),
            download_requests("scattered", 64),
            ours=FULL_STORE,
        ),
    )
