"""Decoder process as the worker sees it: one child process and its current job.

In: a `Request` and its blob. The line and the bytes are written to the pipe; the blob is paused while the
pipe is full. Out: the `Thumbnail`, or an error. Only the reply is buffered, which is bounded.

A child that violates the protocol, exceeds the deadline, or loses its blob half-way is killed with its
process group. It is then no longer `usable`; the pool starts another. A cancelled job whose bytes have all
been written is interrupted and the child stays: a new one costs more than most images do.
"""

import os
import signal
import sys
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

import filestored
from filestored.errors import (
    DecodingTooCostly,
    FilestoredError,
    NotAnImage,
    Overloaded,
    StorageFull,
    TooManyPixels,
)
from filestored.images.decoder.messages import INTERRUPT, Reply, ReplyReader, Request, Status
from filestored.images.decoder.optional_formats import OPTIONAL_FORMATS
from filestored.images.decoder.resource_limits import ResourceLimits
from filestored.interfaces import IBlob, Thumbnail

ERRORS = {
    Status.REFUSED: NotAnImage,
    Status.TOO_LARGE: TooManyPixels,
    Status.TOO_COSTLY: DecodingTooCostly,
    Status.UNDECIDED: Overloaded,
    Status.UNSUPPORTED: NotAnImage,
    Status.FULL: StorageFull,
}
"""The error of each status but done."""

_INHERITED_VARIABLES = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR")
_Result = Thumbnail | None


class DecoderProcess(ProcessProtocol):
    """A child process that decodes one file after the other, each within `deadline` seconds."""

    transport: Any  # `IProcessTransport` does not say that it is a consumer

    def __init__(self, reactor: Any, limits: ResourceLimits, deadline: float) -> None:
        self.usable = True
        self.exited: Deferred[None] = Deferred()
        self._reactor = reactor
        self._deadline = deadline
        self._limits = limits
        self._reader = ReplyReader()
        self._answer: Deferred[_Result] | None = None
        arguments = [
            "-P",
            "-m",
            "filestored.images.decoder",
            str(limits.memory),
            str(limits.seconds),
            str(limits.pixels),
        ]
        reactor.spawnProcess(
            self,
            sys.executable,
            [sys.executable, *arguments],
            env=_environment(),
            childFDs={0: "w", 1: "r", 2: 2},
        )

    async def run(self, job: Request, blob: IBlob) -> _Result:
        """Run the job on the bytes of `blob`. Raises as `IImageDecoder` says; may be cancelled."""
        answer = self._answer = Deferred()
        self._reader = ReplyReader()
        timeout = self._reactor.callLater(self._deadline, self.kill)
        try:
            self.transport.write(job.to_line())
            await self._write_blob(blob)
            return await self._wait(answer)
        finally:
            self._answer = None
            if timeout.active():
                timeout.cancel()

    def kill(self) -> None:
        """Kill the process and its fork."""
        self.usable = False
        if self.transport.pid is None:
            return
        with suppress(ProcessLookupError):  # it may not have its own session yet
            os.killpg(self.transport.pid, signal.SIGKILL)
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def outReceived(self, data: bytes) -> None:
        """Parse the reply; kill the process for unexpected output."""
        if self._answer is None or self._answer.called:
            self.kill()
            return
        try:
            found = self._reader.feed(data)
        except ValueError:
            self.kill()
            return
        if found is not None:
            self._fire(*found)

    def processEnded(self, reason: Failure) -> None:
        """Fail the job in progress with `Overloaded`."""
        self.usable = False
        self.exited.callback(None)
        if self._answer is not None and not self._answer.called:
            self._answer.errback(Overloaded())

    async def _wait(self, answer: "Deferred[_Result]") -> _Result:
        """Return the result. When cancelled, interrupt the child and wait for its reply to that."""
        try:
            return await answer
        except CancelledError:
            interrupted: Deferred[_Result] = Deferred()
            self._answer = interrupted
            self.transport.write(INTERRUPT)
            try:
                await interrupted
            except CancelledError:
                self.kill()
            except FilestoredError:
                pass  # interrupted, or finished just before
            raise

    async def _write_blob(self, blob: IBlob) -> None:
        """Write the bytes. Raises `OSError`; if the process stops reading, the result of the job shows it."""
        try:
            await blob.produce(self.transport, 0, blob.size)
        except CancelledError:
            self.kill()
        except BaseException:
            if self._answer is not None:
                self._answer.addErrback(lambda _: None)  # the error raised here is more specific
            self.kill()
            raise

    def _fire(self, answer: Reply, data: bytes) -> None:
        assert self._answer is not None
        if answer.status in ERRORS:
            self._answer.errback(_error_of(answer, self._limits))
        else:
            self._answer.callback(Thumbnail(answer.media_type, data) if answer.media_type else None)


def _error_of(answer: Reply, limits: ResourceLimits) -> FilestoredError:
    """Return the error of a reply; the text of a limit names it."""
    text = {
        Status.TOO_LARGE: f"An image has up to 1,000 frames, of {limits.pixels:,} pixels each and "
        f"{2 * limits.pixels:,} pixels in all; a JPEG has up to {2 * limits.pixels:,}.",
        Status.TOO_COSTLY: f"Decoding this image takes more than {limits.memory // 2**20:,} MiB of memory or "
        f"{limits.seconds} s of processor time.",
    }.get(answer.status)
    if answer.status is Status.UNSUPPORTED:
        text = OPTIONAL_FORMATS[answer.media_type].refusal()
    return ERRORS[answer.status](text) if text else ERRORS[answer.status]()


def _environment() -> dict[str, str]:
    """Return the minimal environment in which Python finds the same sources, installed or not."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(filestored.__file__)))
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: os.environ[name] for name in _INHERITED_VARIABLES if name in os.environ}
    # One arena: each further one counts against the memory limit.
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "MALLOC_ARENA_MAX": "1"}
