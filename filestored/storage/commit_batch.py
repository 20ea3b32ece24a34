"""One batch of the group commit: write, seal, flush, publish. Blocking.

In: uploads, and names that were published or deleted before. Out: all of them done, except for uploads whose
name the next batch flushes (`CommitBatch.unflushed`). See `group_commit` for the plan.

All files are sealed and flushed before the first is published.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from operator import attrgetter

from filestored.digest import Digest
from filestored.interfaces import IBackend, IBatchFlush, ISink
from filestored.request_context import call_for_request, current_request_id
from filestored.storage.health import FlushFailed
from filestored.storage.thread_pool import clear_traceback_frames

_DIGEST = attrgetter("digest")


class PendingName:
    """A published or deleted name, which is not durable yet.

    `on_done` is called with it when it is durable, or when `error` is set. It must not raise. All of this is
    on behalf of the request that is served when the object is made.
    """

    created = False
    encoding: str | None = None
    error: Exception | None = None

    def __init__(self, digest: Digest, on_done: "Callable[[PendingName], None]") -> None:
        self.digest = digest
        self.on_done = on_done
        self.request_id = current_request_id.get()

    def rate(self, now: float) -> float:
        """See `SlotHolder.rate`: it does not wait for a client."""
        return inf

    def evict(self) -> None:
        """See `SlotHolder.evict`; not called, because of `rate`."""


class PendingUpload(PendingName):
    """A small upload: its content is written, sealed and published by the batch."""

    sink: ISink | None = None

    def __init__(
        self, digest: Digest, data: bytes | bytearray, on_done: Callable[[PendingName], None]
    ) -> None:
        self.digest = digest
        self.data = data
        self.on_done = on_done
        self.request_id = current_request_id.get()


class CommitBatch:
    """Publishes `uploads`, and makes `names` durable.

    `unflushed` are the uploads that are published at the end, but not flushed.
    """

    def __init__(
        self, backend: IBackend, uploads: Sequence[PendingUpload], names: Sequence[PendingName]
    ) -> None:
        self._backend = backend
        self._batch_flush = IBatchFlush(backend, None)
        self._uploads = uploads
        self._names = names
        self.unflushed: list[PendingUpload] = []

    @property
    def size(self) -> int:
        """The number of uploads and names."""
        return len(self._uploads) + len(self._names)

    def run(self, has_pending: Callable[[], bool]) -> int | None:
        """Run the batch in the I/O thread. If no next batch is pending, also flush the new names.

        Returns the free space in bytes, or None if unknown. Raises `FlushFailed`.
        """
        digests = list(map(_DIGEST, self._names))
        together = self._flushes_together(len(self._uploads), digests)
        try:
            sealed = self._seal(flush=not together)
            if sealed or digests:
                self._flush(digests, together)
            published = self._publish(sealed)
            if has_pending():
                self.unflushed = published
            elif published:
                digests = list(map(_DIGEST, published))
                self._flush(digests, self._flushes_together(0, digests))
        except OSError as error:
            raise FlushFailed(error.errno, f"the store could not be flushed: {error.strerror}") from error
        finally:
            for upload in self._uploads:
                if upload.sink is not None:
                    upload.sink.discard()
        with suppress(OSError):
            return self._backend.free_space()
        return None

    def fail(self, error: Exception) -> None:
        """Set `error` for all members: none is known to be durable."""
        self.unflushed = []
        for member in (*self._names, *self._uploads):
            member.error = member.error or error

    def notify(self) -> None:
        """Notify all members, except the unflushed ones."""
        waiting = set(self.unflushed)
        for member in (*self._names, *self._uploads):
            if member not in waiting:
                if member.error is not None:
                    clear_traceback_frames(member.error)
                call_for_request(member.request_id, member.on_done, member)

    def _flushes_together(self, files: int, digests: Sequence[Digest]) -> bool:
        """Return whether one flush for so many files, and these names, is supported and cheaper."""
        return self._batch_flush is not None and self._batch_flush.is_worthwhile(files, digests)

    def _seal(self, flush: bool) -> list[PendingUpload]:
        """Write each upload to a new sink and seal it; return those without an error."""
        sealed = []
        for upload in self._uploads:
            try:
                current_request_id.set(upload.request_id)
                upload.sink = sink = self._backend.begin()
                sink.write(upload.data)
                sink.seal(flush)
            except Exception as error:
                upload.error = error
            else:
                sealed.append(upload)
        return sealed

    def _flush(self, digests: Sequence[Digest], together: bool) -> None:
        """Make these names durable; if `together`, with all contents sealed before."""
        current_request_id.set(b"")
        if together:
            assert self._batch_flush is not None
            self._batch_flush.flush_all()
        elif digests:
            self._backend.flush_names(digests)

    @staticmethod
    def _publish(uploads: Sequence[PendingUpload]) -> list[PendingUpload]:
        published = []
        for upload in uploads:
            try:
                assert upload.sink is not None, "it was written"
                current_request_id.set(upload.request_id)
                upload.created = upload.sink.publish(upload.digest)
                upload.encoding = upload.sink.encoding
            except Exception as error:
                upload.error = error
            else:
                published.append(upload)
        return published
