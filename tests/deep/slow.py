"""P20: a slow disk does not freeze the other clients.

strace makes every flush of the daemon a second longer. Eight uploaders wait for theirs; the others read,
small files and large, and must not notice.
"""

import shutil
import threading
import time

from tests.daemon.running import Running
from tests.deep.bench import Bench, NotRunError, Verdict, connection, upload

DELAY = 1_000_000
FLUSHES = "fsync,fdatasync,syncfs"
MARK = 0.050


def prove(bench: Bench) -> Verdict:
    """The latency that 99 of 100 reads stay below, while every flush takes a second."""
    if not shutil.which("strace"):
        raise NotRunError("needs strace")
    injection = f"inject={FLUSHES}:delay_exit={DELAY}"
    wrap = (
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={FLUSHES}",
        "-e",
        injection,
    )
    daemon = bench.start("--workers", "1", wrap=wrap)
    digest = upload(daemon, b"read by others")
    over = threading.Event()
    uploads: list[float] = []
    threads = [threading.Thread(target=_upload, args=(daemon, seed, over, uploads)) for seed in range(8)]
    for thread in threads:
        thread.start()
    reads = sorted(_read_on(daemon, str(digest), bench.seconds))
    over.set()
    for thread in threads:
        thread.join()
    p99 = reads[int(len(reads) * 0.99)]
    figure = (
        f"p99 of {len(reads)} reads {1000 * p99:.1f} ms, {len(uploads)} uploads, fastest {min(uploads):.1f} s"
    )
    return Verdict(figure, p99 <= MARK and min(uploads) >= 1.0)


def _upload(daemon: Running, seed: int, over: threading.Event, record_latency: list[float]) -> None:
    number = 0
    while not over.is_set():
        number += 1
        began = time.monotonic()
        assert upload(daemon, f"{seed} {number}".encode())
        record_latency.append(time.monotonic() - began)


def _read_on(daemon: Running, digest: str, seconds: float) -> list[float]:
    """Return the duration of each read."""
    request = f"GET /files/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    record_latency, deadline = [], time.monotonic() + seconds
    with connection(daemon) as peer:
        while (began := time.monotonic()) < deadline:
            peer.sendall(request)
            assert peer.recv(65536).startswith(b"HTTP/1.1 200 ")
            record_latency.append(time.monotonic() - began)
            time.sleep(0.002)
    return record_latency
