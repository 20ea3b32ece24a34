"""One turn of the group commit: the blocking work for everybody who is in it.

In: bodies that have arrived, and members whose name was given before. Out: all of them answered, but
for bodies whose name the next turn is to flush (`CommitBatch.unflushed`). See `commit` for the plan.

Every step is taken with all bodies before the next one is taken with any: files are sealed, the
flush is over, and only then the first of them gets its name.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

from filestored.digest import Digest
from filestored.interfaces import IBackend, IBatchFlush, ISink
from filestored.storage.health import FlushFailed
from filestored.storage.threads import empty


class PendingName:
    """Somebody who waits for `digest` to be settled.

    `tell` is called with the member when that is done, or has failed. It must not raise.
    """

    created = False
    encoding: str | None = None
    error: Exception | None = None

    def __init__(self, digest: Digest, tell: "Callable[[PendingName], None]") -> None:
        self.digest = digest
        self._tell = tell

    def answer(self) -> None:
        """Tell what came of it."""
        empty(self.error)
        self._tell(self)


class PendingUpload(PendingName):
    """Somebody who brings the bytes, too."""

    _sink: ISink | None = None

    def __init__(self, digest: Digest, data: bytes | bytearray, tell: Callable[[PendingName], None]) -> None:
        super().__init__(digest, tell)
        self._data = data

    def fill(self, backend: IBackend) -> None:
        """Write the bytes to where nobody sees them."""
        self._sink = backend.begin()
        self._sink.write(self._data)

    def seal(self, flush: bool) -> None:
        """Let nobody change them any more, and make them durable if `flush` says so."""
        assert self._sink is not None, "it has been filled"
        self._sink.seal(flush)

    def publish(self) -> None:
        """Give them their name."""
        assert self._sink is not None, "it has been filled"
        self.created = self._sink.publish(self.digest)
        self.encoding = self._sink.encoding

    def discard(self) -> None:
        """Let go of what is held."""
        if self._sink is not None:
            self._sink.discard()


class CommitBatch:
    """Takes the bodies that have `arrived` as far as to their names, and makes `named` durable.

    `unflushed` are those that have a name at the end, and no flush yet.
    """

    def __init__(
        self, backend: IBackend, arrived: Sequence[PendingUpload], named: Sequence[PendingName]
    ) -> None:
        self._backend = backend
        self._together = IBatchFlush(backend, None)
        self._arrived = arrived
        self._named = named
        self.unflushed: list[PendingUpload] = []

    def __bool__(self) -> bool:
        """Whether there is somebody in it."""
        return bool(self._arrived or self._named)

    def take(self, is_waited_for: Callable[[], bool]) -> int | None:
        """Do the work; when nobody waits for another turn, settle the new names, too.

        Blocking. Returns the free space, None when that can't be told; raises `FlushFailed`.
        """
        try:
            self._advance(is_waited_for)
        except OSError as error:
            raise FlushFailed(error.errno, f"the store could not be flushed: {error.strerror}") from error
        finally:
            for body in self._arrived:
                body.discard()
        with suppress(OSError):
            return self._backend.free_space()
        return None

    def fail(self, error: Exception) -> None:
        """Nothing of this turn may be taken for durable."""
        self.unflushed = []
        for member in (*self._named, *self._arrived):
            member.error = member.error or error

    def answer(self) -> None:
        """Tell everybody but the unsettled ones."""
        waiting = set(self.unflushed)
        for member in (*self._named, *self._arrived):
            if member not in waiting:
                member.answer()

    def _advance(self, is_waited_for: Callable[[], bool]) -> None:
        bodies = _each(self._arrived, lambda body: body.fill(self._backend))
        bodies = self._flush(bodies, self._named)
        bodies = _each(bodies, PendingUpload.publish)
        if is_waited_for():
            self.unflushed = bodies
        else:
            self._flush([], bodies)

    def _flush(self, bodies: list[PendingUpload], named: Sequence[PendingName]) -> list[PendingUpload]:
        """Make bytes and names durable; answers the bodies that are."""
        digests = [member.digest for member in named]
        if self._together is not None and self._together.is_worthwhile(len(bodies), digests):
            bodies = _each(bodies, lambda body: body.seal(flush=False))
            self._together.flush()
            return bodies
        bodies = _each(bodies, lambda body: body.seal(flush=True))
        if digests:
            self._backend.flush_names(digests)
        return bodies


def _each(bodies: Sequence[PendingUpload], step: Callable[[PendingUpload], None]) -> list[PendingUpload]:
    """Take one step with all of them. Whose step fails, fails alone; answers the others."""
    well = []
    for body in bodies:
        try:
            step(body)
        except Exception as error:
            body.error = error
        else:
            well.append(body)
    return well
