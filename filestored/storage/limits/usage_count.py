"""Usage count: number and size of all stored files, by pages of `IBackend.entries`.

One count runs at a time. A caller that comes meanwhile waits for the next one, which begins after it, so that
each caller's own upload is counted. All callers that wait share the next count.
"""

from collections.abc import Iterator

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from filestored.digest import Digest
from filestored.interfaces import IBackend, ILimitedBackend, StoredFileInfo, Usage
from filestored.storage.thread_pool import Run

PAGE_FILES = 10_000
"""Files of one page, which is held in memory."""


def all_entries(
    backend: IBackend, page_files: int = PAGE_FILES, after: Digest | None = None
) -> Iterator[StoredFileInfo]:
    """Yield all stored files in ascending order, after `after`. Blocking; raises `OSError`.

    `page_files` are listed at once.
    """
    while page := backend.entries(after, page_files):
        yield from page
        if len(page) < page_files:
            return
        after = page[-1].digest


def count_usage(backend: IBackend) -> Usage:
    """Return the usage by a look at each file. Blocking; raises `OSError`."""
    files = size = 0
    for entry in all_entries(backend):
        files += 1
        size += entry.size
    return Usage(files, size)


def find_usage(backend: IBackend) -> Usage:
    """Return the usage that a ledger records, else a count. Blocking; raises `OSError`."""
    limited = ILimitedBackend(backend, None)
    recorded = limited.recorded_usage() if limited is not None else None
    return count_usage(backend) if recorded is None else recorded


class UsageCount:
    """Finds the usage of `backend`, by jobs of `run`. Used in the reactor's thread only."""

    def __init__(self, backend: IBackend, run: Run) -> None:
        self._backend = backend
        self._run = run
        self._counting = False
        self._waiting: list[Deferred[Usage]] = []

    def count(self) -> "Deferred[Usage]":
        """Return the usage at a time after this call. Fails with `OSError`."""
        counted: Deferred[Usage] = Deferred()
        self._waiting.append(counted)
        self._start()
        return counted

    def _start(self) -> None:
        if self._waiting and not self._counting:
            self._counting = True
            waiting, self._waiting = self._waiting, []
            self._run(find_usage, self._backend).addBoth(self._counted, waiting)

    def _counted(self, usage: Usage | Failure, waiting: "list[Deferred[Usage]]") -> None:
        self._counting = False
        self._start()
        for each in waiting:
            each.callback(usage)  # a Failure fails it
