"""Memory of a worker on an object store: 64 uploads of 256 MiB at once, then 100 slow readers.

The uploads have 4 contents, each sent 16 times, so that the engine needs little space; the spool needs that
of all uploads. Half of them are forms. What they take has to be given back to the file system. The readers
take 1 KiB/s each of an object of 64 MiB.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.daemon_process import Running, memory, until
from tests.deep.bench import Bench, NotRunError, Verdict, connection, read_all
from tests.deep.engine import engine, spool_of, start_on
from tests.engine_daemons import spooled
from tests.http_clients.blocking import request_head

MIB = 1 << 20
UPLOADS = 64
CONTENTS = 4
SIZE = 256 * MIB
MARK = 64 * MIB
READERS = 100
READ_SIZE = 64 * MIB
READ_SECONDS = 15
READER_MARK = 2 * MIB
KINDS = ("RssAnon", "RssFile", "RssShmem")


def prove(bench: Bench) -> Verdict:
    """Growth of the worker for each load, and the space of the spool that was not given back."""
    needed = UPLOADS * SIZE * 2
    if _free(bench.directory) < needed:
        raise NotRunError(f"needs {needed >> 30} GiB of disk, for spool and engine")
    with engine(bench) as server:
        daemon = start_on(bench, server.make_prefix(), "--max-size", str(SIZE + MIB))
        uploads, uploads_hold = _upload_all(bench, daemon)
        readers, readers_hold = _read_slowly(daemon)
        daemon.end()
    return Verdict(f"{uploads}; {readers}", uploads_hold and readers_hold)


# --- uploads ---------------------------------------------------------------------------------


def _upload_all(bench: Bench, daemon: Running) -> tuple[str, bool]:
    began, answers = time.monotonic(), []
    spool = spool_of(bench)
    blocks_before = _spool_bytes(daemon)
    with _peaks(daemon) as rise:
        threads = [
            threading.Thread(target=_upload, args=(daemon, number, answers)) for number in range(UPLOADS)
        ]
        for thread in threads:
            thread.start()
        spooled_bytes = 0
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.2)
            spooled_bytes = max(spooled_bytes, _spool_bytes(daemon))
    until(lambda: _spool_bytes(daemon) <= blocks_before, "the spool is given back")
    done = sum(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
    hashes = {answer.rpartition(b"\r\n\r\n")[2] for answer in answers}
    figure = (
        f"{done} of {UPLOADS} uploads in {time.monotonic() - began:.0f} s, {len(hashes)} contents, "
        f"up to {spooled_bytes / MIB:.0f} MiB in the spool, {len(spooled(spool))} files left: {_text(rise)}"
    )
    return figure, done == UPLOADS and rise["RssAnon"] <= MARK and not spooled(spool) and spooled_bytes > 0


def _upload(daemon: Running, number: int, answers: list[bytes]) -> None:
    content = number % CONTENTS
    opening = b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n'
    closing = b"\r\n--b--\r\n"
    if number // CONTENTS % 2:
        opening, closing, kind = b"", b"", "application/octet-stream"
    else:
        kind = "multipart/form-data; boundary=b"
    length = len(opening) + SIZE + len(closing)
    head = (
        f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}"
    )
    with connection(daemon, timeout=900) as peer:
        peer.sendall(head.encode() + b"\r\n\r\n" + opening)
        block = bytes([content]) * MIB
        for _ in range(SIZE // MIB):
            peer.sendall(block)
        peer.sendall(closing)
        answers.append(read_all(peer))


def _spool_bytes(daemon: Running) -> int:
    """Return the bytes of the nameless files that a daemon has open."""
    sizes = {}
    for number in os.listdir(f"/proc/{daemon.pid}/fd"):
        path = f"/proc/{daemon.pid}/fd/{number}"
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if "/spool/" in os.readlink(path):
                found = os.stat(path)
                sizes[found.st_ino] = found.st_blocks * 512
    return sum(sizes.values())


# --- slow readers ----------------------------------------------------------------------------


def _read_slowly(daemon: Running) -> tuple[str, bool]:
    with connection(daemon) as peer:
        peer.sendall(request_head("/", "Connection: close", f"Content-Length: {READ_SIZE}", method="POST"))
        for number in range(READ_SIZE // MIB):
            peer.sendall(bytes([number]) * MIB)
        digest = read_all(peer).rpartition(b"\r\n\r\n")[2].decode()
    with _peaks(daemon) as rise, ExitStack() as readers:
        peers = [readers.enter_context(connection(daemon)) for _ in range(READERS)]
        for peer in peers:
            peer.sendall(request_head(f"/files/{digest}"))
        started = sum(peer.recv(13) == b"HTTP/1.1 200 " for peer in peers)
        for _ in range(READ_SECONDS):
            time.sleep(1.0)
            started -= sum(not _read_some(peer) for peer in peers)
    each = (rise["RssAnon"] + rise["RssShmem"]) / READERS
    figure = f"{started} slow readers, {each / MIB:.2f} MiB each: {_text(rise)}"
    return figure, started == READERS and each <= READER_MARK


def _read_some(peer: socket.socket) -> bool:
    return bool(peer.recv(1024))


# --- memory and disk -------------------------------------------------------------------------


@contextmanager
def _peaks(daemon: Running) -> Iterator[dict[str, int]]:
    """Measure the growth of each kind of memory while the context lasts, in bytes, 20 times a second."""
    before = {kind: memory(daemon.pid, kind) for kind in KINDS}
    rise = dict.fromkeys(KINDS, 0)
    over = threading.Event()

    def measure() -> None:
        while not over.wait(0.05):
            for kind in KINDS:
                rise[kind] = max(rise[kind], (memory(daemon.pid, kind) - before[kind]) * 1024)

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        yield rise
    finally:
        over.set()
        thread.join()


def _text(rise: dict[str, int]) -> str:
    return ", ".join(f"{kind} +{size / MIB:.1f} MiB" for kind, size in rise.items())


def _free(directory: str) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
