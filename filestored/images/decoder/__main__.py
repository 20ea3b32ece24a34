"""Child process that decodes images: ``python -m filestored.images.decoder MEMORY SECONDS PIXELS``.

Flow: a `Request` on stdin -> its bytes into a file without a name -> a fork, which confines itself and
decodes -> a `Reply` on stdout. This process never parses the bytes that it copies. It loads Pillow once; each
image gets a fresh fork.

Any death of the fork counts as a refusal, except by SIGKILL; SIGXCPU shows the limit on processor time. When
stdin ends, the worker is dead, and this process and the fork end. Both share a session, so that the worker
can kill them with one killpg; SIGTERM, SIGINT, SIGHUP and SIGUSR1 are ignored.

Rejected: a new interpreter for each image, whose start takes 20 times longer than a fork.
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
from filestored.images.decoder.messages import INTERRUPT, MAX_LINE_BYTES, Reply, Request, Status
from filestored.images.decoder.pixel_limits import PixelLimits
from filestored.images.decoder.plugins import is_supported, prepare
from filestored.images.decoder.resource_limits import MAX_RESULT_BYTES, ResourceLimits, confine
from filestored.images.decoder.sandbox import forbid_new_privileges
from filestored.images.signatures import SNIFF_BYTES, sniff_media_type

_stdin = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115  # unbuffered: `_wait` polls it

COPY_BYTES = 256 * 1024
"""Size of a copied piece."""

_REFUSED = 1
_TOO_LARGE = 2
_NOT_CONFINED = 3
_TOO_COSTLY = 4
_STATUSES = {
    0: Status.DONE,
    _REFUSED: Status.REFUSED,
    _TOO_LARGE: Status.TOO_LARGE,
    _NOT_CONFINED: Status.UNDECIDED,
    _TOO_COSTLY: Status.TOO_COSTLY,
}
"""The status by the exit status of the fork."""


def main() -> None:
    """Serve requests until stdin ends."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    _lower_priority()
    forbid_new_privileges()
    limits = ResourceLimits(*map(int, sys.argv[1:4]))
    prepare(limits.pixels)
    while line := _stdin.readline(MAX_LINE_BYTES):
        if line != INTERRUPT:
            _serve(Request.from_line(line), limits)


def _lower_priority() -> None:
    """Set nice(5) and oom_score_adj 1000 in a session of its own."""
    os.setsid()
    with suppress(OSError):
        os.nice(5)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def _serve(job: Request, limits: ResourceLimits) -> None:
    pieces = _pieces(job.size)
    try:
        file = _spool(pieces)
    except OSError:
        for _ in pieces:
            pass  # the next request follows them
        _reply(Reply(Status.FULL))
        return
    media_type = _media_type(file)
    if media_type is not None and not is_supported(media_type):
        file.close()
        _reply(Reply(Status.UNSUPPORTED, media_type))
        return
    with file, open(os.memfd_create("thumbnail"), "r+b") as result:
        outcome = _decode_in_child(job, file, result, limits if job.box is None else limits.for_thumbnails())
        if outcome is not Status.DONE or job.box is None:
            _reply(Reply(outcome))
            return
        result.seek(0)
        media_type = result.readline(MAX_LINE_BYTES).decode("ascii").strip()
        data = result.read(MAX_RESULT_BYTES)
        _reply(Reply(outcome, media_type, len(data)), data)


def _pieces(size: int) -> Iterator[bytes]:
    """Yield the next `size` bytes from stdin. Exits at its end."""
    while size:
        piece = _stdin.read(min(size, COPY_BYTES))
        if not piece:
            raise SystemExit
        size -= len(piece)
        yield piece


def _spool(pieces: Iterator[bytes]) -> BinaryIO:
    """Return a file without a name that holds `pieces`. Raises `OSError`."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by the caller
    try:
        file.writelines(pieces)
        file.seek(0)
    except OSError:
        with suppress(OSError):
            file.close()
        raise
    return file


def _decode_in_child(job: Request, file: BinaryIO, result: BinaryIO, limits: ResourceLimits) -> Status:
    """Decode the file in a fork; return the status."""
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError:
        return Status.UNDECIDED
    if child == 0:
        _child_main(job, file, result, limits, parent)
    _wait(child)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) in _STATUSES:
        return _STATUSES[os.WEXITSTATUS(status)]
    return _status_of_death(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else Status.REFUSED


def _status_of_death(number: int) -> Status:
    """Return the status for a fork that was ended by a signal.

    SIGKILL comes from outside, as by the OOM killer: memory and time limits end a decoder in other ways.
    """
    known: dict[int, Status] = {signal.SIGKILL: Status.UNDECIDED, signal.SIGXCPU: Status.TOO_COSTLY}
    return known.get(number, Status.REFUSED)


def _wait(child: int) -> None:
    """Wait for the fork; kill it at an interrupt or the end of stdin. Exits at the latter."""
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


def _child_main(
    job: Request, file: BinaryIO, result: BinaryIO, limits: ResourceLimits, parent: int
) -> NoReturn:
    """Run in the fork: confine it, decode, exit with the status."""
    status = _NOT_CONFINED
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(nothing, number)
        confine(limits, parent, (file.fileno(), result.fileno()), threads=_needs_threads(file))
        status = _REFUSED
        _decode(job, file, result, PixelLimits(limits.pixels, limits.memory))
        status = 0
    except pillow.TOO_LARGE:
        status = _TOO_LARGE
    except pillow.TOO_COSTLY:
        status = _TOO_COSTLY
    finally:
        os._exit(status)


def _needs_threads(file: BinaryIO) -> bool:
    """Return whether the file may be a HEIC that can be decoded: libde265 always starts a thread."""
    return _media_type(file) == "image/heic" and is_supported("image/heic")


def _media_type(file: BinaryIO) -> str | None:
    """Return the media type by the first bytes."""
    return sniff_media_type(os.pread(file.fileno(), SNIFF_BYTES, 0))


def _decode(job: Request, file: BinaryIO, result: BinaryIO, limits: PixelLimits) -> None:
    if job.box is None:
        pillow.verify(file, limits)
        return
    media_type, data = pillow.thumbnail(file, *job.box, limits)
    result.write(media_type.encode("ascii") + b"\n" + data)
    result.flush()


def _reply(answer: Reply, data: bytes = b"") -> None:
    sys.stdout.buffer.write(answer.to_line() + data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
