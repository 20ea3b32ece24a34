"""Decoder processes of a pool, blobs that stall, and images that take long to decode."""

from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer

from filestored.digest import algorithm
from filestored.images.decoder.pool import DecoderPool
from filestored.interfaces import IBlob
from tests.images.decodable_images import (
    laborious_jpeg,
)
from tests.reactor_wait import until

MD5 = algorithm("md5")


LABORIOUS = laborious_jpeg(4000, 1600)


@implementer(IBlob)
class Slow:
    """A blob that begins, and then does what it is told."""

    digest = MD5.parse("0" * 32)

    def __init__(self, size: int) -> None:
        self.size = size
        self.started: Deferred[None] = Deferred()
        self.done: Deferred[None] = Deferred()

    def produce(self, consumer, start, stop):
        consumer.registerProducer(self, True)
        consumer.write(b"GIF89a")
        self.started.callback(None)
        return self.done.addBoth(self._end, consumer)

    def _end(self, outcome, consumer):
        consumer.unregisterProducer()
        return outcome

    def stopProducing(self):
        self.done.errback(CancelledError())

    def pauseProducing(self):
        pass

    resumeProducing = close = pauseProducing


async def outcome(deferred):
    """The result, or the type of the error."""
    try:
        return await deferred
    except Exception as error:
        return type(error)


def processes_of(decoder_pool: DecoderPool) -> list[int]:
    return [process.transport.pid for process in decoder_pool._processes]


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return list(map(int, file.read().split()))


def ended(pid: int) -> bool:
    """Return whether a process has ended; a zombie has."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def fork_of(decoder_pool: DecoderPool) -> int:
    """The process that decodes right now, once there is one."""
    (decoder_main,) = processes_of(decoder_pool)
    await until(lambda: children(decoder_main))
    return children(decoder_main)[0]
