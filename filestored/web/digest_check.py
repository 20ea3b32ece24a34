"""Verification of the digests announced with a form: those of the form as it was sent (RFC 9530 section 2).

Bytes of the form pass through `DigestCheck` on their way to the consumer that cuts it, and are hashed
here, because only here the whole form passes by. Hashing takes place in a thread of the reactor's pool, one
job at a time, in pieces of `PIECE_BYTES`. While as many again wait, the producer is paused. Only the end of
a form, up to `MAX_INLINE_BYTES`, is hashed in the reactor's thread.

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

PIECE_BYTES = 256 * 1024
"""Bytes worth a job, and bytes waiting for one with which the producer is paused."""

MAX_INLINE_BYTES = 64 * 1024
"""Bytes that may be hashed in the reactor's thread."""

Run = Callable[[Callable[[], None]], "Deferred[None]"]
"""Calls a function, in another thread, and fires in the reactor's."""


@implementer(IConsumer, IPushProducer)
class DigestCheck:
    """A consumer that passes all bytes on to `consumer`, and compares their digests in `finish`."""

    def __init__(
        self, consumer: IConsumer, parse_digests: Iterable[Digest], run: Run = deferToThread
    ) -> None:
        self._consumer = consumer
        self._hashers = [(digest, algorithm(digest.algorithm).new()) for digest in parse_digests]
        self._run = run
        self._gathered = bytearray()
        self._working = False
        self._idle: Deferred[None] | None = None
        self._failure: Failure | None = None
        self._producer: IPushProducer | None = None
        self._held = False
        self._paused = False

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Stand between a push producer and the consumer, so that both can pause it."""
        self._producer = cast("IPushProducer", producer)  # bodies are pushed
        self._consumer.registerProducer(self, streaming)

    def unregisterProducer(self) -> None:
        """The producer has written its last byte."""
        self._producer = None
        self._consumer.unregisterProducer()

    def write(self, data: bytes) -> None:
        """Pass the next bytes on, and gather them for hashing. Raises what the consumer or a job raises."""
        if self._failure is not None:
            self._failure.raiseException()
        self._consumer.write(data)
        self._gathered += data
        self._pump()
        self._throttle()

    async def finish(self) -> None:
        """Hash the rest. Raises `DigestMismatch` when the bytes have other digests than announced."""
        while self._working or len(self._gathered) > MAX_INLINE_BYTES:
            if not self._working:
                self._start()
            if self._working:
                self._idle = Deferred()
                await self._idle
            if self._failure is not None:
                self._failure.raiseException()
        _update(self._hashers, self._gathered)
        if any(bytes.fromhex(digest.hex) != hasher.digest() for digest, hasher in self._hashers):
            raise DigestMismatch

    # --- IPushProducer, towards the consumer --------------------------------------------------

    def pauseProducing(self) -> None:
        """The consumer wants no bytes for a while."""
        self._held = True
        self._throttle()

    def resumeProducing(self) -> None:
        """The consumer wants bytes again."""
        self._held = False
        self._throttle()

    def stopProducing(self) -> None:
        """The consumer wants no more bytes at all."""
        if self._producer is not None:
            self._producer.stopProducing()

    # --- jobs -----------------------------------------------------------------------------------

    def _pump(self) -> None:
        if len(self._gathered) >= PIECE_BYTES and not self._working and self._failure is None:
            self._start()

    def _start(self) -> None:
        piece, self._gathered = self._gathered, bytearray()
        self._working = True
        self._run(lambda: _update(self._hashers, piece)).addBoth(self._hashed)

    def _hashed(self, result: Failure | None) -> None:
        self._working = False
        if isinstance(result, Failure):
            self._failure = result
            self._gathered.clear()  # so that the producer goes on, and meets the failure
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.callback(None)
        elif self._producer is not None:
            self._pump()
            self._throttle()

    def _throttle(self) -> None:
        """Pause or resume the producer, as consumer and backlog demand."""
        if self._producer is None:
            return
        paused = self._held or len(self._gathered) >= PIECE_BYTES
        if paused and not self._paused:
            self._paused = True
            self._producer.pauseProducing()
        elif self._paused and not paused:
            self._paused = False
            self._producer.resumeProducing()


def _update(hashers: Iterable[tuple[Digest, Hasher]], data: bytearray) -> None:
    for _, hasher in hashers:
        hasher.update(data)
