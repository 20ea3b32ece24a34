"""Commits of a store with a quota: they wait in the reactor until the ledger is open.

Opening a ledger may count all files. A job of the group commit that waited for it would hold a thread which
other buckets use, too.
"""

from functools import partial

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from filestored.interfaces import IBackend, ILimitedBackend
from filestored.storage.commit_batch import PendingUpload
from filestored.storage.group_commit import Commits
from filestored.storage.thread_pool import Run


def limited_commits(backend: IBackend, commits: Commits, run: Run) -> Commits:
    """Return `commits`, which wait for the ledger if `backend` has one. `run` opens it in a thread."""
    limited = ILimitedBackend(backend, None)
    return commits if limited is None else LimitedCommits(limited, commits, run)


class LimitedCommits:
    """The `commits` of a store whose `backend` has limits."""

    def __init__(self, backend: ILimitedBackend, commits: Commits, run: Run) -> None:
        self._backend = backend
        self._commits = commits
        self._run = run
        self._waiting: list[Deferred[None]] = []
        self.flush_names = commits.flush_names

    def commit(self, upload: PendingUpload) -> None:
        """See `Commits`."""
        preparation = self.prepare()
        if preparation is None:
            self._commits.commit(upload)
        else:
            preparation.addCallback(lambda _: self._commits.commit(upload))
            preparation.addErrback(partial(_fail, upload))

    def prepare(self) -> "Deferred[None] | None":
        """See `Commits`. Opens the ledger unless a job does so; concurrent calls share one."""
        if not self._backend.needs_ledger:
            return None
        prepared: Deferred[None] = Deferred()
        self._waiting.append(prepared)
        if len(self._waiting) == 1:
            self._run(self._backend.open_ledger).addBoth(self._opened)
        return prepared

    def _opened(self, result: Failure | None) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(result)  # a Failure fails it


def _fail(upload: PendingUpload, failure: Failure) -> None:
    assert isinstance(failure.value, Exception)
    upload.error = failure.value
    upload.on_done(upload)
