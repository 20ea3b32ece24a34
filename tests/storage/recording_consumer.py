"""Recording consumer."""

from twisted.internet.interfaces import IConsumer
from zope.interface import implementer


@implementer(IConsumer)
class RecordingConsumer:
    """Consumer that appends each piece to `data`, and then calls `at_each`."""

    def __init__(self, at_each=lambda: None) -> None:
        self.data = b""
        self.producer = None
        self.at_each = at_each

    def registerProducer(self, producer, streaming) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data) -> None:
        self.data += data
        self.at_each()
