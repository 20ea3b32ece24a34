"""One batch of the group commit: write, seal, flush, publish. Blocking.

In: uploads, and names that were published or deleted before. Out: all of them done, except for uploads whose
name the next batch flushes (`CommitBatch.unflushed`). See `group_commit` for the plan.

Each step is done for all uploads before the next one: all files are sealed and flushed before the first is
published.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

from filestored.digest import Digest
from filestored.interfaces import IBackend, IBatchFlush, ISink
from filestored.storage.health import FlushFailed
from filestored.storage.threads import clear_traceback_frames


class PendingName:
    """A published or deleted name, which is not durable yet.

    `on_done` is called with it when it is durable, or when `error` is set. It must not raise.
    """

    created = False
    encoding: str | None = None
    error: Exception | None = None

    def __init__(self, digest: Digest, on_done: "Callable[[PendingName], None]") -> None:
        self.digest = digest
        self._on_done = on_done

    def notify(self) -> None:
        """Call `on_done`."""
        if self.error is not None:
            clear_traceback_frames(self.error)
        self._on_done(self)


class PendingUpload(PendingName):
    """A small upload: its content is written, sealed and published by the batch."""

    sink: ISink | None = None

    def __init__(
        self, digest: Digest, data: bytes | bytearray, on_done: Callable[[PendingName], None]
    ) -> None:
        self.digest = digest
        self.data = data
        self._on_done = on_done


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

    def run(self, has_pending: Callable[[], bool]) -> int | None:
        """Run the batch in the I/O thread. If no next batch is pending, also flush the new names.

        Returns the free space in bytes, or None if unknown. Raises `FlushFailed`.
        """
        try:
            published = self._publish(self._flush(self._write(), self._names))
            if has_pending():
                self.unflushed = published
            elif published:
                self._flush([], published)
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
                member.notify()

    def _write(self) -> list[PendingUpload]:
        """Write each upload to a new sink; return those without an error."""
        written = []
        for upload in self._uploads:
            try:
                upload.sink = self._backend.begin()
                upload.sink.write(upload.data)
            except Exception as error:
                upload.error = error
            else:
                written.append(upload)
        return written

    def _flush(self, uploads: list[PendingUpload], names: Sequence[PendingName]) -> list[PendingUpload]:
        """Make contents and names durable, with one flush if cheaper; return uploads without an error."""
        if not (uploads or names):
            return uploads
        digests = [member.digest for member in names]
        batch_flush = self._batch_flush
        if batch_flush is not None and batch_flush.is_worthwhile(len(uploads), digests):
            sealed = self._seal(uploads, flush=False)
            batch_flush.flush_all()
            return sealed
        sealed = self._seal(uploads, flush=True)
        if digests:
            self._backend.flush_names(digests)
        return sealed

    @staticmethod
    def _seal(uploads: Sequence[PendingUpload], flush: bool) -> list[PendingUpload]:
        sealed = []
        for upload in uploads:
            try:
                assert upload.sink is not None, "it was written"
                upload.sink.seal(flush)
            except Exception as error:
                upload.error = error
            else:
                sealed.append(upload)
        return sealed

    @staticmethod
    def _publish(uploads: Sequence[PendingUpload]) -> list[PendingUpload]:
        published = []
        for upload in uploads:
            try:
                assert upload.sink is not None, "it was written"
                upload.created = upload.sink.publish(upload.digest)
                upload.encoding = upload.sink.encoding
            except Exception as error:
                upload.error = error
            else:
                published.append(upload)
        return published
