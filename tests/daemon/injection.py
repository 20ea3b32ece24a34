"""Delays injected by strace(1) into the system calls of a running daemon."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

FLUSHES = "fsync,fdatasync,syncfs"


@contextmanager
def delayed(pid: int, calls: str, seconds: float, output: str, *paths: str) -> Iterator[None]:
    """Delay these calls of a process, of all its threads, while the context lasts; strace writes to `output`.

    With `paths`, only calls that name exactly one of them, or a descriptor of it. At the end of the context
    the calls go on at once.
    """
    injection = f"inject={calls}:delay_enter={int(seconds * 1_000_000)}"
    words = ["strace", "-f", "-y", "-o", output, *[word for path in paths for word in ("-P", path)]]
    with subprocess.Popen([*words, "-e", injection, "-p", str(pid)], stderr=subprocess.PIPE) as tracer:
        assert tracer.stderr
        said = tracer.stderr.readline()
        assert b"attached" in said, said
        try:
            yield
        finally:
            tracer.kill()  # at SIGTERM it would wait for the delays
