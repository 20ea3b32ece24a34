"""Where stored images are looked into, far away from the worker: `IPictures` on a few processes.

In: an open blob. Out: nothing, a thumbnail, or an error. The bytes stream to a process that decodes them
behind bounds (`chamber`, `confinement`); of a hostile file the worker sees no more than a refusal.

A darkroom has a few places; who finds them taken waits, who finds too many waiting is sent away. Processes
start when they are first needed, and stay. One that had to be killed is replaced the next time.

Rejected: threads, which a decoder could take down with the worker; a queue without an end.
"""

from importlib.util import find_spec
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore, fail, gatherResults
from zope.interface import implementer

from filestored.errors import NotAnImage, Overloaded, UnusableSize
from filestored.images.confinement import Bounds
from filestored.images.jobs import Job
from filestored.images.picture_process import PictureProcess
from filestored.interfaces import IBlob, IPictures, Thumbnail

_Outcome = TypeVar("_Outcome")

LARGEST = 2048
"""Pixels of the longest side that a thumbnail may have."""

MOST_BYTES = 512 * 1024 * 1024
"""Bytes of the largest file that is looked into; larger ones are sent away unseen."""


def available() -> bool:
    """Whether what decodes pictures is installed (the extra ``images``)."""
    return find_spec("PIL") is not None


@implementer(IPictures)
class Darkroom:
    """At most `processes` pictures are looked into at once, and `queue` wait.

    `deadline` is how many seconds one may take, from its first byte on, before its process is killed.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        processes: int = 2,
        queue: int = 32,
        deadline: float = 60.0,
        bounds: Bounds | None = None,
    ) -> None:
        self._reactor = reactor
        self._queue = queue
        self._deadline = deadline
        self._bounds = bounds or Bounds()
        self._places = DeferredSemaphore(processes)
        self._processes: set[PictureProcess] = set()
        self._idle: list[PictureProcess] = []
        self._stopped = False

    def verify(self, blob: IBlob) -> "Deferred[None]":
        """See `IPictures.verify`."""
        return Deferred.fromCoroutine(self._verify(blob))

    def thumbnail(self, blob: IBlob, width: int | None, height: int | None) -> "Deferred[Thumbnail]":
        """See `IPictures.thumbnail`."""
        return Deferred.fromCoroutine(self._thumbnail(blob, width, height))

    def stop(self) -> "Deferred[None]":
        """End all processes, and what they are at; fires when the last one is gone. For good."""
        self._stopped = True
        for process in self._processes:
            process.kill()
        return gatherResults([process.gone for process in self._processes]).addCallback(lambda _: None)

    async def _verify(self, blob: IBlob) -> None:
        await self._enter(Job(blob.size), blob)

    async def _thumbnail(self, blob: IBlob, width: int | None, height: int | None) -> Thumbnail:
        made = await self._enter(Job(blob.size, box(width, height)), blob)
        if made is None:
            raise Overloaded
        return made

    async def _enter(self, job: Job, blob: IBlob) -> Thumbnail | None:
        """Wait for a place, unless too many do. Raises as `IPictures` says."""
        if job.size > MOST_BYTES:
            raise NotAnImage
        if self._stopped or len(self._places.waiting) >= self._queue:
            raise Overloaded
        return await self._places.run(self._develop, job, blob)

    def _develop(self, job: Job, blob: IBlob) -> "Deferred[Thumbnail | None]":
        if self._stopped:
            return fail(Overloaded())
        try:
            process = self._idle.pop() if self._idle else self._start()
        except OSError:  # no descriptors or no processes are left
            return fail(Overloaded())
        return Deferred.fromCoroutine(process.develop(job, blob)).addBoth(self._leave, process)

    def _start(self) -> PictureProcess:
        process = PictureProcess(self._reactor, self._bounds, self._deadline)
        self._processes.add(process)
        process.gone.addCallback(lambda _: self._forget(process))
        return process

    def _leave(self, outcome: _Outcome, process: PictureProcess) -> _Outcome:
        if process.usable:
            self._idle.append(process)
        return outcome

    def _forget(self, process: PictureProcess) -> None:
        self._processes.discard(process)
        if process in self._idle:
            self._idle.remove(process)


def box(width: int | None, height: int | None) -> tuple[int, int]:
    """The bounds of a thumbnail; a side that is not given may be as long as any. Raises `UnusableSize`."""
    if width is None and height is None:
        raise UnusableSize
    width, height = (LARGEST if side is None else side for side in (width, height))
    if not (1 <= width <= LARGEST and 1 <= height <= LARGEST):
        raise UnusableSize
    return width, height
