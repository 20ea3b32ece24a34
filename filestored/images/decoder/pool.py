"""Pool of decoder processes: `IImageDecoder` for untrusted images.

In: an open blob. Out: nothing, a thumbnail, or an error. The bytes are streamed to a process that decodes
them within `resource_limits` and a `sandbox`; a hostile file leads to a refusal.

Accounts are scheduled fairly (`fair_queue`), one job of each at a time; thumbnails leave one process to
uploads. Refused bytes are refused again for a while without decoding (`refusal_cache`). A cancelled job
leaves the queue, or is interrupted. Processes start on first use and stay; a killed one is replaced on next
use.

Rejected: threads, in which a decoder could crash the worker; an unbounded queue.
"""

from functools import partial
from importlib.util import find_spec
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from zope.interface import implementer

from filestored.errors import ImageRefused, NotAnImage, Overloaded, TooLarge
from filestored.images.blob_ids import content_hash
from filestored.images.decoder import sandbox
from filestored.images.decoder.fair_queue import FairQueue
from filestored.images.decoder.messages import Request
from filestored.images.decoder.optional_formats import missing_formats
from filestored.images.decoder.process import DecoderProcess
from filestored.images.decoder.refusal_cache import RefusalCache
from filestored.images.decoder.resource_limits import ResourceLimits
from filestored.interfaces import IBlob, IImageDecoder, Thumbnail
from filestored.metrics.recorder import Recorder

MAX_FILE_BYTES = 512 * 1024 * 1024
"""Maximum size of a file to decode; larger ones are refused unread."""

_log = Logger()


def available() -> bool:
    """Return whether Pillow is installed (the extra ``images``)."""
    return find_spec("PIL") is not None


@implementer(IImageDecoder)
class DecoderPool:
    """Decodes at most `processes` images at once, one of each account.

    Up to `max_waiting` jobs wait, `max_waiting_each` of one account; beyond that `Overloaded`. A process is
    killed `deadline` seconds after the first byte of its job. `metrics` counts.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        processes: int = 2,
        max_waiting: int = 128,
        max_waiting_each: int = 32,
        deadline: float = 60.0,
        limits: ResourceLimits | None = None,
        metrics: Recorder | None = None,
    ) -> None:
        self._reactor = reactor
        self._metrics = metrics
        self._limits = limits or ResourceLimits()
        self._deadline = deadline
        self._queue = FairQueue(processes, max_waiting=max_waiting, max_waiting_each=max_waiting_each)
        self._refusals = RefusalCache()
        self._processes: set[DecoderProcess] = set()
        self._idle: list[DecoderProcess] = []
        self._stopped = False
        self._missing_formats = missing_formats()
        if absent := sandbox.missing():
            _log.warn(
                "images are decoded without {absent}, which this kernel lacks", absent=" and ".join(absent)
            )

    def verify(self, blob: IBlob, owner: str) -> "Deferred[None]":
        """See `IImageDecoder.verify`."""
        return Deferred.fromCoroutine(self._verify(blob, owner))

    def check_format(self, media_type: str) -> None:
        """See `IImageDecoder.check_format`."""
        if media_type == "image/x-exr":
            raise NotAnImage("OpenEXR images are not decoded by this server.")
        if media_type in self._missing_formats:
            raise NotAnImage(self._missing_formats[media_type])

    def thumbnail(self, blob: IBlob, bounds: tuple[int, int], owner: str) -> "Deferred[Thumbnail]":
        """See `IImageDecoder.thumbnail`."""
        return Deferred.fromCoroutine(self._thumbnail(blob, bounds, owner))

    def stop(self) -> "Deferred[None]":
        """Kill all processes for good; fires when the last one has exited."""
        self._stopped = True
        for process in self._processes:
            process.kill()
        return gatherResults([process.exited for process in self._processes]).addCallback(lambda _: None)

    async def _verify(self, blob: IBlob, owner: str) -> None:
        await self._submit(Request(blob.size), blob, owner)

    async def _thumbnail(self, blob: IBlob, bounds: tuple[int, int], owner: str) -> Thumbnail:
        made = await self._submit(Request(blob.size, bounds), blob, owner)
        if made is None:
            raise Overloaded
        return made

    async def _submit(self, job: Request, blob: IBlob, owner: str) -> Thumbnail | None:
        """Queue a job. Raises as `IImageDecoder` says."""
        if job.size > MAX_FILE_BYTES:
            raise TooLarge.than(MAX_FILE_BYTES)
        if self._stopped:
            raise Overloaded
        minor = job.box is not None
        key = (minor, content_hash(blob.digest))
        self._refusals.check(key)
        return await self._queue.run(owner, partial(self._run_unless_refused, job, blob, key), minor=minor)

    async def _run_unless_refused(self, job: Request, blob: IBlob, key: tuple[bool, str]) -> Thumbnail | None:
        """Run a job and cache a refusal; another job may have cached one for the same bytes meanwhile."""
        self._refusals.check(key)
        try:
            return await self._run(job, blob)
        except ImageRefused as error:
            self._refusals.add(key, error)
            raise

    async def _run(self, job: Request, blob: IBlob) -> Thumbnail | None:
        if self._stopped:
            raise Overloaded
        try:
            process = self._idle.pop() if self._idle else self._start()
        except OSError:  # no descriptors or no processes are left
            raise Overloaded from None
        try:
            made = await process.run(job, blob)
        finally:
            if process.usable:
                self._idle.append(process)
        if self._metrics is not None:
            self._metrics.image_decoded()
        return made

    def _start(self) -> DecoderProcess:
        process = DecoderProcess(self._reactor, self._limits, self._deadline)
        self._processes.add(process)
        process.exited.addCallback(lambda _: self._remove(process))
        return process

    def _remove(self, process: DecoderProcess) -> None:
        self._processes.discard(process)
        if process in self._idle:
            self._idle.remove(process)
