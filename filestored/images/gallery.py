"""The images of one account, with their bytes: what somebody with its token can do.

An upload ends in this order: the bytes are durable under a name that nobody can guess; they are
looked into, where there is somebody who does that (`IImageDecoder`); then one step in the catalog makes
them an image. What fails before that step leaves nothing but bytes that no record names, which are
deleted here, or moved to quarantine by a later sweep. What a replaced image was is deleted behind that step.

Each change of the catalog holds the account (`Accounts.holding`): a renewal of the token waits for the
changes that are under way, and later ones fail.
"""

import errno
from collections.abc import Awaitable, Callable
from functools import partial

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IProducer
from twisted.logger import Logger
from zope.interface import implementer

from filestored.digest import Digest
from filestored.errors import FilestoredError, NotFound
from filestored.images.accounts import Account, Accounts
from filestored.images.cancellation import Cancellation
from filestored.images.catalog import Catalog
from filestored.images.gzip_backend import GunzippedFile
from filestored.images.listings import Listings
from filestored.images.upload import ImageUpload
from filestored.interfaces import (
    FileView,
    IBlob,
    IGallery,
    IImageDecoder,
    IImageUpload,
    Image,
    IStore,
    UploadResult,
)
from filestored.storage.health import ReadFailed
from filestored.storage.threads import RecordThreads

Gone = Callable[[Digest], Awaitable[None]]
"""Is told which bytes were deleted; never fails."""

Recover = Callable[[Digest], bool]
"""Moves bytes back out of quarantine, see `IQuarantine.restore`. Blocking."""


@implementer(IGallery)
class Gallery:
    """The images of `account` in `catalog`, whose bytes are in `blobs`."""

    _log = Logger()

    def __init__(
        self,
        account: Account,
        accounts: Accounts,
        catalog: Catalog,
        blobs: IStore,
        record_threads: RecordThreads,
        pictures: IImageDecoder | None,
        gone: Gone | None,
        recover: Recover | None,
        listings: Listings,
    ) -> None:
        self.owner = account.name
        self._account = account
        self._accounts = accounts
        self._catalog = catalog
        self._blobs = blobs
        self._threads = record_threads
        self._pictures = pictures
        self._gone = gone
        self._recover = recover
        self._listings = listings

    def upload(self, replacing: str | None = None) -> "Deferred[IImageUpload]":
        """See `IGallery.upload`."""
        return Deferred.fromCoroutine(self._upload(replacing))

    def list_images(self) -> "Deferred[dict[str, str]]":
        """See `IGallery.list_images`."""
        return self._listings.list_images(self._catalog)

    def open(self, identity: str, gzipped: Callable[[Image], bool]) -> "Deferred[tuple[Image, IBlob]]":
        """See `IGallery.open`."""
        return Deferred.fromCoroutine(self._open(identity, gzipped))

    def delete(self, identity: str) -> "Deferred[None]":
        """See `IGallery.delete`."""
        return Deferred.fromCoroutine(self._delete(identity))

    def regenerate_token(self) -> "Deferred[str]":
        """See `IGallery.regenerate_token`."""
        return Deferred.fromCoroutine(self._threads.write(self._accounts.renew, self._account))

    # --- taking in ------------------------------------------------------------------------------

    async def _upload(self, replacing: str | None) -> IImageUpload:
        if replacing is not None:
            await self._threads.read(self._catalog.read, replacing)
        decoding = Cancellation()
        return ImageUpload(self._blobs.upload(), partial(self._keep, replacing, decoding), decoding.cancel)

    async def _keep(
        self, replacing: str | None, decoding: Cancellation, name: str, media_type: str, stored: UploadResult
    ) -> str:
        """Make an image of stored bytes, or leave nothing of them."""
        try:
            image = Image(name, media_type, stored.size, stored.digest, gzipped=stored.encoding == "gzip")
            await self._look_into(image, decoding)
        except (FilestoredError, OSError, CancelledError):
            await self._forget(stored.digest)
            raise
        return await self._enter(image, replacing)

    async def _enter(self, image: Image, replacing: str | None) -> str:
        """The step that decides. After an `OSError` nobody knows how it did, so the bytes stay then."""
        try:
            identity, old = await self._threads.write(self._record, image, replacing)
        except FilestoredError:
            await self._forget(image.blob)
            raise
        if old is not None:
            await self._forget(old.blob)
        return identity

    def _record(self, image: Image, replacing: str | None) -> tuple[str, Image | None]:
        """Put the image into the catalog, if the token is still good. Blocking."""
        with self._accounts.holding(self._account):
            if replacing is None:
                return self._catalog.add(image), None
            return replacing, self._catalog.replace(replacing, image)

    async def _look_into(self, image: Image, decoding: Cancellation) -> None:
        if self._pictures is None:
            return
        blob = await self._blobs.open(image.blob, _original(image))
        try:
            await decoding.wait(self._pictures.verify(blob, self.owner))
        finally:
            blob.close()

    # --- giving out, taking away ------------------------------------------------------------------

    async def _open(self, identity: str, gzipped: Callable[[Image], bool]) -> tuple[Image, IBlob]:
        seen = None
        while True:
            image = await self._threads.read(self._catalog.read, identity)
            try:
                view = None if image.gzipped and gzipped(image) else _original(image)
                blob = await self._blobs.open(image.blob, view)
                if view is None:
                    await _check_length(image, blob)
                return image, blob
            except NotFound:
                if image == seen:
                    raise OSError("the bytes of an image are missing") from None
                await self._recover_bytes(image.blob)
                seen = image  # it was replaced between the two steps, or is back: look again

    async def _recover_bytes(self, digest: Digest) -> None:
        """Move bytes back that the sweep has moved to quarantine, if it has."""
        if self._recover is not None:
            await self._threads.write(self._recover, digest)

    async def _delete(self, identity: str) -> None:
        image = await self._threads.write(self._strike, identity)
        await self._forget(image.blob)

    def _strike(self, identity: str) -> Image:
        with self._accounts.holding(self._account):
            return self._catalog.remove(identity)

    async def _forget(self, digest: Digest) -> None:
        """Delete bytes that no record names. If that fails, a later sweep moves them to quarantine."""
        try:
            await self._blobs.delete(digest)
        except (FilestoredError, OSError):
            self._log.failure("bytes of an image that is gone could not be deleted")
        if self._gone is not None:
            await self._gone(digest)


def _original(image: Image) -> FileView | None:
    """How the stored file is read as it was uploaded."""
    return partial(GunzippedFile, size=image.size) if image.gzipped else None


async def _check_length(image: Image, blob: IBlob) -> None:
    """Compare the length of what is stored with that of the image; `GunzippedFile` does so by itself.

    A gzip file ends with the length of the original (RFC 1952, 2.3.1). Raises `ReadFailed`, and closes the
    blob then.
    """
    try:
        length, expected = blob.size, image.size
        if image.gzipped:
            end = await _read(blob, max(0, blob.size - _ISIZE), blob.size)
            length, expected = int.from_bytes(end, "little"), image.size % 2 ** (8 * _ISIZE)
        if length != expected:
            raise ReadFailed(errno.EBADMSG, f"the image {image.blob} is damaged: its length is not as stored")
    except BaseException:
        blob.close()
        raise


async def _read(blob: IBlob, start: int, stop: int) -> bytes:
    """A few bytes of a blob. Raises `OSError`."""
    head = _Head()
    await blob.produce(head, start, stop)
    return head.data


_ISIZE = 4
"""Bytes of the field at the end of a gzip file that has the size of the original."""


@implementer(IConsumer)
class _Head:
    """Keeps the few bytes it is given."""

    def __init__(self) -> None:
        self.data = b""

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let the producer run."""

    def unregisterProducer(self) -> None:
        """All bytes are here."""

    def write(self, data: bytes) -> None:
        self.data += data
