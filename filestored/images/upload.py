"""Upload of an image: an `IUpload` that checks the file signature and ends as an image.

In: a name, then the bytes of a file, which are passed to an `IUpload` at once. When the first bytes show that
this is no image, the upload ends and the rest is never read. Out: the id returned by `finish`, which is
called with the durable blob.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProducer
from zope.interface import implementer

from filestored.errors import NotAnImage
from filestored.images.filenames import base_name
from filestored.images.signatures import SNIFF_BYTES, sniff_media_type
from filestored.interfaces import IImageUpload, IUpload, UploadResult

Finish = Callable[[str, str, UploadResult], Coroutine[Any, Any, str]]
"""Adds an image by its name, media type and stored blob; returns the id."""


@implementer(IImageUpload)
class ImageUpload:
    """One image upload to `upload`; `abandon` cancels its decoding.

    `check_format` raises `NotAnImage` for media types that cannot be decoded.
    """

    def __init__(
        self,
        upload: IUpload,
        finish: Finish,
        abandon: Callable[[], None],
        check_format: Callable[[str], None] | None = None,
    ) -> None:
        self._upload = upload
        self._check_format = check_format
        self._finish = finish
        self._abandon = abandon
        self._name = ""
        self._head = b""
        self._media_type: str | None = None

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Register the producer with the inner upload, which pauses it."""
        self._upload.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Unregister the producer from the inner upload."""
        self._upload.unregisterProducer()

    def begin(self, name: str) -> None:
        """See `IImageUpload.begin`."""
        self._name = base_name(name)

    def write(self, data: bytes) -> None:
        """See `IImageUpload.write`."""
        if self._media_type is None:
            self._sniff(data)
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
        return await self._finish(self._name, self._media_type, await self._upload.commit())

    def _sniff(self, data: bytes) -> None:
        self._head += data[: SNIFF_BYTES - len(self._head)]
        self._media_type = sniff_media_type(self._head)
        if self._media_type is None and len(self._head) == SNIFF_BYTES:
            raise NotAnImage
        if self._media_type is not None and self._check_format is not None:
            self._check_format(self._media_type)
