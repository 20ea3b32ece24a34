"""Gallery: the images of one account with their blobs, for a client with its token.

Steps at the end of an upload: the blob is durable under a digest that cannot be guessed; `IImageDecoder`
verifies it, if there is one; one step in the catalog makes it an image. A failure before that step leaves
only an unreferenced blob, which is deleted here, or moved to quarantine by the orphan cleaner. The blob of a
replaced image is deleted after that step.

Each change of the catalog holds the account (`Accounts.holding`): a renewal of the token waits for changes in
progress, and later ones fail.
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
    ALL_BYTES,
    FileView,
    IBlob,
    IGallery,
    IImageDecoder,
    IImageUpload,
    Image,
    IStore,
    UploadResult,
    WantedRange,
)
from filestored.storage.health import ReadFailed
from filestored.storage.threads import RecordThreads

OnBlobDeleted = Callable[[Digest], Awaitable[None]]
"""Callback after the deletion of a blob; never fails."""

Recover = Callable[[Digest], bool]
"""Moves a blob back out of quarantine, see `IQuarantine.restore`. Blocking."""


@implementer(IGallery)
class Gallery:
    """The images of `account`, with records in `catalog` and bytes in `blobs`."""

    _log = Logger()

    def __init__(
        self,
        account: Account,
        accounts: Accounts,
        catalog: Catalog,
        blobs: IStore,
        record_threads: RecordThreads,
        decoder: IImageDecoder | None,
        on_blob_deleted: OnBlobDeleted | None,
        recover: Recover | None,
        listings: Listings,
    ) -> None:
        self.owner = account.name
        self._account = account
        self._accounts = accounts
        self._catalog = catalog
        self._blobs = blobs
        self._threads = record_threads
        self._decoder = decoder
        self._on_blob_deleted = on_blob_deleted
        self._recover = recover
        self._listings = listings

    def upload(self, replacing: str | None = None) -> "Deferred[IImageUpload]":
        """See `IGallery.upload`."""
        return Deferred.fromCoroutine(self._upload(replacing))

    def list_images(self) -> "Deferred[dict[str, str]]":
        """See `IGallery.list_images`."""
        return self._listings.list_images(self._catalog)

    def open(
        self, identity: str, gzipped: Callable[[Image], bool], *, wanted: WantedRange | None = ALL_BYTES
    ) -> "Deferred[tuple[Image, IBlob]]":
        """See `IGallery.open`."""
        return Deferred.fromCoroutine(self._open(identity, gzipped, wanted))

    def delete(self, identity: str) -> "Deferred[None]":
        """See `IGallery.delete`."""
        return Deferred.fromCoroutine(self._delete(identity))

    def regenerate_token(self) -> "Deferred[str]":
        """See `IGallery.regenerate_token`."""
        return Deferred.fromCoroutine(self._threads.write(self._accounts.renew, self._account))

    # --- upload ---------------------------------------------------------------------------------

    async def _upload(self, replacing: str | None) -> IImageUpload:
        if replacing is not None:
            await self._threads.read(self._catalog.read, replacing)
        decoding = Cancellation()
        return ImageUpload(
            self._blobs.upload(),
            partial(self._finish, replacing, decoding),
            decoding.cancel,
            self._decoder.check_format if self._decoder else None,
        )

    async def _finish(
        self, replacing: str | None, decoding: Cancellation, name: str, media_type: str, stored: UploadResult
    ) -> str:
        """Verify a stored blob and add it to the catalog, or delete it."""
        try:
            image = Image(name, media_type, stored.size, stored.digest, gzipped=stored.encoding == "gzip")
            await self._verify(image, decoding)
        except (FilestoredError, OSError, CancelledError):
            await self._delete_blob(stored.digest)
            raise
        return await self._add_to_catalog(image, replacing)

    async def _add_to_catalog(self, image: Image, replacing: str | None) -> str:
        """Run the deciding step. After an `OSError` its outcome is unknown, so the blob stays."""
        try:
            identity, old = await self._threads.write(self._write_record, image, replacing)
        except FilestoredError:
            await self._delete_blob(image.blob)
            raise
        if old is not None:
            await self._delete_blob(old.blob)
        return identity

    def _write_record(self, image: Image, replacing: str | None) -> tuple[str, Image | None]:
        """Write the catalog if the token is still valid. Blocking."""
        with self._accounts.holding(self._account):
            if replacing is None:
                return self._catalog.add(image), None
            return replacing, self._catalog.replace(replacing, image)

    async def _verify(self, image: Image, decoding: Cancellation) -> None:
        if self._decoder is None:
            return
        blob = await self._blobs.open(image.blob, _original(image))
        try:
            await decoding.wait(self._decoder.verify(blob, self.owner))
        finally:
            blob.close()

    # --- open, delete ---------------------------------------------------------------------------

    async def _open(
        self, identity: str, gzipped: Callable[[Image], bool], wanted: WantedRange | None
    ) -> tuple[Image, IBlob]:
        seen = None
        while True:
            image = await self._threads.read(self._catalog.read, identity)
            try:
                view = None if image.gzipped and gzipped(image) else _original(image)
                blob = await self._blobs.open(image.blob, view, wanted=wanted)
                if view is None:
                    await _check_length(image, blob)
                return image, blob
            except NotFound:
                if image == seen:
                    raise OSError("the bytes of an image are missing") from None
                await self._recover_bytes(image.blob)
                seen = image  # replaced between the two steps, or recovered: try again

    async def _recover_bytes(self, digest: Digest) -> None:
        """Move a blob back that the orphan cleaner has moved to quarantine."""
        if self._recover is not None:
            await self._threads.write(self._recover, digest)

    async def _delete(self, identity: str) -> None:
        image = await self._threads.write(self._remove, identity)
        await self._delete_blob(image.blob)

    def _remove(self, identity: str) -> Image:
        with self._accounts.holding(self._account):
            return self._catalog.remove(identity)

    async def _delete_blob(self, digest: Digest) -> None:
        """Delete an unreferenced blob. After a failure the orphan cleaner moves it to quarantine."""
        try:
            await self._blobs.delete(digest)
        except (FilestoredError, OSError):
            self._log.failure("the bytes of a deleted image could not be removed")
        if self._on_blob_deleted is not None:
            await self._on_blob_deleted(digest)


def _original(image: Image) -> FileView | None:
    """Return the view that reads the stored file as it was uploaded."""
    return partial(GunzippedFile, size=image.size) if image.gzipped else None


async def _check_length(image: Image, blob: IBlob) -> None:
    """Compare the length of the stored file with that of the image. `GunzippedFile` does so by itself.

    A gzip file ends with the length of the original (RFC 1952, 2.3.1). Raises `ReadFailed` and closes the
    blob on a mismatch.
    """
    try:
        length, expected = blob.size, image.size
        if image.gzipped:
            end = await _read_bytes(blob, max(0, blob.size - _ISIZE_BYTES), blob.size)
            length, expected = int.from_bytes(end, "little"), image.size % 2 ** (8 * _ISIZE_BYTES)
        if length != expected:
            raise ReadFailed(errno.EBADMSG, f"the image {image.blob} is damaged: its length is not as stored")
    except BaseException:
        blob.close()
        raise


async def _read_bytes(blob: IBlob, start: int, stop: int) -> bytes:
    """Return a few bytes of a blob. Raises `OSError`."""
    head = _ByteCollector()
    await blob.produce(head, start, stop)
    return head.data


_ISIZE_BYTES = 4
"""Bytes of the length field at the end of a gzip file."""


@implementer(IConsumer)
class _ByteCollector:
    """Consumer that collects a few bytes."""

    def __init__(self) -> None:
        self.data = b""

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Ignore the producer, which is never paused."""

    def unregisterProducer(self) -> None:
        """Ignore the end of the bytes."""

    def write(self, data: bytes) -> None:
        self.data += data
