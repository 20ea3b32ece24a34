"""Answers that are known: the same question, to the byte, is not read a second time.

What a head asks for stands in its bytes and nowhere else. So when a resource has said of its answer that
it may be given again (`ICacheable`), the answer's fields are kept under the bytes of the head, and when the
same bytes come again, from whomever, they are answered at once: no parsing, no request, no traversal. The
date is of the moment, and the body is opened anew each time, so that nothing is sent that is
not there any more.

This is the hot path of downloads, and takes a quarter to a third of the time (docs/benchmarks.md). A
head that comes in pieces, or with the next one behind it, is read as usual.

Rejected: to keep whole responses, bytes included; who would notice that the file is gone?
"""

from collections.abc import Callable
from dataclasses import dataclass

from twisted.python.failure import Failure

from filestored.errors import FilestoredError
from filestored.http.parser.request_head import RequestHead
from filestored.http.response import CachedHead
from filestored.interfaces import IBlob

MAX_ENTRIES = 2048
"""How many answers are known; the one that came first goes first."""

MAX_HEAD_BYTES = 1024
"""Bytes of the longest head whose answer is kept."""

MAX_HEADERS = 24
"""Fields of the largest head whose answer is kept: read, they take ten times the bytes. Browsers send 18."""


@dataclass(slots=True)
class CachedResponse:
    """The answer 200 to `head`: its own head, and `size` bytes, which `reopen` gives.

    `description` is what the access log says of it, the same each time; None before the first.
    """

    head: RequestHead
    response: CachedHead
    size: int
    reopen: Callable[[], IBlob]
    description: str | None = None

    code = 200
    startedWriting = True

    @property
    def sent_length(self) -> int:
        """Bytes of the body, for the access log."""
        return self.size

    def blob(self) -> IBlob | None:
        """The body, to be closed by the caller; None when it can't be had as before."""
        try:
            blob = self.reopen()
        except (FilestoredError, OSError):
            return None
        if blob.size == self.size:
            return blob
        blob.close()
        return None

    def drained(self) -> None:
        """Nobody waits for the client."""

    def sent(self) -> None:
        """Nobody asked to be told."""

    def sender_closed(self) -> None:
        """See `filestored.http.protocols.Response.sender_closed`."""

    def connection_lost(self, reason: Failure) -> None:
        """Nobody asked to be told."""


class ResponseCache:
    """The answers that one server gives again, by the bytes of the heads."""

    def __init__(self, most: int = MAX_ENTRIES) -> None:
        self._most = most
        self._answers: dict[bytes, CachedResponse] = {}
        self.get = self._answers.get

    def add(self, answer: CachedResponse) -> None:
        """Keep an answer, unless its head is too large."""
        raw = answer.head.raw
        if len(raw) > MAX_HEAD_BYTES or len(answer.head.fields.lines) > MAX_HEADERS:
            return
        self._answers[raw] = answer
        if len(self._answers) > self._most:
            del self._answers[next(iter(self._answers))]

    def forget(self, answer: CachedResponse) -> None:
        """Have the head of an answer read anew."""
        self._answers.pop(answer.head.raw, None)

    def clear(self) -> None:
        """Have all heads read anew."""
        self._answers.clear()
