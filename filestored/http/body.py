"""Request body: a push producer of the bytes of a request, which starts when a consumer is registered.

The channel passes bytes in with `received`, `ended` and `failed`; a resource registers a consumer with
`deliver`. Before that, and while the consumer has paused it, the body is not `wanting`, and the channel
leaves the bytes in its input buffer.
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
    """The body of one request on its way to one consumer.

    `on_wanted` is called whenever `wanting` becomes true because of the consumer. `read_input` returns the
    body if all of it is in the input. `unread` is true until the body is delivered or read.
    """

    unread = True
    wanting = False
    _consumer: IConsumer | None = None
    _delivery: Deferred[None] | None = None
    _error: BodyError | None = None

    def __init__(
        self,
        present: bool,
        length: int | None,
        on_wanted: Callable[[], None],
        read_input: Callable[[], bytes | None],
    ) -> None:
        self.present = present
        self.length = length
        self.complete = not present or length == 0
        self._on_wanted = on_wanted
        self._read_input = read_input

    def read(self) -> bytes | None:
        """See `IBody.read`."""
        if not self.unread or self._error is not None:
            return None
        data = b"" if self.complete else self._read_input()
        if data is not None:
            self.unread = False
            self.complete = True
        return data

    def deliver(self, consumer: IConsumer) -> Deferred[None]:
        """See `IBody.deliver`."""
        if not self.unread:
            raise RuntimeError("a body is delivered once")
        self.unread = False
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
        """Accept the bytes and drop them."""
        self.wanting = True

    # --- from the channel ---------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Pass bytes on. An exception of the consumer becomes the outcome of the delivery."""
        if self._consumer is None:
            return
        try:
            self._consumer.write(data)
        except Exception:
            self.wanting = False
            failure = Failure()
            self._end_delivery(failure)
            failure.tb = None  # its frames hold the bytes, and are part of a cycle

    def ended(self) -> None:
        """Complete the body and its delivery."""
        self.complete = True
        self.wanting = False
        self._end_delivery(None)

    def failed(self, error: BodyError) -> None:
        """Fail the delivery: no more bytes will come."""
        if self.complete:
            return
        self._error = error.with_traceback(None)  # its frames hold the bytes, and are part of a cycle
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
        """Accept no bytes for a while."""
        self.wanting = False

    def resumeProducing(self) -> None:
        """Accept bytes again."""
        if self._consumer is not None and not self.wanting:
            self.wanting = True
            self._on_wanted()

    def stopProducing(self) -> None:
        """Accept no more bytes at all; the delivery fails with `BodyLost`."""
        self.failed(BodyLost())
