"""Group commit: many uploads, few flushes.

Everything that ends with a durable name queues here. One turn is under way at a time, in one
job of an I/O thread; what queued meanwhile takes the next turn, so a lone upload never waits for
company and a crowd pays once. A turn has one flush, for the bytes of those who have come and for the
names that were given in the turn before::

    turn      fill A    | flush: bytes of A                | publish A |
    turn      fill B, C | flush: bytes of B, C; name of A  | publish B, C | -> answer A
    turn      ...       | flush: names of B, C; ...

So every file is sealed before it is named, and nobody is answered before a flush that began
after his name was given. When nobody waits at the end of a turn, its own names are flushed there and then.

A lone upload makes these calls before it is answered: write, fchmod, fsync(file), linkat, fsync(shard),
pread(FORMAT). The last one confirms the one before it (see `root`). A crowd: write, fchmod, syncfs, linkat,
syncfs.

The flush is one for all where the backend can do that and it saves something
(`IBatchFlush`); else each file and each directory is flushed by itself.

A small body comes with its bytes (`commit`), and everything happens to it here. A large one
was sealed and named by a job of its own, and a deletion has taken a name away: of these
only the name is still to be made durable (`flush_names`).

A member that fails, fails alone. A failed flush fails all that it was for, and all that come
after it: what it could not make durable may seem durable to the next flush.

Rejected: waiting a millisecond for more members (it only adds a millisecond); taking back
the names of a failed flush (another process may have answered for them by now).
"""

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from filestored.digest import Digest
from filestored.errors import WritesSuspended
from filestored.interfaces import IBackend
from filestored.storage.commit_batch import CommitBatch, PendingName, PendingUpload
from filestored.storage.health import Health
from filestored.storage.threads import Run


class GroupCommit:
    """The one way to durable names of a store. `update_free_space` is told the free space after each turn."""

    def __init__(
        self, backend: IBackend, run: Run, health: Health, update_free_space: Callable[[int | None], None]
    ) -> None:
        self._backend = backend
        self._run = run
        self._health = health
        self._hear = update_free_space
        self._arrived: list[PendingUpload] = []
        self._named: list[PendingName] = []
        self._busy = False

    def commit(self, body: PendingUpload) -> None:
        """Store the bytes of `body` durably. Its `tell` hears what came of it."""
        self._arrived.append(body)
        self._go_on()

    def flush_names(self, digest: Digest) -> "Deferred[None]":
        """Make durable that `digest` was published or deleted. Fails with `WritesSuspended`, or `OSError`."""
        settled: Deferred[None] = Deferred()
        self._named.append(PendingName(digest, partial(_fire, settled)))
        self._go_on()
        return settled

    def _go_on(self) -> None:
        if not self._busy:
            self._next()

    def _next(self) -> None:
        """Send off what has queued; or refuse it, when an earlier turn has ended all writing."""
        turn = CommitBatch(self._backend, self._arrived, self._named)
        self._arrived, self._named = [], []
        if not turn:
            return
        if self._health.degraded is not None:
            turn.fail(WritesSuspended())
            turn.answer()
            return
        self._busy = True
        self._run(turn.take, self._is_waited_for).addBoth(self._taken, turn)

    def _is_waited_for(self) -> bool:
        """Whether there will be another turn. Asked in the I/O thread."""
        return bool(self._arrived or self._named)

    def _taken(self, result: int | Failure | None, turn: CommitBatch) -> None:
        self._busy = False
        if isinstance(result, Failure):
            error = result.value
            assert isinstance(error, Exception)
            turn.fail(self._health.classify(error))
        else:
            self._hear(result)
        self._named[:0] = turn.unflushed
        self._next()
        turn.answer()


def _fire(settled: "Deferred[None]", member: PendingName) -> None:
    if member.error is None:
        settled.callback(None)
    else:
        settled.errback(member.error)
