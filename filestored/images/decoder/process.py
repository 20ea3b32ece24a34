"""A worker's end of a chamber: the process, and the one job that it has.

In: a `Request` and the blob that it is about. The line and the bytes are written to the process, at its pace:
the blob is paused while the pipe is full. Out: the `Thumbnail`, or an error. Nothing is kept here but what
comes back, which is bounded.

A chamber that says anything unexpected, takes longer than the deadline, or loses its blob half-way,
is killed with all its family. It is then of no more use (`usable`), and somebody else has to start
another. A cancelled job whose bytes have all been written ends by an interrupt, and the chamber stays:
starting another costs more than most pictures do.
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
from filestored.errors import FilestoredError, NotAnImage, Overloaded, StorageFull, TooManyPixels
from filestored.images.decoder.messages import INTERRUPT, Reply, ReplyReader, Request, Status
from filestored.images.decoder.resource_limits import ResourceLimits
from filestored.interfaces import IBlob, Thumbnail

ERRORS = {
    Status.REFUSED: NotAnImage,
    Status.TOO_LARGE: TooManyPixels,
    Status.UNDECIDED: Overloaded,
    Status.FULL: StorageFull,
}
"""What each verdict other than done fails with."""

_KEPT = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR")
_Result = Thumbnail | None


class DecoderProcess(ProcessProtocol):
    """A chamber that looks into one file after the other. `deadline` for each is in seconds."""

    transport: Any  # of more kinds than `IProcessTransport` says: a consumer, too

    def __init__(self, reactor: Any, bounds: ResourceLimits, deadline: float) -> None:
        self.usable = True
        self.gone: Deferred[None] = Deferred()
        self._reactor = reactor
        self._deadline = deadline
        self._reader = ReplyReader()
        self._answer: Deferred[_Result] | None = None
        arguments = [
            "-P",
            "-m",
            "filestored.images.decoder",
            str(bounds.memory),
            str(bounds.seconds),
        ]
        reactor.spawnProcess(
            self,
            sys.executable,
            [sys.executable, *arguments],
            env=_environment(),
            childFDs={0: "w", 1: "r", 2: 2},
        )

    async def decode(self, job: Request, blob: IBlob) -> _Result:
        """Have the job done on the bytes of `blob`. Raises as `IImageDecoder` says; may be cancelled."""
        answer = self._answer = Deferred()
        self._reader = ReplyReader()
        patience = self._reactor.callLater(self._deadline, self.kill)
        try:
            self.transport.write(job.to_line())
            await self._deliver(blob)
            return await self._wait(answer)
        finally:
            self._answer = None
            if patience.active():
                patience.cancel()

    def kill(self) -> None:
        """End the process, and what it has forked."""
        self.usable = False
        if self.transport.pid is None:
            return
        with suppress(ProcessLookupError):  # it may not have its own session yet
            os.killpg(self.transport.pid, signal.SIGKILL)
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def outReceived(self, data: bytes) -> None:
        """Gather the answer; nothing comes unasked."""
        if self._answer is None or self._answer.called:
            self.kill()
            return
        try:
            found = self._reader.feed(data)
        except ValueError:
            self.kill()
            return
        if found is not None:
            self._settle(*found)

    def processEnded(self, reason: Failure) -> None:
        """It is no more; who still waits for it will have to come again."""
        self.usable = False
        self.gone.callback(None)
        if self._answer is not None and not self._answer.called:
            self._answer.errback(Overloaded())

    async def _wait(self, answer: "Deferred[_Result]") -> _Result:
        """The answer. When cancelled, end the work on it; the chamber answers that, too."""
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
                pass  # undecided, or decided just before
            raise

    async def _deliver(self, blob: IBlob) -> None:
        """Write the bytes. Raises `OSError`; when the process stops taking them the answer tells."""
        try:
            await blob.produce(self.transport, 0, blob.size)
        except CancelledError:
            self.kill()
        except BaseException:
            if self._answer is not None:
                self._answer.addErrback(lambda _: None)  # what is raised here says more
            self.kill()
            raise

    def _settle(self, answer: Reply, data: bytes) -> None:
        assert self._answer is not None
        if answer.verdict in ERRORS:
            self._answer.errback(ERRORS[answer.verdict]())
        else:
            self._answer.callback(Thumbnail(answer.media_type, data) if answer.media_type else None)


def _environment() -> dict[str, str]:
    """As little as an interpreter needs to find the same sources, installed or not."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(filestored.__file__)))
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # One arena: each further one would count against the bound on memory.
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "MALLOC_ARENA_MAX": "1"}
