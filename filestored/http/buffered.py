"""For resources from elsewhere that want ``request.content``: the body first, up to a bound."""

from io import BytesIO

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer
from twisted.web.resource import IResource, Resource
from zope.interface import implementer

from filestored.errors import BodyError, TooLarge
from filestored.http.rendering import NOT_DONE_YET, send_text
from filestored.http.request import Request


class BufferedBody(Resource):
    """A resource that reads the body into memory, then has another one answer.

    `limit` in bytes; larger bodies are refused with 413.
    """

    isLeaf = True

    def __init__(self, resource: IResource, limit: int) -> None:
        Resource.__init__(self)
        self._resource = resource
        self._limit = limit

    def render(self, request: Request) -> object:
        """See `twisted.web.resource.IResource.render`."""
        Deferred.fromCoroutine(self._answer(request)).addErrback(request.processingFailed)
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> None:
        buffer = _Buffer(self._limit)
        try:
            await request.body.deliver(buffer)
        except TooLarge as error:
            send_text(request, 413, str(error))
        except BodyError as error:
            send_text(request, 400, str(error))
        else:
            request.content = BytesIO(b"".join(buffer.pieces))
            request.render(self._resource)


@implementer(IConsumer)
class _Buffer:
    """Collects a bounded number of bytes."""

    def __init__(self, limit: int) -> None:
        self.pieces: list[bytes] = []
        self._room = limit

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let the producer run: it is never paused."""

    def unregisterProducer(self) -> None:
        """All bytes are here."""

    def write(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room < 0:
            raise TooLarge
        self.pieces.append(data)
