"""Group commit: many uploads, few flushes.

Everything that ends with a flush of a directory queues here. One batch is under way at
a time, in one job of an I/O thread; what queued meanwhile is the next batch, so a lone upload
never waits for company and a crowd pays once. In a batch every file is sealed before
the first is named, every name is given before the first directory is flushed, and nobody is
answered before the last. ::

    queue -> [fill, fill, ...] [seal, seal, ...] [publish, publish, ...] settle -> answers

A small body comes with its bytes (`commit`), and everything happens to it here. A large one
was sealed and named by a job of its own, and a deletion has taken a name away: of these
only the name is still to be made durable (`settle`).

A member that fails, fails alone. A failed settle fails all of its batch, and all that come
after it: the names it could not make durable may seem durable to the next flush.

Rejected: waiting a millisecond for more members (it only adds a millisecond); taking back
the names of a failed batch (another process may have answered for them by now).
"""

from collections.abc import Callable
from contextlib import suppress

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from filestored.digest import Digest
from filestored.errors import WritesSuspended
from filestored.interfaces import IBackend, ISink
from filestored.storage.health import FlushFailed, Health
from filestored.storage.jobs import Run


class GroupCommit:
    """The one way to durable names of a store. `hear` is told the free space after each batch."""

    def __init__(
        self, backend: IBackend, run: Run, health: Health, hear: Callable[[int | None], None]
    ) -> None:
        self._backend = backend
        self._run = run
        self._health = health
        self._hear = hear
        self._queue: list[_Member] = []
        self._busy = False

    def commit(self, digest: Digest, data: bytes | bytearray) -> "Deferred[bool]":
        """Store `data` under `digest`, durably. True when it is new."""
        return self._join(_Body(digest, data))

    def settle(self, digest: Digest) -> "Deferred[bool]":
        """Make durable that `digest` was published, or deleted. What it fires with says nothing."""
        return self._join(_Member(digest))

    def _join(self, member: "_Member") -> "Deferred[bool]":
        self._queue.append(member)
        if not self._busy:
            self._next()
        return member.done

    def _next(self) -> None:
        """Send off what has queued; or refuse it, when an earlier batch has ended all writing."""
        batch, self._queue = self._queue, []
        if not batch:
            return
        if self._health.degraded is not None:
            _fail(batch, WritesSuspended())
            _answer(batch)
            return
        self._busy = True
        self._run(_flush, self._backend, batch).addBoth(self._flushed, batch)

    def _flushed(self, result: int | Failure | None, batch: "list[_Member]") -> None:
        self._busy = False
        if isinstance(result, Failure):
            error = result.value
            assert isinstance(error, Exception)
            _fail(batch, self._health.judge(error))
        else:
            self._hear(result)
        self._next()
        _answer(batch)


class _Member:
    """Somebody in a batch who waits for `digest` to be settled; `done` is told.

    The blocking verbs have nothing to do for a name that has changed already.
    """

    def __init__(self, digest: Digest) -> None:
        self.digest = digest
        self.created = False
        self.error: Exception | None = None
        self.done: Deferred[bool] = Deferred()

    def fill(self, backend: IBackend) -> None:
        """Write the bytes to where nobody sees them."""

    def seal(self) -> None:
        """Make the bytes durable."""

    def publish(self) -> None:
        """Give the bytes their name."""

    def discard(self) -> None:
        """Let go of what is held."""


class _Body(_Member):
    """Somebody who brings the bytes, too."""

    def __init__(self, digest: Digest, data: bytes | bytearray) -> None:
        super().__init__(digest)
        self._data = data
        self._sink: ISink | None = None

    def fill(self, backend: IBackend) -> None:
        self._sink = backend.begin()
        self._sink.write(self._data)

    def seal(self) -> None:
        if self._sink:
            self._sink.seal()

    def publish(self) -> None:
        if self._sink:
            self.created = self._sink.publish(self.digest)

    def discard(self) -> None:
        if self._sink:
            self._sink.discard()


def _flush(backend: IBackend, batch: list[_Member]) -> int | None:
    """Take a batch to the disk. Blocking; returns the free space, raises `FlushFailed`."""
    try:
        _each(batch, lambda member: member.fill(backend))
        _each(batch, lambda member: member.seal())
        _each(batch, lambda member: member.publish())
        backend.settle([member.digest for member in batch if member.error is None])
    except OSError as error:
        raise FlushFailed(error.errno, f"a directory could not be flushed: {error.strerror}") from error
    finally:
        for member in batch:
            member.discard()
    with suppress(OSError):
        return backend.free_space()
    return None


def _each(batch: list[_Member], step: Callable[[_Member], None]) -> None:
    """Take one step with all members that are still well; whose step fails, fails alone."""
    for member in batch:
        if member.error is None:
            try:
                step(member)
            except Exception as error:
                member.error = error


def _fail(batch: list[_Member], error: Exception) -> None:
    for member in batch:
        member.error = member.error or error


def _answer(batch: list[_Member]) -> None:
    for member in batch:
        if member.error is None:
            member.done.callback(member.created)
        else:
            member.done.errback(member.error)
