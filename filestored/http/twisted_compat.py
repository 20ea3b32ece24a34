"""A pull producer, made to push.

Pull producers (``streaming=False``) give one piece when asked. The puller asks once a turn of
the reactor, until it is paused or stopped.
"""

from collections.abc import Iterator

from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.internet.task import CooperativeTask, cooperate
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IPushProducer)
class PullToPush:
    """Asks a pull producer for piece after piece, from now on."""

    _log = Logger()

    def __init__(self, producer: IPullProducer) -> None:
        self._producer = producer
        self._paused = False
        self._stopped = False
        self._task: CooperativeTask[Iterator[bool]] = cooperate(iter(self._pull, False))
        self._task.whenDone().addErrback(self._failed)

    def _pull(self) -> bool:
        if not self._stopped:
            self._producer.resumeProducing()
        return not self._stopped

    def _failed(self, failure: Failure) -> None:
        self._log.failure("a pull producer failed", failure)
        self.stopProducing()

    def pauseProducing(self) -> None:
        """Ask no more for a while."""
        if not self._paused and not self._stopped:
            self._paused = True
            self._task.pause()

    def resumeProducing(self) -> None:
        """Ask again."""
        if self._paused and not self._stopped:
            self._paused = False
            self._task.resume()

    def unregistered(self) -> None:
        """The producer has given its last piece."""
        self._stopped = True
        if self._paused:
            self._task.resume()

    def stopProducing(self) -> None:
        """Nobody wants more pieces."""
        if not self._stopped:
            self.unregistered()
            self._producer.stopProducing()
