"""The client: 1,000 files, one of 4 GiB beside curl, a broken line, and a server of version 0.3.0.

Throughput is compared in pairs of uploads, ``filestored put`` and ``curl -T``, each of which comes first in
every second pair; the figure is the median of their ratios. The proxy cuts a download of the large file
several times. Version 0.3.0 comes from the history of the repository.
"""

import contextlib
import hashlib
import os
import random
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable

import requests

from tests.client.cutting_proxy import CuttingProxy, Fault
from tests.command_line import run_filestored
from tests.daemon_process import ROOT, Running
from tests.deep.bench import Bench, NotRunError, Verdict
from tests.tools import find_tool

GIB = 1 << 30
MIB = 1 << 20
LARGE_BYTES = 4 * GIB
FILES = 1000
PAIRS = 7
MIN_RATIO = 0.9
CUTS = (GIB // 2, 10, GIB, 3 * MIB, GIB)
OLD_COMMIT = "be81596"
TIMEOUT = 900.0


def prove(bench: Bench) -> Verdict:
    """Ratio of the throughputs, and what went wrong elsewhere."""
    if find_tool("curl") is None:
        raise NotRunError("no curl")
    if shutil.disk_usage(bench.directory).free < 4 * LARGE_BYTES:
        raise NotRunError(f"less than {4 * LARGE_BYTES // GIB} GiB are free in {bench.directory}")
    daemon = bench.start("--workers", "2", name="new")
    failures = [*_many_files(bench, daemon), *_old_server(bench)]
    path = os.path.join(bench.directory, "large")
    digest = _write(path, LARGE_BYTES)
    ratio, figures = _compare(daemon, path, digest)
    failures += _broken_download(bench, daemon, path, digest)
    figure = f"{ratio:.2f} of curl's throughput ({figures}); {'; '.join(failures) or 'all bytes right'}"
    return Verdict(figure, ratio >= MIN_RATIO and not failures)


def _put(daemon_url: str, *words: str) -> "subprocess.CompletedProcess[str]":
    return run_filestored("put", *words, "--server", daemon_url, timeout=TIMEOUT)


def _write(path: str, size: int) -> str:
    """Write a file of random blocks; return its hash."""
    blocks = [os.urandom(MIB) for _ in range(64)]
    hasher = hashlib.sha256()
    with open(path, "wb") as file:
        for number in range(size // MIB):
            block = b"%16d" % number + blocks[number % 64][16:]
            hasher.update(block)
            file.write(block)
    return hasher.hexdigest()


def _many_files(bench: Bench, daemon: Running, count: int = FILES) -> list[str]:
    """Upload files of mixed sizes and download them; return what went wrong."""
    dice = random.Random(14)
    folder = os.path.join(bench.directory, "many")
    os.makedirs(folder, exist_ok=True)
    lines = []
    for number in range(count):
        data = dice.randbytes(dice.choice((0, 10, 4096, 65_536, 65_537, 300_000, 2 * MIB)))
        path = os.path.join(folder, str(number))
        with open(path, "wb") as file:
            file.write(data)
        lines.append(f"{hashlib.sha256(data).hexdigest()}  {path}\n")
    done = _put(daemon.url, *(line[66:-1] for line in lines))
    failures = []
    if (0, "", "".join(lines)) != (done.returncode, done.stderr, done.stdout):
        failures.append(f"put of {count} files: status {done.returncode}, {done.stderr[:200]}")
    with requests.Session() as session:
        found = {line[:64] for line in lines if _is_right(session, daemon, line[:64])}
    if missing := {line[:64] for line in lines} - found:
        failures.append(f"{len(missing)} of {count} files are not served")
    return failures


def _is_right(session: requests.Session, daemon: Running, digest: str) -> bool:
    content = session.get(f"{daemon.url}files/{digest}", timeout=TIMEOUT).content
    return hashlib.sha256(content).hexdigest() == digest


def _compare(daemon: Running, path: str, digest: str) -> tuple[float, str]:
    """Return the median ratio of the throughputs of the client and of curl, and both medians as text."""
    url = f"{daemon.url}files/{digest}"
    works: list[Callable[[], object]] = [
        lambda: _checked(_put(daemon.url, path)),
        lambda: _checked(subprocess.run(["curl", "-sSf", "-T", path, url], capture_output=True, check=False)),
    ]
    seconds: tuple[list[float], list[float]] = ([], [])
    for pair in range(PAIRS):
        for number in (0, 1) if pair % 2 else (1, 0):
            began = time.monotonic()
            works[number]()
            seconds[number].append(time.monotonic() - began)
            requests.delete(url, timeout=TIMEOUT).raise_for_status()
            os.sync()
    ratio = statistics.median(curl / put for put, curl in zip(*seconds, strict=True))
    put, curl = (LARGE_BYTES / MIB / statistics.median(each) for each in seconds)
    _checked(_put(daemon.url, path))
    return ratio, f"{put:.0f} and {curl:.0f} MiB/s"


def _checked(done: "subprocess.CompletedProcess[str] | subprocess.CompletedProcess[bytes]") -> None:
    assert 0 == done.returncode, done.stderr


def _broken_download(bench: Bench, daemon: Running, path: str, digest: str) -> list[str]:
    """Download the large file over connections that are cut; return what went wrong."""
    copy = os.path.join(bench.directory, "copy")
    with CuttingProxy(daemon.port, *(Fault(response_bytes=size) for size in CUTS)) as proxy:
        done = run_filestored("get", digest, "-o", copy, "--server", proxy.url, timeout=TIMEOUT)
        requests_sent = len(proxy.received)
    if (0, "", "") != (done.returncode, done.stdout, done.stderr):
        return [f"get over a broken line: status {done.returncode}, {done.stderr[:200]}"]
    if requests_sent != len(CUTS) + 1:
        return [f"get over a broken line: {requests_sent} requests"]
    same = subprocess.run(["cmp", path, copy], capture_output=True, check=False).returncode == 0
    os.unlink(copy)
    return [] if same else ["get over a broken line: other bytes"]


def _old_server(bench: Bench) -> list[str]:
    """Exchange files with a server of version 0.3.0; return what went wrong."""
    tree = os.path.join(bench.directory, "old-tree")
    os.makedirs(tree)
    archive = subprocess.run(["git", "-C", ROOT, "archive", OLD_COMMIT], capture_output=True, check=False)
    if archive.returncode:
        return [f"commit {OLD_COMMIT} is not in this clone: git fetch --unshallow"]
    subprocess.run(["tar", "-x", "-C", tree], input=archive.stdout, check=True)
    failures = []
    for name in ("sha256", "md5"):
        environment = {"PYTHONPATH": tree}
        words = ("--workers", "1", "--hash", name)
        daemon = bench.start(*words, name=f"old-{name}", hosts=(), environment=environment)
        assert "filestored 0.3.0" in daemon.log
        failures += [f"0.3.0 with {name}: {each}" for each in _exchange(bench, daemon, name)]
        daemon.end()
    return failures


def _exchange(bench: Bench, daemon: Running, algorithm: str) -> list[str]:
    """Upload a large and a small file, and a stream; download over a broken line; return what went wrong."""
    paths = [os.path.join(bench.directory, f"{algorithm}-{size}") for size in (64, 0)]
    for path, size in zip(paths, (64 * MIB, 0), strict=True):
        _write(path, size)
    lines = "".join(f"{_hash(path, algorithm)}  {path}\n" for path in paths)
    failures = []
    done = _put(daemon.url, *paths)
    if (0, lines, "") != (done.returncode, done.stdout, done.stderr):
        failures.append(f"put: {done}")
    with open(paths[0], "rb") as stream:
        done = run_filestored("put", "-", "--server", daemon.url, stdin=stream)
    if lines.split()[0] not in done.stdout:
        failures.append(f"put of a stream: {done}")
    copy = f"{paths[0]}-copy"
    with CuttingProxy(daemon.port, Fault(response_bytes=20 * MIB)) as proxy:
        done = run_filestored("get", lines.split()[0], "-o", copy, "--server", proxy.url)
    with contextlib.suppress(OSError):
        if _hash(copy, algorithm) == lines.split()[0]:
            return failures
    return [*failures, f"get: {done}"]


def _hash(path: str, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
