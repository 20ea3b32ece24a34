"""The images of one account, with their bytes: what somebody with its token can do.

An upload ends in this order: the bytes are durable under a name that nobody can guess; they are
looked into, where there is somebody who does that (`IPictures`); then one step in the catalog makes
them an image. What fails before that step leaves nothing but bytes that no record names, which are
deleted here, or by the next start. What a replaced image was is deleted behind that step.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IProducer
from twisted.logger import Logger
from zope.interface import implementer

from filestored.digest import Digest
from filestored.errors import FilestoredError, NotFound
from filestored.images.accounts import Account, Accounts
from filestored.images.arrival import Arrival
from filestored.images.cancellation import Cancellation
from filestored.images.catalog import Catalog
from filestored.images.clerk import Clerk
from filestored.images.packing import Unpacked, is_packed
from filestored.interfaces import IBlob, IGallery, IImageUpload, Image, IPictures, IStore, Stored, View

Gone = Callable[[Digest], Awaitable[None]]
"""Is told which bytes were deleted; never fails."""


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
        clerk: Clerk,
        pictures: IPictures | None,
        gone: Gone | None,
    ) -> None:
        self.owner = account.name
        self._account = account
        self._accounts = accounts
        self._catalog = catalog
        self._blobs = blobs
        self._clerk = clerk
        self._pictures = pictures
        self._gone = gone

    def upload(self, replacing: str | None = None) -> "Deferred[IImageUpload]":
        """See `IGallery.upload`."""
        return Deferred.fromCoroutine(self._upload(replacing))

    def ids(self) -> "Deferred[dict[str, str]]":
        """See `IGallery.ids`."""
        return Deferred.fromCoroutine(self._clerk.look(self._catalog.ids))

    def open(self, identity: str, packed: Callable[[Image], bool]) -> "Deferred[tuple[Image, IBlob]]":
        """See `IGallery.open`."""
        return Deferred.fromCoroutine(self._open(identity, packed))

    def delete(self, identity: str) -> "Deferred[None]":
        """See `IGallery.delete`."""
        return Deferred.fromCoroutine(self._delete(identity))

    def renew_token(self) -> "Deferred[str]":
        """See `IGallery.renew_token`."""
        return Deferred.fromCoroutine(self._clerk.change(self._accounts.renew, self._account))

    # --- taking in ------------------------------------------------------------------------------

    async def _upload(self, replacing: str | None) -> IImageUpload:
        if replacing is not None:
            await self._clerk.look(self._catalog.read, replacing)
        decoding = Cancellation()
        return Arrival(self._blobs.upload(), partial(self._keep, replacing, decoding), decoding.cancel)

    async def _keep(
        self, replacing: str | None, decoding: Cancellation, name: str, media_type: str, stored: Stored
    ) -> str:
        """Make an image of stored bytes, or leave nothing of them."""
        try:
            packed = is_packed(await self._first_bytes(stored.digest))
            image = Image(name, media_type, stored.size, stored.digest, packed)
            await self._look_into(image, decoding)
        except (FilestoredError, OSError, CancelledError):
            await self._forget(stored.digest)
            raise
        return await self._enter(image, replacing)

    async def _enter(self, image: Image, replacing: str | None) -> str:
        """The step that decides. After an `OSError` nobody knows how it did, so the bytes stay then."""
        try:
            identity, old = await self._clerk.change(self._record, image, replacing)
        except FilestoredError:
            await self._forget(image.blob)
            raise
        if old is not None:
            await self._forget(old.blob)
        return identity

    def _record(self, image: Image, replacing: str | None) -> tuple[str, Image | None]:
        """Put the image into the catalog, if the token is still good. Blocking."""
        self._accounts.check(self._account)
        if replacing is None:
            return self._catalog.add(image), None
        return replacing, self._catalog.replace(replacing, image)

    async def _first_bytes(self, digest: Digest) -> bytes:
        blob = await self._blobs.open(digest)
        head = _Head()
        try:
            await blob.produce(head, 0, min(blob.size, 2))
        finally:
            blob.close()
        return head.data

    async def _look_into(self, image: Image, decoding: Cancellation) -> None:
        if self._pictures is None:
            return
        blob = await self._blobs.open(image.blob, _original(image))
        try:
            await decoding.wait(self._pictures.verify(blob, self.owner))
        finally:
            blob.close()

    # --- giving out, taking away ------------------------------------------------------------------

    async def _open(self, identity: str, packed: Callable[[Image], bool]) -> tuple[Image, IBlob]:
        seen = None
        while True:
            image = await self._clerk.look(self._catalog.read, identity)
            if image == seen:
                raise OSError("the bytes of an image are missing")
            try:
                view = None if image.packed and packed(image) else _original(image)
                return image, await self._blobs.open(image.blob, view)
            except NotFound:
                seen = image  # it was replaced between the two steps, so look again

    async def _delete(self, identity: str) -> None:
        image = await self._clerk.change(self._strike, identity)
        await self._forget(image.blob)

    def _strike(self, identity: str) -> Image:
        self._accounts.check(self._account)
        return self._catalog.remove(identity)

    async def _forget(self, digest: Digest) -> None:
        """Delete bytes that no record names. The next start does it if it can't be done now."""
        try:
            await self._blobs.delete(digest)
        except (FilestoredError, OSError):
            self._log.failure("bytes of an image that is gone could not be deleted")
        if self._gone is not None:
            await self._gone(digest)


def _original(image: Image) -> View | None:
    """How the stored file is read as it was uploaded."""
    return partial(Unpacked, size=image.size) if image.packed else None


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
