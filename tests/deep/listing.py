"""A million files are listed, by pages, as lines and by ``ls``, in bounded memory, while others do not wait.

The files are empty and have random names: a list reads names and statuses only. A process of its own asks for
a file of 4 KiB all the time, on the only worker, while each list is read; the mark is the latency that 99 of
100 of these requests stay below. Another client begins to read the lines and stops.
"""

import hashlib
import http.client
import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from filestored.storage.disk.layout import prepare
from tests.access.wire.access_files import RIGHTS, Bucket, access_text, write_access
from tests.access.wire.clients import access_path
from tests.daemon_process import ROOT, Running, memory
from tests.deep.bench import Bench, Verdict, connection, processes, upload

FILES = 1_000_000
MARK_SECONDS = 0.050
MARK_MIB = 32
"""Maximum growth of the worker, and maximum memory of the command besides that of Python with its modules."""

PAUSE_SECONDS = 0.001
ACCESS = access_text(Bucket("default", RIGHTS))
NDJSON = {"Accept": "application/x-ndjson"}


def prove(bench: Bench) -> Verdict:
    """Number of files, duration, latency of others and memory, for each way to list."""
    os.makedirs(os.path.join(bench.directory, "daemon"))
    access = write_access(access_path(os.path.join(bench.directory, "daemon")), ACCESS)
    daemon = bench.start("--workers", "1", "--access", access)
    digest = str(upload(daemon, os.urandom(4096)))
    names = sorted({*_make_files(daemon.store, FILES), digest})
    (worker,) = processes(daemon)
    expected = _fingerprint(iter(names))
    before, figures, holds = memory(worker, "VmHWM"), [], True
    with connection(daemon) as idle:
        idle.sendall(b"GET /files/ HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n")
        for way, list_all in {"nothing": _wait, "pages": _pages, "lines": _lines, "ls": _command}.items():
            found, seconds, p99 = _measured(daemon, digest, list_all)
            figures.append(f"{way} {seconds:.0f} s, p99 {1000 * p99:.1f} ms")
            holds = holds and p99 <= MARK_SECONDS and found in (None, expected)
    rise = (memory(worker, "VmHWM") - before) / 1024
    ls = _peak_of_command(daemon.store) - _peak_of_command("--help")
    figures += [f"worker +{rise:.1f} MiB", f"ls +{ls:.1f} MiB"]
    return Verdict(f"{len(names):,} files: {', '.join(figures)}", holds and max(rise, ls) <= MARK_MIB)


def _make_files(store: str, count: int) -> list[str]:
    """Make empty files with random names; return the names."""
    prepare(store)
    dice = random.Random(14)
    names = [dice.randbytes(32).hex() for _ in range(count)]
    for name in names:
        os.close(os.open(f"{store}/{name[:2]}/{name}", os.O_WRONLY | os.O_CREAT, 0o440))
    return names


def _fingerprint(names: Iterator[str]) -> str:
    """Return the hash of all names in their order."""
    hasher = hashlib.sha256()
    for name in names:
        hasher.update(name.encode())
    return hasher.hexdigest()


def _measured(
    daemon: Running, digest: str, list_all: Callable[[Running], Iterator[str] | None]
) -> tuple[str | None, float, float]:
    """Return the fingerprint of a list, its duration, and the p99 of another client meanwhile."""
    ours, theirs = multiprocessing.Pipe()
    client = multiprocessing.Process(target=_ask, args=(daemon.port, digest, theirs))
    client.start()
    ours.recv()
    began = time.monotonic()
    names = list_all(daemon)
    found = None if names is None else _fingerprint(names)
    seconds = time.monotonic() - began
    ours.send("end")
    p99 = ours.recv()
    client.join()
    return found, seconds, p99


def _ask(port: int, digest: str, control: Connection) -> None:
    """Read one file on one connection until told to end; send the p99 of its latencies."""
    other = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    latencies = []
    while not control.poll():
        began = time.perf_counter()
        other.request("GET", f"/files/{digest}")
        answer = other.getresponse()
        assert (200, 4096) == (answer.status, len(answer.read()))
        latencies.append(time.perf_counter() - began)
        if len(latencies) == 10:
            control.send("begun")
        time.sleep(PAUSE_SECONDS)
    latencies.sort()
    control.send(latencies[int(0.99 * len(latencies))])


def _wait(daemon: Running) -> None:
    """List nothing, to compare."""
    time.sleep(5)


def _pages(daemon: Running) -> Iterator[str]:
    """Yield the names of all pages."""
    client = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
    after: str | None = ""
    while after is not None:
        client.request("GET", f"/files/?after={after}")
        page: dict[str, Any] = json.loads(client.getresponse().read())
        yield from (each["hash"] for each in page["files"])
        after = page["next"]


def _lines(daemon: Running) -> Iterator[str]:
    """Yield the names of all lines."""
    client = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
    client.request("GET", "/files/", headers=NDJSON)
    answer = client.getresponse()
    while line := answer.readline():
        yield json.loads(line)["hash"]


def _command(daemon: Running) -> Iterator[str]:
    """Yield the names that the command prints."""
    words = [sys.executable, "-m", "filestored.cli", "ls", daemon.store]
    with subprocess.Popen(words, env={**os.environ, "PYTHONPATH": ROOT}, stdout=subprocess.PIPE) as command:
        assert command.stdout is not None
        for line in command.stdout:
            yield line.decode().rstrip("\n")


def _peak_of_command(store: str) -> float:
    """Return the maximum memory of ``ls`` in MiB."""
    program = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    words = [sys.executable, "-c", program, sys.executable, "-m", "filestored.cli", "ls", store]
    environment = {**os.environ, "PYTHONPATH": ROOT}
    return int(subprocess.run(words, env=environment, stdout=subprocess.PIPE, check=True).stdout) / 1024
