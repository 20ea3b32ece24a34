"""An image on its way in: an upload that looks at the first bytes, and ends as an image.

In: a name, then the bytes of a file. They go on into an `IUpload` as they come. As soon as there are enough
of them to say that this is no image, the upload ends there: the rest is never read. Out: the id, from
`keep`, which gets what is known of the image once its bytes are durable.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProducer
from zope.interface import implementer

from filestored.errors import NotAnImage
from filestored.images.filenames import base_name
from filestored.images.signatures import ENOUGH, media_type
from filestored.interfaces import IImageUpload, IUpload, UploadResult

Keep = Callable[[str, str, UploadResult], Coroutine[Any, Any, str]]
"""What makes an image of its name, its media type and its stored bytes; returns the id."""


@implementer(IImageUpload)
class ImageUpload:
    """One image that arrives in `upload`; `abandon` cancels its decoding."""

    def __init__(self, upload: IUpload, keep: Keep, abandon: Callable[[], None]) -> None:
        self._upload = upload
        self._keep = keep
        self._abandon = abandon
        self._name = ""
        self._head = b""
        self._media_type: str | None = None

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let the upload pause whoever sends the bytes."""
        self._upload.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Nobody sends any more."""
        self._upload.unregisterProducer()

    def begin(self, name: str) -> None:
        """See `IImageUpload.begin`."""
        self._name = base_name(name)

    def write(self, data: bytes) -> None:
        """See `IImageUpload.write`."""
        if self._media_type is None:
            self._look_at(data)
        self._upload.write(data)

    def commit(self) -> "Deferred[str]":
        """See `IImageUpload.commit`."""
        return Deferred.fromCoroutine(self._commit())

    def abandon(self) -> None:
        """See `IImageUpload.abandon`."""
        self._abandon()

    def abort(self) -> None:
        """See `IImageUpload.abort`."""
        self._upload.abort()

    async def _commit(self) -> str:
        if self._media_type is None:
            raise NotAnImage
        return await self._keep(self._name, self._media_type, await self._upload.commit())

    def _look_at(self, data: bytes) -> None:
        self._head += data[: ENOUGH - len(self._head)]
        self._media_type = media_type(self._head)
        if self._media_type is None and len(self._head) == ENOUGH:
            raise NotAnImage
