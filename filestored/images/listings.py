"""Listings of accounts, with bounded work for any number of clients.

In: a `Catalog`. Out: a Deferred of its ids by their names. An account is listed once at a time. Requests that
arrive meanwhile share the next listing, which begins when the running one ends, so none gets stale results.
At most `MAX_LISTINGS` accounts are listed at once, in the order of their requests.

A listing is read in steps of `STEP_RECORDS`. It ends after a step when all its requests are cancelled.

Rejected: a cache validated by the directory's modification time, which is the same for two changes within one
tick of the kernel's clock.
"""

from itertools import islice

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.logger import Logger
from twisted.python.failure import Failure

from filestored.images.catalog import Catalog
from filestored.request_context import current_request_id
from filestored.storage.threads import RecordThreads

MAX_LISTINGS = 2
"""Maximum number of accounts that one process lists at the same time."""

STEP_RECORDS = 500
"""Records read by one job of an I/O thread."""


class Listings:
    """Queue of listings, read by `record_threads`. Used in the reactor's thread only."""

    _log = Logger()

    def __init__(self, record_threads: RecordThreads) -> None:
        self._threads = record_threads
        self._slots = DeferredSemaphore(MAX_LISTINGS)
        self._queued: dict[str, _Listing] = {}
        self._running: set[str] = set()

    def list_images(self, catalog: Catalog) -> "Deferred[dict[str, str]]":
        """Return the ids of all images by their names; fails with `OSError`. May be cancelled."""
        listing = self._queued.get(catalog.username)
        if listing is None:
            listing = self._queued[catalog.username] = _Listing(catalog)
        answer = listing.join()
        if catalog.username not in self._running:
            self._running.add(catalog.username)
            Deferred.fromCoroutine(self._run(catalog.username))
        return answer

    async def _run(self, username: str) -> None:
        """Run the listings of one account, one after the other, until none is queued."""
        while username in self._queued:
            await self._slots.acquire()
            try:
                await self._read(self._queued.pop(username))
            finally:
                self._slots.release()
        self._running.discard(username)

    async def _read(self, listing: "_Listing") -> None:
        try:
            while listing.is_wanted and not await self._threads.list(listing.step):
                pass
        except Exception:
            listing.fail(Failure())
        finally:
            listing.close()
        if listing.damaged:
            self._log.error(
                "images of {username} are not listed because their records are damaged: {damaged}",
                damaged=", ".join(listing.damaged),
                username=listing.username,
                request_id=listing.request_id,
            )
        listing.succeed()


class _Listing:
    """One listing of `catalog` and the Deferreds waiting for it."""

    def __init__(self, catalog: Catalog) -> None:
        self.username = catalog.username
        self.request_id = current_request_id.get()
        self.damaged: list[str] = []
        self._found: dict[str, str] = {}
        self._steps = catalog.list_into(self._found)
        self._waiting: list[Deferred[dict[str, str]]] = []

    @property
    def is_wanted(self) -> bool:
        """True while a request waits for the result."""
        return bool(self._waiting)

    def join(self) -> "Deferred[dict[str, str]]":
        """Return a Deferred of the result."""
        answer: Deferred[dict[str, str]] = Deferred(self._waiting.remove)
        self._waiting.append(answer)
        return answer

    def step(self) -> bool:
        """Read at most `STEP_RECORDS` records; return True at the end. Blocking. Raises `OSError`."""
        read = list(islice(self._steps, STEP_RECORDS))
        self.damaged += [identity for identity in read if identity is not None]
        return len(read) < STEP_RECORDS

    def close(self) -> None:
        """Close the directory in use, if any."""
        self._steps.close()

    def succeed(self) -> None:
        """Fire all Deferreds with the result."""
        for answer in self._released():
            answer.callback(self._found)

    def fail(self, failure: Failure) -> None:
        """Fail all Deferreds."""
        for answer in self._released():
            answer.errback(failure)

    def _released(self) -> "list[Deferred[dict[str, str]]]":
        waiting, self._waiting = self._waiting, []
        return waiting
