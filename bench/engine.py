"""filestored on an engine beside the engine's own S3 gateway: the same objects, the same clients.

SeaweedFS runs on the first core, below filestored as well as by itself. filestored runs on the second; the
client has the others, on a machine of two cores the second, too. filestored stores the files of the set,
and the gateway serves the very objects that it made.

Rejected: an engine for each of the two, whose disks and volumes would differ.
"""

import hashlib
import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from bench import upload_client
from bench.cleanup import remove
from bench.cpu_affinity import Cores, on
from bench.environment import Environment
from bench.files import FILE_KINDS, KIB, MIB
from bench.rounds import Log, Result, run_rounds
from bench.servers.base import Server, get
from bench.servers.seaweedfs_s3 import BUCKET, PREFIX, FilestoredOnEngine, Gateway
from bench.statistics import Sample
from bench.workloads import Run, Workload, download_requests, downloads, small_uploads, with_sync_time

KINDS: tuple[type[Server], ...] = (FilestoredOnEngine, Gateway)
OURS, GATEWAY = FilestoredOnEngine.name, Gateway.name
NAMES = (OURS, GATEWAY)

LARGE_BYTES = 64 * MIB
"""Bytes of a large upload."""

_numbers = itertools.count(1)


def large_uploads(connections: int) -> Run:
    """Uploads of `LARGE_BYTES`, one after the other on each connection, no two the same; the unit is MiB."""

    def run(server: Server, seconds: float) -> Sample:
        processes, started = server.processes, time.monotonic()
        before = processes.cpu()
        with ThreadPoolExecutor(connections) as threads:
            found = threads.map(_upload_until, [server] * connections, [started + seconds] * connections)
            statuses = [status for each in found for status in each]
        spent, cpu = time.monotonic() - started, processes.cpu() - before
        errors = sum(status not in (200, 201) for status in statuses)
        return with_sync_time(Sample(len(statuses) * LARGE_BYTES / MIB, spent, cpu, errors))

    return run


WORKLOADS = (
    Workload(
        "engine-get-4k",
        "GET 4 KiB, 64 connections",
        NAMES,
        download_requests("4 KiB", 64, 4 * KIB),
        goals={GATEWAY: 0.7},
        ours=OURS,
    ),
    Workload(
        "engine-get-1m",
        "GET 1 MiB, 16 connections",
        NAMES,
        downloads("1 MiB", 16),
        goals={GATEWAY: 0.9},
        unit="MiB",
        ours=OURS,
    ),
    Workload(
        "engine-get-64m",
        "GET 64 MiB, 4 connections",
        NAMES,
        downloads("64 MiB", 4),
        goals={GATEWAY: 0.9},
        unit="MiB",
        ours=OURS,
    ),
    Workload(
        "engine-post-4k",
        "Upload of 4 KiB, 64 connections",
        NAMES,
        small_uploads(64),
        goals={GATEWAY: 0.7},
        ours=OURS,
    ),
    Workload(
        "engine-post-4k-16",
        "Upload of 4 KiB, 16 connections",
        NAMES,
        small_uploads(16),
        ours=OURS,
    ),
    Workload(
        "engine-post-64m",
        "Upload of 64 MiB, 4 connections",
        NAMES,
        large_uploads(4),
        goals={GATEWAY: 0.8},
        unit="MiB",
        ours=OURS,
    ),
    Workload(
        "engine-post-64m-1",
        "Upload of 64 MiB, one at a time",
        NAMES,
        large_uploads(1),
        unit="MiB",
        ours=OURS,
    ),
)
"""The rows, in the order of the report."""


def compare(environment: Environment, *, rounds: int, seconds: float, log: Log) -> list[Result]:
    """Run all rows in interleaved rounds on both servers."""
    with running(environment) as (gateway, server):
        served = store_files(server)
        gateway.served = server.served = served
        log(f"  {sum(map(len, served.values())):,} files stored")
        servers = {GATEWAY: gateway, OURS: server}
        results = []
        for workload in WORKLOADS:
            log(workload.title)
            cores = behind_engine(environment.cores)
            results.append(run_rounds(workload, servers, cores, rounds=rounds, seconds=seconds, log=log))
        return results


@contextmanager
def running(environment: Environment) -> Iterator[tuple[Gateway, FilestoredOnEngine]]:
    """Start an engine, and filestored on it; stop both and remove their files at the end."""
    homes = [os.path.join(environment.path, name) for name in ("engine", "behind")]
    gateway = Gateway(homes[0], "", environment.cores)
    server = FilestoredOnEngine(homes[1], f"s3://{BUCKET}/{PREFIX}", behind_engine(environment.cores))
    try:
        gateway.start()
        server.engine = gateway
        server.start()
        yield gateway, server
    finally:
        server.stop()
        gateway.stop()
        for home in homes:
            remove(home)


def behind_engine(cores: Cores) -> Cores:
    """The cores of filestored and of the client: all but the engine's."""
    return Cores(cores.all[1:] or cores.all)


def store_files(server: Server) -> Mapping[str, Sequence[str]]:
    """Store the files of the set that the rows ask for; returns their digests by kind."""
    kinds = [kind for kind in FILE_KINDS if kind.name != "64 KiB"]
    with on(server.cores.for_client(1)):
        served = {kind.name: [_store(server, content) for content in kind.contents()] for kind in kinds}
    os.sync()
    return served


def _upload_until(server: Server, end: float) -> list[int]:
    """Upload until a time has come, at least once; returns the statuses."""
    statuses: list[int] = []
    while not statuses or time.monotonic() < end:
        target = server.target(False, next(_numbers))
        assert target is not None, "both servers support this upload"
        statuses.append(upload_client.upload(server.port, target, LARGE_BYTES))
    return statuses


def _store(server: Server, content: bytes) -> str:
    status, answer = get(server.port, "/", "POST", content)
    if status != 200:
        raise RuntimeError(f"{server.name} refused a file: {status} {answer!r}")
    return hashlib.sha256(content).hexdigest()
