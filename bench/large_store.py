"""A store with very many files: whether it still starts at once, and serves as fast as one with few.

A hundred thousand of them are small files as in the ordinary set; the others are empty, with names drawn at
random: they fill the directories as well as any, and are made and taken away in a fraction of the time. The
store is served by a filestored and by nginx; asked for a thousand files, like the ordinary set, and for
all hundred thousand, which is what it costs the kernel to find a file that was not requested lately.
"""

import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.cleanup import remove
from bench.environment import Environment
from bench.files import FILE_KINDS, shelve, small, stack
from bench.rounds import Result, Say, take_turns
from bench.servers import filestored, nginx
from bench.servers.base import Server
from bench.workloads import US, Workload, fetching
from filestored.storage.disk.layout import prepare

MANY = "filestored, full"
THEIRS = "nginx, full"
"""Names of the servers of the full store."""

FEW = FILE_KINDS[0].count
SCATTERED = 100_000


@dataclass(frozen=True, slots=True)
class LargeStore:
    """Result: number of files, seconds to the first response with few and with all, two workloads."""

    files: int
    few: float
    full: float
    results: Sequence[Result]


def measure(environment: Environment, files: int, *, rounds: int, seconds: float, say: Say) -> LargeStore:
    """Fill a store, start on it, take turns, and throw it away."""
    few, store = os.path.join(environment.path, "few"), os.path.join(environment.path, "full")
    prepare(few, "sha256")
    prepare(store, "sha256")
    ordinary = shelve(few, FILE_KINDS[0].contents())
    started = time.monotonic()
    digests = shelve(store, small(min(files, SCATTERED)))
    stack(store, files - len(digests))
    os.sync()
    say(f"  {files:,} files written in {time.monotonic() - started:.0f} s")
    chosen = random.Random(files)
    served = {"4 KiB": chosen.sample(digests, min(FEW, len(digests))), "all over": digests}
    servers: dict[str, Server] = {}
    try:
        servers[US] = environment.start(filestored.Filestored, store=few)
        servers[US].served = {"4 KiB": ordinary}
        for name, kind in ((MANY, filestored.Filestored), (THEIRS, nginx.Nginx)):
            servers[name] = environment.start(kind, store=store)
            servers[name].name, servers[name].served = name, served
        results = [
            take_turns(work, servers, environment.cores, rounds=rounds, seconds=seconds, say=say)
            for work in _works(files)
        ]
        return LargeStore(files, servers[US].started, servers[MANY].started, results)
    finally:
        for server in servers.values():
            server.stop()
        remove(store)
        remove(few)


def _works(files: int) -> tuple[Workload, Workload]:
    return (
        Workload(
            "million",
            f"GET 4 KiB, 1,000 files of {files:,} stored",
            (MANY, US),
            fetching("4 KiB", 64),
            goals={US: 0.95},
            ours=MANY,
        ),
        Workload(
            "scattered",
            f"GET 4 KiB, {min(files, SCATTERED):,} files of {files:,} stored",
            (MANY, THEIRS),
            fetching("all over", 64),
            ours=MANY,
        ),
    )
