"""Workloads: each is one row of the comparison, run by several servers alternately.

A turn is one run of wrk, or one large upload. Uploads leave written bytes that are not on the disk
yet, and the next flush would pay for them: so after each sample the disk is given the
time it needs, outside of the turn, and that time is noted as what the server owed.
"""

import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench import download_client, upload_client, wrk
from bench.files import KIB, MIB
from bench.request_mixes import Load
from bench.servers.base import Server
from bench.statistics import Sample

CommitBatch = Callable[[Server, float], Sample]
"""One turn of a server, for about so many seconds."""

BIG = 256 * MIB
"""Bytes of a large upload."""

US = "filestored"
STOCK = "twisted.web"
READERS = (US, "nginx", "SeaweedFS", "copyparty")
WRITERS = (US, "nginx", "SeaweedFS", "SeaweedFS, fsync", "copyparty")
FORMS = (US, "SeaweedFS", "copyparty")
"""Servers that take a form without blocking others."""
TWO = "filestored, 2 workers"
LOGGING = "filestored, access log"
FORM = "filestored, a form"

_uploads = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Workload:
    """One row: its name for ``--only``, its title, who does it, and how.

    `unit` is what a rate counts a second. `goals` are the ratios that `ours` is to reach, by the other's
    name. `workers` is for how many of them the client makes room.
    """

    name: str
    title: str
    who: Sequence[str]
    turn: CommitBatch
    goals: Mapping[str, float] = field(default_factory=dict)
    unit: str = "requests"
    workers: int = 1
    ours: str = US


def fetching(kind: str, connections: int) -> CommitBatch:
    """GET of files drawn at random from those of a kind, on connections that are kept."""

    def turn(server: Server, seconds: float) -> Sample:
        digests = server.served[kind]
        load = Load("GET", [server.path(digest) for digest in digests], connections)
        return _measured(server, load, seconds)

    return turn


def streaming(kind: str, connections: int) -> CommitBatch:
    """The same for large files, with a client that does not copy them; MiB are counted, not requests."""

    def turn(server: Server, seconds: float) -> Sample:
        load = Load("GET", [server.path(digest) for digest in server.served[kind]], connections)
        processes = server.processes
        before = processes.cpu()
        count = download_client.run(server.port, load, seconds)
        return Sample(count.received / MIB, count.seconds, processes.cpu() - before, count.errors)

    return turn


def storing(connections: int) -> CommitBatch:
    """Uploads of 4 KiB, no two of them the same."""

    def turn(server: Server, seconds: float) -> Sample:
        method, targets = server.post()
        return _settled(_measured(server, Load(method, targets, connections, 4 * KIB), seconds))

    return turn


def sending(form: bool) -> CommitBatch:
    """One large upload, whatever time it takes."""

    def turn(server: Server, seconds: float) -> Sample:
        target = server.target(form, next(_uploads))
        assert target is not None, "it is not asked for what it does not do"
        processes, started = server.processes, time.monotonic()
        before = processes.cpu()
        status = upload_client.upload(server.port, target, BIG)
        spent = time.monotonic() - started
        return _settled(Sample(BIG / MIB, spent, processes.cpu() - before, int(status not in (200, 201))))

    return turn


WORKS = (
    Workload(
        "get-4k",
        "GET 4 KiB, 64 connections",
        (*READERS, STOCK),
        fetching("4 KiB", 64),
        goals={"nginx": 0.6, "SeaweedFS": 1.2, "copyparty": 4.0},
    ),
    Workload(
        "get-64k",
        "GET 64 KiB, 64 connections",
        READERS,
        streaming("64 KiB", 64),
        goals={"nginx": 1.0},
        unit="MiB",
    ),
    Workload(
        "get-1m",
        "GET 1 MiB, 16 connections",
        (*READERS, STOCK),
        streaming("1 MiB", 16),
        goals={"nginx": 1.0},
        unit="MiB",
    ),
    Workload(
        "get-64m",
        "GET 64 MiB, 4 connections",
        READERS,
        streaming("64 MiB", 4),
        goals={"nginx": 1.0},
        unit="MiB",
    ),
    Workload("post-16", "Upload of 4 KiB, 16 connections", WRITERS, storing(16)),
    Workload(
        "post-64",
        "Upload of 4 KiB, 64 connections",
        (*WRITERS, STOCK),
        storing(64),
        goals={"nginx": 1.0, "copyparty": 2.0},
    ),
    Workload("post-256", "Upload of 4 KiB, 256 connections", WRITERS, storing(256)),
    Workload(
        "big",
        "Upload of one 256 MiB file, raw",
        (*WRITERS, STOCK),
        sending(form=False),
        goals={"nginx": 1.0},
        unit="MiB",
    ),
    Workload("form", "Upload of one 256 MiB file, as a form", FORMS, sending(form=True), unit="MiB"),
    Workload(
        "raw-form",
        "Upload of one 256 MiB file, as a form and raw",
        (FORM, US),
        sending(form=False),
        goals={US: 0.9},
        unit="MiB",
        ours=FORM,
    ),
    Workload(
        "log",
        "GET 4 KiB with the access log on",
        (LOGGING, US),
        fetching("4 KiB", 64),
        goals={US: 0.9},
        ours=LOGGING,
    ),
    Workload(
        "get-2",
        "GET 4 KiB with 2 workers",
        (TWO, US, "nginx, 2 workers", "nginx"),
        fetching("4 KiB", 64),
        goals={US: 1.7},
        workers=2,
        ours=TWO,
    ),
    Workload(
        "post-2",
        "Upload of 4 KiB, 64 connections, 2 workers",
        (TWO, US),
        storing(64),
        goals={US: 1.7},
        workers=2,
        ours=TWO,
    ),
)
"""All of them, in the order of the report."""


def _measured(server: Server, load: Load, seconds: float, *, stream: bool = False) -> Sample:
    processes = server.processes
    before = processes.cpu()
    count = wrk.run(server.port, load, max(1, round(seconds)))
    return Sample(count.requests, count.seconds, processes.cpu() - before, count.errors)


def _settled(sample: Sample) -> Sample:
    """The sample, after everything written so far has come to rest."""
    started = time.monotonic()
    os.sync()
    return replace(sample, owed=time.monotonic() - started)
