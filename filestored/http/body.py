"""The body of a request while it arrives: a producer that begins when somebody wants the bytes.

The channel writes into it with `received`, `ended` and `failed`; a resource takes out of it
with `deliver`. Until then, and while the consumer has paused it, the body does not want
bytes, and the channel leaves them in the socket.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from filestored.errors import BodyError, BodyLost
from filestored.interfaces import IBody


@implementer(IBody, IPushProducer)
class RequestBody:
    """A request's body on its way to one consumer.

    `changed` is called whenever the answer of `wanting` has changed.
    """

    wanting = False
    _consumer: IConsumer | None = None
    _delivery: Deferred[None] | None = None
    _error: BodyError | None = None

    def __init__(self, present: bool, length: int | None, changed: Callable[[], None]) -> None:
        self.present = present
        self.length = length
        self.complete = not present or length == 0
        self._changed = changed

    @property
    def unread(self) -> bool:
        """Whether nobody has asked for the body yet."""
        return self._delivery is None

    def deliver(self, consumer: IConsumer) -> Deferred[None]:
        """See `IBody.deliver`."""
        if self._delivery is not None:
            raise RuntimeError("a body is delivered once")
        delivery = self._delivery = Deferred(lambda _: self.stopProducing())
        self._consumer = consumer
        consumer.registerProducer(self, True)
        if self._error is not None:
            self._end_delivery(Failure(self._error))
        elif self.complete:
            self._end_delivery(None)
        else:
            self.resumeProducing()
        return delivery

    def discard(self) -> None:
        """Want the bytes, and drop them."""
        self.wanting = True

    # --- from the channel ---------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Pass bytes on; what the consumer raises becomes the outcome of the delivery."""
        if self._consumer is None:
            return
        try:
            self._consumer.write(data)
        except Exception:
            self.wanting = False
            failure = Failure()
            self._end_delivery(failure)
            failure.tb = None  # it would hold the bytes, as they hold it

    def ended(self) -> None:
        """The last byte was received."""
        self.complete = True
        self.wanting = False
        self._end_delivery(None)

    def failed(self, error: BodyError) -> None:
        """No more bytes will come."""
        if self.complete:
            return
        self._error = error.with_traceback(None)  # it would hold what was read, as that holds it
        self.wanting = False
        self._end_delivery(Failure(error))

    def _end_delivery(self, outcome: Failure | None) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        consumer.unregisterProducer()
        assert self._delivery is not None
        if not self._delivery.called:
            self._delivery.callback(outcome)

    # --- IPushProducer ------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Want no bytes for a while."""
        self.wanting = False

    def resumeProducing(self) -> None:
        """Want bytes again."""
        if self._consumer is not None and not self.wanting:
            self.wanting = True
            self._changed()

    def stopProducing(self) -> None:
        """Want no more bytes at all; the delivery fails with `BodyLost`."""
        self.failed(BodyLost())
