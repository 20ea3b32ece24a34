"""Where stored images are looked into, far away from the worker: `IImageDecoder` on a few processes.

In: an open blob. Out: nothing, a thumbnail, or an error. The bytes stream to a process that decodes them
behind bounds (`chamber`, `confinement`); of a hostile file the worker sees no more than a refusal.

Jobs run in turns between accounts (`fair_queue`), one of each account at a time; thumbnails leave one process
to uploads. Bytes that were refused lately are refused again without decoding (`refusals`). A cancelled job
leaves the queue, or its process is killed. Processes start when they are first needed, and stay. One that had
to be killed is replaced the next time.

Rejected: threads, which a decoder could take down with the worker; a queue without an end.
"""

from functools import partial
from importlib.util import find_spec
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from zope.interface import implementer

from filestored.errors import ImageRefused, NotAnImage, Overloaded
from filestored.images.blob_ids import content_hash
from filestored.images.decoder import sandbox
from filestored.images.decoder.fair_queue import FairQueue
from filestored.images.decoder.messages import Request
from filestored.images.decoder.process import DecoderProcess
from filestored.images.decoder.refusal_cache import RefusalCache
from filestored.images.decoder.resource_limits import ResourceLimits
from filestored.interfaces import IBlob, IImageDecoder, Thumbnail

MOST_BYTES = 512 * 1024 * 1024
"""Bytes of the largest file that is looked into; larger ones are sent away unseen."""

_log = Logger()


def available() -> bool:
    """Whether what decodes pictures is installed (the extra ``images``)."""
    return find_spec("PIL") is not None


@implementer(IImageDecoder)
class DecoderPool:
    """At most `processes` pictures are decoded at once, one of each account.

    `max_waiting` others wait, `max_waiting_each` of them for one account. `deadline` is how many seconds one
    may take, from its first byte on, before its process is killed.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        processes: int = 2,
        max_waiting: int = 128,
        max_waiting_each: int = 32,
        deadline: float = 60.0,
        bounds: ResourceLimits | None = None,
    ) -> None:
        self._reactor = reactor
        self._deadline = deadline
        self._bounds = bounds or ResourceLimits()
        self._queue = FairQueue(processes, max_waiting=max_waiting, max_waiting_each=max_waiting_each)
        self._refusals = RefusalCache()
        self._processes: set[DecoderProcess] = set()
        self._idle: list[DecoderProcess] = []
        self._stopped = False
        if absent := sandbox.missing():
            _log.warn(
                "images are decoded without {absent}, which this kernel lacks", absent=" and ".join(absent)
            )

    def verify(self, blob: IBlob, owner: str) -> "Deferred[None]":
        """See `IImageDecoder.verify`."""
        return Deferred.fromCoroutine(self._verify(blob, owner))

    def thumbnail(self, blob: IBlob, bounds: tuple[int, int], owner: str) -> "Deferred[Thumbnail]":
        """See `IImageDecoder.thumbnail`."""
        return Deferred.fromCoroutine(self._thumbnail(blob, bounds, owner))

    def stop(self) -> "Deferred[None]":
        """End all processes, and what they are at; fires when the last one is gone. For good."""
        self._stopped = True
        for process in self._processes:
            process.kill()
        return gatherResults([process.gone for process in self._processes]).addCallback(lambda _: None)

    async def _verify(self, blob: IBlob, owner: str) -> None:
        await self._submit(Request(blob.size), blob, owner)

    async def _thumbnail(self, blob: IBlob, bounds: tuple[int, int], owner: str) -> Thumbnail:
        made = await self._submit(Request(blob.size, bounds), blob, owner)
        if made is None:
            raise Overloaded
        return made

    async def _submit(self, job: Request, blob: IBlob, owner: str) -> Thumbnail | None:
        """Wait for a place, unless too many do. Raises as `IImageDecoder` says."""
        if job.size > MOST_BYTES:
            raise NotAnImage
        if self._stopped:
            raise Overloaded
        minor = job.box is not None
        key = (minor, content_hash(blob.digest))
        self._refusals.check(key)
        return await self._queue.run(owner, partial(self._decide, job, blob, key), minor=minor)

    async def _decide(self, job: Request, blob: IBlob, key: tuple[bool, str]) -> Thumbnail | None:
        """Decode, and remember a refusal; another job may have had the same bytes refused meanwhile."""
        self._refusals.check(key)
        try:
            return await self._run(job, blob)
        except ImageRefused as error:
            self._refusals.add(key, type(error))
            raise

    async def _run(self, job: Request, blob: IBlob) -> Thumbnail | None:
        if self._stopped:
            raise Overloaded
        try:
            process = self._idle.pop() if self._idle else self._start()
        except OSError:  # no descriptors or no processes are left
            raise Overloaded from None
        try:
            return await process.decode(job, blob)
        finally:
            if process.usable:
                self._idle.append(process)

    def _start(self) -> DecoderProcess:
        process = DecoderProcess(self._reactor, self._bounds, self._deadline)
        self._processes.add(process)
        process.gone.addCallback(lambda _: self._forget(process))
        return process

    def _forget(self, process: DecoderProcess) -> None:
        self._processes.discard(process)
        if process in self._idle:
            self._idle.remove(process)
