"""Upload of all files of a form, in order.

Up to `MAX_HELD_FILES` files that have arrived are held, each as an upload that is not committed. So a form of
that many files is stored whole, or nothing of it. When one more file begins, the held ones are committed
together, which shares flushes, and the form waits meanwhile: its producer is paused, and what has arrived is
parsed afterwards. So memory and descriptors of a form are bounded, whatever the number of its files.

Rejected: holding all files until the form ends, which takes up to 1,000 descriptors for each client.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import cast

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.interfaces import IUpload, UploadResult
from filestored.settings import MAX_HELD_FILES
from filestored.web.forms.multipart_parser import MultipartParser
from filestored.web.forms.part_head import PartHead


class SharedProducer:
    """A push producer for several consumers: paused while any of them has paused it."""

    producer: IPushProducer | None = None

    def __init__(self) -> None:
        self._pausing: set[object] = set()

    def pause(self, consumer: object) -> None:
        """Pause the producer for `consumer`."""
        if self.producer is not None and not self._pausing:
            self.producer.pauseProducing()
        self._pausing.add(consumer)

    def resume(self, consumer: object) -> None:
        """Resume the producer, unless another consumer has paused it."""
        if consumer in self._pausing:
            self._pausing.remove(consumer)
            if self.producer is not None and not self._pausing:
                self.producer.resumeProducing()


@implementer(IPushProducer)
class _UploadProducer:
    """The shared producer, as one upload sees it."""

    def __init__(self, shared: SharedProducer) -> None:
        self._shared = shared

    def pauseProducing(self) -> None:
        self._shared.pause(self)

    def resumeProducing(self) -> None:
        self._shared.resume(self)

    def stopProducing(self) -> None:
        if self._shared.producer is not None:
            self._shared.producer.stopProducing()


@implementer(IConsumer)
class AllFiles:
    """The consumer of a form: `write` its bytes, await `finish`, then `commit`; or `abort`.

    `start_upload` starts the upload of a file.
    """

    def __init__(self, start_upload: Callable[[], IUpload], parser: MultipartParser) -> None:
        self._start_upload = start_upload
        self._parser = parser
        self._shared = SharedProducer()
        self._events: Iterator[PartHead | bytes] = iter(())
        self._held: list[IUpload] = []
        self._stored: list[UploadResult] = []
        self._busy = False
        self._room: Deferred[None] | None = None
        self._aborted = False
        self._error: Exception | None = None
        # Started before the first byte, so that a full or faulty disk refuses the form at once.
        self._next: IUpload | None = start_upload()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Register the push producer of the form, which uploads pause."""
        self._shared.producer = cast("IPushProducer", producer)  # bodies are push producers

    def unregisterProducer(self) -> None:
        """Unregister the producer, after its last byte."""
        self._shared.producer = None

    def write(self, data: bytes) -> None:
        """Parse the next bytes. Raises errors of uploads, `TooLarge`, or `HTTPError`."""
        if self._error is not None:
            raise self._error
        events = self._parser.parse(data)
        self._events = chain(self._events, events) if self._busy else events
        if not self._busy and not self._store_files():
            self._busy = True
            self._shared.pause(self)
            self._room = Deferred.fromCoroutine(self._make_room())

    async def finish(self) -> None:
        """End the form, once all of it is parsed. Raises as `write`, and `HTTPError` if it is incomplete."""
        if self._room is not None:
            await self._room
        if self._error is not None:
            raise self._error
        self._parser.finish()

    async def commit(self) -> list[UploadResult]:
        """Commit the held files; return the results of all files. Raises errors of uploads."""
        await self._commit_held()
        return self._stored

    def abort(self) -> None:
        """Discard all files that are not committed. Idempotent."""
        self._aborted = True
        for upload in (*self._held, *([self._next] if self._next is not None else [])):
            upload.abort()

    def _store_files(self) -> bool:
        """Write files to uploads; return False at a file for which the held ones must be committed."""
        for event in self._events:
            if type(event) is bytes:
                self._held[-1].write(event)
            elif len(self._held) < MAX_HELD_FILES:
                self._start_file()
            else:
                return False
        self._events = iter(())
        return True

    def _start_file(self) -> None:
        if self._held:
            self._held[-1].spill()
        upload, self._next = self._next or self._start_upload(), None
        self._held.append(upload)
        upload.registerProducer(_UploadProducer(self._shared), True)

    async def _make_room(self) -> None:
        """Commit the held files and parse what waits, until all is parsed; then resume the producer."""
        try:
            await self._commit_held()
            while not self._aborted:
                self._start_file()
                if self._store_files():
                    break
                await self._commit_held()
        except Exception as error:
            self._error = error.with_traceback(None)  # its frames hold the bytes, and are part of a cycle
            self._events = iter(())
        self._busy = False
        self._shared.resume(self)

    async def _commit_held(self) -> None:
        """Commit the held files together. Raises the first error, after all have ended."""
        held = list(self._held)
        results = await DeferredList([upload.commit() for upload in held], consumeErrors=True)
        self._held.clear()
        for _, result in results:
            if isinstance(result, Failure):
                result.raiseException()
            self._stored.append(result)
