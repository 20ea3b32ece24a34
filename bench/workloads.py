"""Workloads: each is one row of the comparison, run by several servers alternately.

A run is one run of wrk, or one large upload. Uploads leave written bytes that are not on the disk yet, and
the next flush would pay for them: so a sync(2) follows each run, and its time is noted beside the run's.
"""

import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench import download_client, upload_client, wrk
from bench.files import KIB, MIB
from bench.request_mixes import EQUAL_HEADS, PROXIED_HEADS, Count, RequestMix, ranged_heads
from bench.servers.base import Server
from bench.statistics import Sample

Run = Callable[[Server, float], Sample]
"""Runs a workload on a server for about so many seconds."""

LARGE_UPLOAD_BYTES = 256 * MIB
"""Bytes of a large upload."""

FILESTORED = "filestored"
TWISTED_WEB = "twisted.web"
READERS = (FILESTORED, "nginx", "SeaweedFS", "copyparty")
WRITERS = (FILESTORED, "nginx", "SeaweedFS", "SeaweedFS, fsync", "copyparty")
FORMS = (FILESTORED, "SeaweedFS", "copyparty")
"""Servers that accept a form without blocking other requests."""
TWO_WORKERS = "filestored, 2 workers"
ACCESS_LOG = "filestored, access log"
FORM_UPLOAD = "filestored, a form"
TLS = "filestored, TLS"
NGINX_TLS = "nginx, TLS"

_uploads = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Workload:
    """One row: its name for ``--only``, its title, the servers it runs on, and how to run it.

    `unit` is what a rate counts per second. `goals` are the ratios that `ours` is to reach, by the other's
    name. The client leaves the cores of so many `workers` free.
    """

    name: str
    title: str
    servers: Sequence[str]
    run: Run
    goals: Mapping[str, float] = field(default_factory=dict)
    unit: str = "requests"
    workers: int = 1
    ours: str = FILESTORED


def download_requests(
    kind: str, connections: int, length: int = 4 * KIB, heads: Sequence[str] = EQUAL_HEADS
) -> Run:
    """GET of random files of a kind, on keep-alive connections; each response has a body of this length."""

    def run(server: Server, seconds: float) -> Sample:
        paths = [server.path(digest) for digest in server.served[kind]]
        fields = server.fields()
        load = RequestMix("GET", paths, connections, response=length, heads=heads, fields=fields)
        count, cpu = _run_wrk(server, load, seconds)
        return Sample(count.requests, count.seconds, cpu, count.errors)

    return run


def copied_downloads(kind: str, connections: int, length: int) -> Run:
    """GET of large files with wrk, which copies and decrypts them; the unit is MiB."""

    def run(server: Server, seconds: float) -> Sample:
        paths = [server.path(digest) for digest in server.served[kind]]
        count, cpu = _run_wrk(server, RequestMix("GET", paths, connections, response=length), seconds)
        return Sample(count.received / MIB, count.seconds, cpu, count.errors)

    return run


def downloads(kind: str, connections: int, heads: Sequence[str] = EQUAL_HEADS) -> Run:
    """GET of large files, with a client that does not copy them; the unit is MiB."""

    def run(server: Server, seconds: float) -> Sample:
        paths = [server.path(digest) for digest in server.served[kind]]
        load = RequestMix("GET", paths, connections, heads=heads)
        processes = server.processes
        before = processes.cpu()
        count = download_client.run(server.port, load, seconds)
        return Sample(count.received / MIB, count.seconds, processes.cpu() - before, count.errors)

    return run


def small_uploads(connections: int) -> Run:
    """Uploads of 4 KiB, no two of them the same."""

    def run(server: Server, seconds: float) -> Sample:
        method, targets = server.post()
        count, cpu = _run_wrk(server, RequestMix(method, targets, connections, body=4 * KIB), seconds)
        return with_sync_time(Sample(count.requests, count.seconds, cpu, count.errors))

    return run


def large_upload(form: bool) -> Run:
    """One large upload, however long it takes."""

    def run(server: Server, seconds: float) -> Sample:
        target = server.target(form, next(_uploads))
        assert target is not None, "the server supports this upload"
        processes, started = server.processes, time.monotonic()
        before = processes.cpu()
        status = upload_client.upload(server.port, target, LARGE_UPLOAD_BYTES)
        spent = time.monotonic() - started
        return with_sync_time(
            Sample(LARGE_UPLOAD_BYTES / MIB, spent, processes.cpu() - before, int(status not in (200, 201)))
        )

    return run


WORKLOADS = (
    Workload(
        "get-4k",
        "GET 4 KiB, 64 connections",
        (*READERS, TWISTED_WEB),
        download_requests("4 KiB", 64),
        goals={"nginx": 0.8, "SeaweedFS": 1.2, "copyparty": 4.0},
    ),
    Workload(
        "get-4k-heads",
        "GET 4 KiB, 64 connections, each head different",
        READERS,
        download_requests("4 KiB", 64, heads=PROXIED_HEADS),
        goals={"nginx": 0.4, "SeaweedFS": 1.5},
    ),
    Workload(
        "get-64k",
        "GET 64 KiB, 64 connections",
        READERS,
        downloads("64 KiB", 64),
        goals={"nginx": 0.7},
        unit="MiB",
    ),
    Workload(
        "get-64k-heads",
        "GET 64 KiB, 64 connections, each head different",
        READERS,
        downloads("64 KiB", 64, PROXIED_HEADS),
        goals={"nginx": 0.4},
        unit="MiB",
    ),
    Workload(
        "range-4k",
        "GET of a range of 4 KiB out of 1 MiB, 64 connections, each range different",
        READERS,
        download_requests("1 MiB", 64, heads=ranged_heads(4 * KIB, MIB)),
        goals={"nginx": 0.35},
    ),
    Workload(
        "get-1m",
        "GET 1 MiB, 16 connections",
        (*READERS, TWISTED_WEB),
        downloads("1 MiB", 16),
        goals={"nginx": 1.0},
        unit="MiB",
    ),
    Workload(
        "get-1m-wrk",
        "GET 1 MiB, 64 connections, read by wrk",
        READERS,
        copied_downloads("1 MiB", 64, MIB),
        goals={"nginx": 0.9},
        unit="MiB",
    ),
    Workload(
        "get-64m",
        "GET 64 MiB, 4 connections",
        READERS,
        downloads("64 MiB", 4),
        goals={"nginx": 1.0},
        unit="MiB",
    ),
    Workload(
        "tls-4k",
        "HTTPS GET 4 KiB, 64 connections",
        (TLS, NGINX_TLS),
        download_requests("4 KiB", 64),
        goals={NGINX_TLS: 0.3},
        ours=TLS,
    ),
    Workload(
        "tls-1m",
        "HTTPS GET 1 MiB, 16 connections, read by wrk",
        (TLS, NGINX_TLS),
        copied_downloads("1 MiB", 16, MIB),
        goals={NGINX_TLS: 0.6},
        unit="MiB",
        ours=TLS,
    ),
    Workload("post-16", "Upload of 4 KiB, 16 connections", WRITERS, small_uploads(16)),
    Workload(
        "post-64",
        "Upload of 4 KiB, 64 connections",
        (*WRITERS, TWISTED_WEB),
        small_uploads(64),
        goals={"nginx": 0.5, "copyparty": 2.0},
    ),
    Workload("post-256", "Upload of 4 KiB, 256 connections", WRITERS, small_uploads(256)),
    Workload(
        "big",
        "Upload of one 256 MiB file, raw",
        (*WRITERS, TWISTED_WEB),
        large_upload(form=False),
        goals={"nginx": 1.0},
        unit="MiB",
    ),
    Workload("form", "Upload of one 256 MiB file, as a form", FORMS, large_upload(form=True), unit="MiB"),
    Workload(
        "raw-form",
        "Upload of one 256 MiB file, as a form and raw",
        (FORM_UPLOAD, FILESTORED),
        large_upload(form=False),
        goals={FILESTORED: 0.9},
        unit="MiB",
        ours=FORM_UPLOAD,
    ),
    Workload(
        "log",
        "GET 4 KiB with the access log on",
        (ACCESS_LOG, FILESTORED),
        download_requests("4 KiB", 64),
        goals={FILESTORED: 0.9},
        ours=ACCESS_LOG,
    ),
    Workload(
        "get-2",
        "GET 4 KiB with 2 workers",
        (TWO_WORKERS, FILESTORED, "nginx, 2 workers", "nginx"),
        download_requests("4 KiB", 64),
        goals={FILESTORED: 1.7},
        workers=2,
        ours=TWO_WORKERS,
    ),
    Workload(
        "post-2",
        "Upload of 4 KiB, 64 connections, 2 workers",
        (TWO_WORKERS, FILESTORED),
        small_uploads(64),
        goals={FILESTORED: 1.7},
        workers=2,
        ours=TWO_WORKERS,
    ),
)
"""All workloads, in the order of the report."""


def _run_wrk(server: Server, load: RequestMix, seconds: float) -> tuple[Count, float]:
    """Return the counters of a run of wrk, and the seconds of CPU time of the server."""
    processes = server.processes
    before = processes.cpu()
    count = wrk.run(server.url, load, max(1, round(seconds)))
    return count, processes.cpu() - before


def with_sync_time(sample: Sample) -> Sample:
    """The sample, after a sync(2) whose time is added to it."""
    started = time.monotonic()
    os.sync()
    return replace(sample, sync_seconds=time.monotonic() - started)
