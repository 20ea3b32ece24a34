"""Image store: accounts, and the galleries that their tokens open.

Small named values are kept in `IRecords`, bytes in an `IStore`.
"""

from twisted.internet.defer import Deferred
from zope.interface import implementer

from filestored.images.accounts import Accounts
from filestored.images.catalog import Catalog
from filestored.images.gallery import Gallery, OnBlobDeleted, Recover
from filestored.images.listings import Listings
from filestored.interfaces import IGallery, IImageDecoder, IImageStore, IRecords, IStore
from filestored.storage.health import Health
from filestored.storage.thread_pool import Run
from filestored.storage.threads import IOThreads, RecordThreads


@implementer(IImageStore)
class ImageStore:
    """The `accounts` in `records`; the bytes of images in `blobs`.

    `run` runs blocking work in I/O threads, separated by kind if it is `IOThreads`; `health` is that of
    `blobs`. `decoder` verifies images; `on_blob_deleted` is called with digests of deleted blobs; `recover`
    moves blobs back out of quarantine.
    """

    def __init__(
        self,
        records: IRecords,
        accounts: Accounts,
        blobs: IStore,
        run: Run | IOThreads,
        health: Health,
        decoder: IImageDecoder | None = None,
        on_blob_deleted: OnBlobDeleted | None = None,
        recover: Recover | None = None,
    ) -> None:
        self.max_size = blobs.max_size
        self._records = records
        self._accounts = accounts
        self._blobs = blobs
        self._health = health
        self._threads = RecordThreads(IOThreads.of(run), health)
        self._decoder = decoder
        self._on_blob_deleted = on_blob_deleted
        self._recover = recover
        self._listings = Listings(self._threads)

    @property
    def degraded(self) -> str | None:
        """The reason why writes are suspended, else None."""
        return self._health.degraded

    def register(self, username: str) -> "Deferred[str]":
        """See `IImageStore.register`."""
        return Deferred.fromCoroutine(self._threads.write(self._accounts.register, username))

    def get_token(self, username: str) -> "Deferred[str]":
        """See `IImageStore.get_token`."""
        return Deferred.fromCoroutine(self._get_token(username))

    def authenticate(self, token: str) -> "Deferred[IGallery]":
        """See `IImageStore.authenticate`."""
        return Deferred.fromCoroutine(self._authenticate(token))

    async def _authenticate(self, token: str) -> IGallery:
        account = await self._threads.read(self._accounts.authenticate, token)
        catalog = Catalog(self._records, account.name)
        return Gallery(
            account,
            self._accounts,
            catalog,
            self._blobs,
            self._threads,
            self._decoder,
            self._on_blob_deleted,
            self._recover,
            self._listings,
        )

    async def _get_token(self, username: str) -> str:
        """Return the token of an account; restore its record in ``tokens/`` first if that is lost."""
        token, is_found = await self._threads.read(self._find_token, username)
        while not is_found:
            await self._threads.write(self._accounts.restore_token, username)
            token, is_found = await self._threads.read(self._find_token, username)
        return token

    def _find_token(self, username: str) -> tuple[str, bool]:
        token = self._accounts.get_token(username)
        return token, self._accounts.has_token_record(username, token)
