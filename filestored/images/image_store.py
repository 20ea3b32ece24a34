"""The image room: accounts, and the galleries that their tokens open.

Everything is kept through two interfaces: `IRecords` for what is small and has a name, and `IStore`
for bytes. Where either keeps it is nobody's business here.
"""

from twisted.internet.defer import Deferred
from zope.interface import implementer

from filestored.images.accounts import Accounts
from filestored.images.catalog import Catalog
from filestored.images.gallery import Gallery, Gone, Recover
from filestored.images.listings import Listings
from filestored.interfaces import IGallery, IImageDecoder, IImageStore, IRecords, IStore
from filestored.storage.health import Health
from filestored.storage.threads import IOThreads, RecordThreads, Run


@implementer(IImageStore)
class ImageStore:
    """Accounts in `records`, with tokens derived from `key`; the bytes of images in `blobs`.

    `run` takes blocking work to I/O threads, separated by kind if it is `IOThreads`; `health` is that of
    `blobs`. `pictures` looks into images; `gone` is told of bytes that are deleted; `recover` moves bytes
    back out of quarantine.
    """

    def __init__(
        self,
        records: IRecords,
        key: bytes,
        blobs: IStore,
        run: Run | IOThreads,
        health: Health,
        pictures: IImageDecoder | None = None,
        gone: Gone | None = None,
        recover: Recover | None = None,
    ) -> None:
        self.max_size = blobs.max_size
        self._records = records
        self._accounts = Accounts(records, key)
        self._blobs = blobs
        self._health = health
        self._threads = RecordThreads(IOThreads.of(run), health)
        self._pictures = pictures
        self._gone = gone
        self._recover = recover
        self._listings = Listings(self._threads)

    @property
    def degraded(self) -> str | None:
        """Why writing is suspended, or None while all is well."""
        return self._health.degraded

    def register(self, username: str) -> "Deferred[str]":
        """See `IImageStore.register`."""
        return Deferred.fromCoroutine(self._threads.write(self._accounts.register, username))

    def get_token(self, username: str) -> "Deferred[str]":
        """See `IImageStore.get_token`."""
        return Deferred.fromCoroutine(self._token_of(username))

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
            self._pictures,
            self._gone,
            self._recover,
            self._listings,
        )

    async def _token_of(self, username: str) -> str:
        """A token that opens the account: its record in ``tokens/`` is made anew first if it is lost."""
        token, is_found = await self._threads.read(self._look_up, username)
        while not is_found:
            await self._threads.write(self._accounts.restore_token, username)
            token, is_found = await self._threads.read(self._look_up, username)
        return token

    def _look_up(self, username: str) -> tuple[str, bool]:
        token = self._accounts.get_token(username)
        return token, self._accounts.finds(username, token)
