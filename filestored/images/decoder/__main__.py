"""Child process that decodes images: ``python -m filestored.images.decoder MEMORY SECONDS``.

Flow: a `Request` on stdin -> its bytes into a file without a name -> a fork, which goes behind the bounds
and decodes -> an `Reply` on stdout. This process itself never looks at a byte of what it copies. Pillow is
loaded once, here; each picture still gets a process that has seen no other.

The fork can die of anything, which is an answer. When stdin ends our worker is no more, and so are
we, and the fork. The family has a session of its own, so that the worker can end it with one signal;
the polite signals are ignored, for it is the worker that decides when work ends.

Rejected: a new interpreter for each picture, which takes 20 times longer to be ready than the fork.
"""

import os
import select
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, NoReturn

from filestored.images.decoder import pillow
from filestored.images.decoder.messages import INTERRUPT, MOST_LINE, Reply, Request, Status
from filestored.images.decoder.resource_limits import RESULT, ResourceLimits, confine
from filestored.images.decoder.sandbox import forbid_new_privileges

_stdin = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115  # unbuffered: `_wait` polls it

PIECE = 256 * 1024
"""Bytes that are copied at a time."""

_REFUSED = 1
_TOO_LARGE = 2
_UNCONFINED = 3
_VERDICTS = {
    0: Status.DONE,
    _REFUSED: Status.REFUSED,
    _TOO_LARGE: Status.TOO_LARGE,
    _UNCONFINED: Status.UNDECIDED,
}
"""The verdict by the exit status of the fork."""


def main() -> None:
    """Serve jobs until stdin ends."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    _give_way()
    forbid_new_privileges()
    bounds = ResourceLimits(*map(int, sys.argv[1:3]))
    pillow.prepare()
    while line := _stdin.readline(MOST_LINE):
        if line != INTERRUPT:
            _serve(Request.from_line(line), bounds)


def _give_way() -> None:
    """Let the kernel prefer anybody else, for the processor and for being alive, where we may say so."""
    os.setsid()
    with suppress(OSError):
        os.nice(5)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def _serve(job: Request, bounds: ResourceLimits) -> None:
    pieces = _pieces(job.size)
    try:
        file = _spool(pieces)
    except OSError:
        for _ in pieces:
            pass  # the next job begins behind them
        _reply(Reply(Status.FULL))
        return
    with file, open(os.memfd_create("thumbnail"), "r+b") as result:
        verdict = _develop(job, file, result, bounds)
        if verdict is not Status.DONE or job.box is None:
            _reply(Reply(verdict))
            return
        result.seek(0)
        media_type = result.readline(MOST_LINE).decode("ascii").strip()
        data = result.read(RESULT)
        _reply(Reply(verdict, media_type, len(data)), data)


def _pieces(size: int) -> Iterator[bytes]:
    """The next `size` bytes from stdin. Without them there is nobody left to work for."""
    while size:
        piece = _stdin.read(min(size, PIECE))
        if not piece:
            raise SystemExit
        size -= len(piece)
        yield piece


def _spool(pieces: Iterator[bytes]) -> BinaryIO:
    """A file without a name that consists of `pieces`. Raises `OSError`."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the caller's, unless this fails
    try:
        file.writelines(pieces)
        file.seek(0)
    except OSError:
        with suppress(OSError):
            file.close()
        raise
    return file


def _develop(job: Request, file: BinaryIO, result: BinaryIO, bounds: ResourceLimits) -> Status:
    """Look into the file in a process of its own, and say how that ended."""
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError:
        return Status.UNDECIDED
    if child == 0:
        _in_the_dark(job, file, result, bounds, parent)
    _wait(child)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) in _VERDICTS:
        return _VERDICTS[os.WEXITSTATUS(status)]
    # Nobody kills a decoder that is alone to blame: memory and time end in other ways.
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return Status.UNDECIDED if killed else Status.REFUSED


def _wait(child: int) -> None:
    """Wait for the fork; end it at an interrupt or the end of stdin, and this process at the latter."""
    handle = os.pidfd_open(child)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.register(0, select.POLLIN)
        if any(ready == 0 for ready, _ in poll.poll()):
            os.kill(child, signal.SIGKILL)
            if _stdin.read(len(INTERRUPT)) != INTERRUPT:
                raise SystemExit
    finally:
        os.close(handle)


def _in_the_dark(
    job: Request, file: BinaryIO, result: BinaryIO, bounds: ResourceLimits, parent: int
) -> NoReturn:
    """The life of the fork."""
    status = _UNCONFINED
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(nothing, number)
        confine(bounds, parent, (file.fileno(), result.fileno()))
        status = _REFUSED
        if job.box is None:
            pillow.verify(file)
        else:
            media_type, data = pillow.thumbnail(file, *job.box)
            result.write(media_type.encode("ascii") + b"\n" + data)
            result.flush()
        status = 0
    except pillow.TOO_LARGE:
        status = _TOO_LARGE
    finally:
        os._exit(status)


def _reply(answer: Reply, data: bytes = b"") -> None:
    sys.stdout.buffer.write(answer.to_line() + data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
