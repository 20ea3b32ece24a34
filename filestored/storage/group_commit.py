"""Group commit: a queue of uploads and names that share flushes.

Everything that ends with a durable name queues here. One batch runs at a time, in one job of an I/O thread;
what queues meanwhile is the next batch. While none runs, the next one starts after the iteration of the
reactor that has read its first upload. So a lone upload never waits for others, and many uploads share the
cost. A batch has one flush, for its own contents and for the names published by the batch before::

    batch     write A    | flush: content of A                | publish A |
    batch     write B, C | flush: content of B, C; name of A  | publish B, C | -> A is done
    batch     ...        | flush: names of B, C; ...

So every file is sealed before it is published, and an upload is done after a flush that began after it was
published. When no next batch is pending, a batch flushes its own names as well.

A lone upload makes these calls: write, fchmod, fsync(file), linkat, fsync(shard), pread(FORMAT). The last one
confirms the one before it (see `StoreRoot.flush`). Many uploads: write, fchmod, syncfs, linkat, syncfs. One
flush for all (`IBatchFlush`) is used if the backend supports it and it is cheaper.

A small upload is queued with its content (`commit`). A large one was sealed and published by its own job, and
a deletion has removed a name: only the name is to be made durable (`flush_names`).

An upload that fails does not affect others. A failed flush fails its whole batch, and all later ones: what it
did not make durable may appear durable to the next flush.

Rejected: waiting a millisecond for more members, which only adds a millisecond; unlinking the names of a
failed flush, which another process may have reported as stored.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from filestored.digest import Digest
from filestored.interfaces import IBackend, IDurablePublish
from filestored.metrics.recorder import Recorder
from filestored.storage.commit_batch import CommitBatch, PendingName, PendingUpload
from filestored.storage.health import Health
from filestored.storage.thread_pool import Run

CallSoon = Callable[[Callable[[], None]], object]
"""Calls a function after the present iteration of the reactor, or at once."""


OnFreeSpace = Callable[[int | None], None]
"""Receives the free space in bytes; None if it is unknown."""


class Commits(Protocol):
    """The only way to durable names in a store."""

    def commit(self, upload: PendingUpload) -> None:
        """Store the content of `upload` durably; its `on_done` is called at the end."""

    def flush_names(self, digest: Digest) -> "Deferred[None]":
        """Make a published or deleted name durable. Fails with `WritesSuspended` or `OSError`."""

    def prepare(self) -> "Deferred[None] | None":
        """Return None if content can be published now, else fire when it can. Fails with `OSError`."""


def make_commits(
    backend: IBackend,
    run: Run,
    health: Health,
    on_free_space: OnFreeSpace,
    call_soon: CallSoon,
    metrics: Recorder | None = None,
) -> Commits:
    """Return the commits of `backend`: in groups, or separate ones if it flushes no names."""
    if IDurablePublish.providedBy(backend):
        return SeparateCommits(backend, run, health, on_free_space)
    return GroupCommit(backend, run, health, on_free_space, call_soon, metrics)


class SeparateCommits:
    """Commits each upload in a job of its own, for a backend with `IDurablePublish`."""

    def __init__(self, backend: IBackend, run: Run, health: Health, on_free_space: OnFreeSpace) -> None:
        self._backend = backend
        self._run = run
        self._health = health
        self._on_free_space = on_free_space

    def commit(self, upload: PendingUpload) -> None:
        """See `Commits`."""
        batch = CommitBatch(self._backend, [upload], [])
        self._run(batch.run, _none_pending).addBoth(self._done, batch)

    def flush_names(self, digest: Digest) -> "Deferred[None]":
        """Return a result: there is nothing to flush."""
        return succeed(None)

    def prepare(self) -> None:
        """See `Commits`."""

    def _done(self, result: int | Failure | None, batch: CommitBatch) -> None:
        if isinstance(result, Failure):
            assert isinstance(result.value, Exception)
            batch.fail(result.value)
        else:
            self._on_free_space(result)
        batch.notify()


def _none_pending() -> bool:
    return False


class GroupCommit:
    """Commits uploads and names in batches. `on_free_space` receives the free space after each batch.

    `call_soon` starts a batch while none runs. `metrics` counts the queue, with the batch that runs.
    """

    def __init__(
        self,
        backend: IBackend,
        run: Run,
        health: Health,
        on_free_space: OnFreeSpace,
        call_soon: CallSoon,
        metrics: Recorder | None = None,
    ) -> None:
        self._metrics = metrics
        self._backend = backend
        self._run = run
        self._health = health
        self._on_free_space = on_free_space
        self._uploads: list[PendingUpload] = []
        self._names: list[PendingName] = []
        self._call_soon = call_soon
        self._busy = self._scheduled = False

    def commit(self, upload: PendingUpload) -> None:
        """See `Commits`."""
        self._uploads.append(upload)
        if self._metrics is not None:
            self._metrics.commits_queued(1)
        if not (self._busy or self._scheduled):
            self._schedule_batch()

    def flush_names(self, digest: Digest) -> "Deferred[None]":
        """See `Commits`."""
        flushed: Deferred[None] = Deferred()
        self._names.append(PendingName(digest, partial(_fire, flushed)))
        if self._metrics is not None:
            self._metrics.commits_queued(1)
        if not (self._busy or self._scheduled):
            self._schedule_batch()
        return flushed

    def prepare(self) -> None:
        """See `Commits`."""

    def _schedule_batch(self) -> None:
        self._scheduled = True
        self._call_soon(self._start_batch)

    def _start_batch(self) -> None:
        """Run a batch of what has queued; fail it if an earlier batch has suspended writes."""
        self._scheduled = False
        if not self._has_pending():
            return
        batch = CommitBatch(self._backend, self._uploads, self._names)
        self._uploads, self._names = [], []
        if self._health.degraded is not None:
            batch.fail(self._health.refusal())
            if self._metrics is not None:
                self._metrics.commits_queued(-batch.size)
            batch.notify()
            return
        self._busy = True
        self._run(batch.run, self._has_pending).addBoth(self._batch_done, batch)

    def _has_pending(self) -> bool:
        """Return whether there will be a next batch. Also called in the I/O thread."""
        return bool(self._uploads or self._names)

    def _batch_done(self, result: int | Failure | None, batch: CommitBatch) -> None:
        self._busy = False
        if isinstance(result, Failure):
            error = result.value
            assert isinstance(error, Exception)
            batch.fail(self._health.classify(error))
        else:
            self._on_free_space(result)
        self._names[:0] = batch.unflushed
        if self._metrics is not None:
            self._metrics.commits_queued(len(batch.unflushed) - batch.size)
        self._start_batch()
        batch.notify()


def _fire(flushed: "Deferred[None]", member: PendingName) -> None:
    if member.error is None:
        flushed.callback(None)
    else:
        flushed.errback(member.error)
