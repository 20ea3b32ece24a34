"""Verification of the digests announced with a form, which cover the encoded form (RFC 9530 section 2).

In: the bytes of the form. Out: the same bytes, to the parser of the form. A thread of the reactor's pool
hashes them, one job of `CHUNK_BYTES` at a time. While as many again wait, the producer is paused. Only the
last bytes, up to `MAX_INLINE_BYTES`, are hashed in the reactor's thread.

Rejected: to ignore the digests; the client asked for a check.
"""

from collections.abc import Callable, Iterable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.digest import Digest, Hasher, algorithm
from filestored.errors import DigestMismatch

CHUNK_BYTES = 256 * 1024
"""Minimum size of a job, and number of waiting bytes that pauses the producer."""

MAX_INLINE_BYTES = 64 * 1024
"""Maximum number of bytes that are hashed in the reactor's thread."""

Run = Callable[[Callable[[], None]], "Deferred[None]"]
"""Calls a function in another thread, and fires in the reactor's."""


@implementer(IConsumer, IPushProducer)
class DigestCheck:
    """A consumer that passes all bytes on to `consumer`, and compares their digests in `finish`."""

    def __init__(self, consumer: IConsumer, digests: Iterable[Digest], run: Run = deferToThread) -> None:
        self._consumer = consumer
        self._hashers = [(digest, algorithm(digest.algorithm).new()) for digest in digests]
        self._run = run
        self._buffer = bytearray()
        self._running = False
        self._idle: Deferred[None] | None = None
        self._failure: Failure | None = None
        self._producer: IPushProducer | None = None
        self._paused_by_consumer = False
        self._paused = False

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Register this as producer of the consumer, so that both can pause the push producer."""
        self._producer = cast("IPushProducer", producer)  # bodies are push producers
        self._consumer.registerProducer(self, streaming)

    def unregisterProducer(self) -> None:
        """Unregister the producer, after its last byte."""
        self._producer = None
        self._consumer.unregisterProducer()

    def write(self, data: bytes) -> None:
        """Pass bytes on, and buffer them for hashing. Raises errors of the consumer or of a job."""
        if self._failure is not None:
            self._failure.raiseException()
        self._consumer.write(data)
        self._buffer += data
        self._pump()
        self._throttle()

    async def finish(self) -> None:
        """Hash the remaining bytes. Raises `DigestMismatch` for digests other than the announced ones."""
        while self._running or len(self._buffer) > MAX_INLINE_BYTES:
            if not self._running:
                self._start()
            if self._running:
                self._idle = Deferred()
                await self._idle
            if self._failure is not None:
                self._failure.raiseException()
        _update(self._hashers, self._buffer)
        if any(bytes.fromhex(digest.hex) != hasher.digest() for digest, hasher in self._hashers):
            raise DigestMismatch

    # --- IPushProducer, towards the consumer --------------------------------------------------

    def pauseProducing(self) -> None:
        """Pause the producer for the consumer."""
        self._paused_by_consumer = True
        self._throttle()

    def resumeProducing(self) -> None:
        """Resume the producer, unless too many bytes wait for hashing."""
        self._paused_by_consumer = False
        self._throttle()

    def stopProducing(self) -> None:
        """Stop the producer, which must not write any more."""
        if self._producer is not None:
            self._producer.stopProducing()

    # --- jobs -----------------------------------------------------------------------------------

    def _pump(self) -> None:
        if len(self._buffer) >= CHUNK_BYTES and not self._running and self._failure is None:
            self._start()

    def _start(self) -> None:
        chunk, self._buffer = self._buffer, bytearray()
        self._running = True
        self._run(lambda: _update(self._hashers, chunk)).addBoth(self._hashed)

    def _hashed(self, result: Failure | None) -> None:
        self._running = False
        if isinstance(result, Failure):
            self._failure = result
            self._buffer.clear()  # so that the producer resumes, and its next write raises
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.callback(None)
        elif self._producer is not None:
            self._pump()
            self._throttle()

    def _throttle(self) -> None:
        """Pause or resume the producer, as the consumer and the waiting bytes demand."""
        if self._producer is None:
            return
        paused = self._paused_by_consumer or len(self._buffer) >= CHUNK_BYTES
        if paused and not self._paused:
            self._paused = True
            self._producer.pauseProducing()
        elif self._paused and not paused:
            self._paused = False
            self._producer.resumeProducing()


def _update(hashers: Iterable[tuple[Digest, Hasher]], data: bytearray) -> None:
    for _, hasher in hashers:
        hasher.update(data)
