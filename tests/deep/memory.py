"""P22: memory does not depend on the size of what is uploaded, nor on how it is cut.

Sixteen uploads of 256 MiB at once, three ways: raw, as forms, and in chunks of 16 bytes (of which a
GiB would be 20 times as much framing, so fewer bytes go that way). The kernel remembers the most memory
each worker ever held (VmHWM); the mark is that, less what it held before.
"""

import os
import threading
from collections.abc import Callable, Iterator

from tests.daemon.running import Running, memory
from tests.deep.bench import Bench, Verdict, connection, processes, read_all

MIB = 1 << 20
UPLOADS = 16
SIZE = 256 * MIB
TINY_SIZE = 4 * MIB
MARK = 64 * MIB


def prove(bench: Bench) -> Verdict:
    """Peak of every worker above its baseline, for each way to upload."""
    figures, holds = [], True
    for name, body in (("raw", _raw), ("form", _form), ("16-byte chunks", _chunks)):
        rise, done = _measure(bench.start("--workers", "2", name=name), body)
        figures.append(f"{name} +{rise / MIB:.1f} MiB")
        holds = holds and rise <= MARK and done == UPLOADS
    return Verdict(f"{UPLOADS} at once: {', '.join(figures)}; the mark is +64 MiB", holds)


def _measure(daemon: Running, body: Callable[[int], Iterator[bytes]]) -> tuple[int, int]:
    """Return the maximum growth of a worker in bytes, and the number of acknowledged uploads."""
    baseline = {pid: _peak(pid) for pid in processes(daemon)}
    done: list[int] = []
    threads = [
        threading.Thread(target=_upload, args=(daemon, body(seed), done, seed)) for seed in range(UPLOADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rise = max(_peak(pid) - before for pid, before in baseline.items())
    daemon.end()
    return rise, len(done)


def _upload(daemon: Running, pieces: Iterator[bytes], done: list[int], seed: int) -> None:
    with connection(daemon, timeout=600) as peer:
        for piece in pieces:
            peer.sendall(piece)
        if read_all(peer).startswith(b"HTTP/1.1 200 "):
            done.append(seed)


def _head(*fields: str) -> bytes:
    return "\r\n".join(["POST / HTTP/1.1", "Host: x", "Connection: close", *fields, "", ""]).encode()


def _content(seed: int, size: int) -> Iterator[bytes]:
    yield b"%4d" % seed
    block = os.urandom(MIB)
    for _ in range(size // MIB):
        yield block


def _raw(seed: int) -> Iterator[bytes]:
    yield _head(f"Content-Length: {SIZE + 4}")
    yield from _content(seed, SIZE)


def _form(seed: int) -> Iterator[bytes]:
    opening = b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n'
    closing = b"\r\n--b--\r\n"
    length = len(opening) + SIZE + 4 + len(closing)
    yield _head("Content-Type: multipart/form-data; boundary=b", f"Content-Length: {length}") + opening
    yield from _content(seed, SIZE)
    yield closing


def _chunks(seed: int) -> Iterator[bytes]:
    yield _head("Transfer-Encoding: chunked")
    for piece in _content(seed, TINY_SIZE):
        yield b"".join(
            b"%x\r\n%b\r\n" % (len(part), part)
            for part in (piece[at : at + 16] for at in range(0, len(piece), 16))
        )
    yield b"0\r\n\r\n"


def _peak(pid: int) -> int:
    """The most resident memory a process ever had, in bytes."""
    return memory(pid, "VmHWM") * 1024
