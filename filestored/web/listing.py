"""Lists of stored files, by pages or as one stream, and the usage of a bucket.

In: ``after`` and ``limit`` of the query. Out: JSON, or one JSON object in each line for clients that prefer
``application/x-ndjson``. Files are listed in steps, between which other requests are served. The stream is
written step by step, each after the client has taken the last one, so memory is bounded.
"""

import re
import sys
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from filestored.digest import Digest
from filestored.errors import BodyLost, FilestoredError
from filestored.http.response import preformat
from filestored.interfaces import IStore, IStreamedRequest
from filestored.web.errors import HTTPError
from filestored.web.headers.negotiation import wants_ndjson
from filestored.web.resource import JSON, NO_SNIFF, AsyncResource, reply, reply_json

MAX_PAGE_FILES = 1000
"""Default and maximum of ``limit``."""

NDJSON = b"application/x-ndjson"

_VARY = ((b"Vary", b"Accept, Origin"),)
_STREAM_HEADERS = preformat((b"Content-Type", NDJSON), (b"Cache-Control", b"no-store"), NO_SNIFF, *_VARY)

_log = Logger()


class FileList(AsyncResource):
    """``/files/``: the files of a store in ascending order of their hashes."""

    isLeaf = True

    def __init__(self, store: IStore) -> None:
        super().__init__()
        self._store = store

    async def render_GET(self, request: IStreamedRequest) -> None:
        """200 and a page, or all files as a stream; 400 for a malformed query."""
        after, limit = self._after(request), _limit(request)
        with self._store.in_use():
            if wants_ndjson(request.header(b"accept")):
                await self._stream(request, after, limit)
            else:
                await self._page(request, after, limit or MAX_PAGE_FILES)

    render_HEAD = render_GET

    def _after(self, request: IStreamedRequest) -> Digest | None:
        text = _only(request, b"after")
        if not text:
            return None
        return self._store.algorithm.parse(text.lower().ljust(2 * self._store.algorithm.size, "0"))

    async def _page(self, request: IStreamedRequest, after: Digest | None, limit: int) -> None:
        """Send a page of at most `limit` files, which are listed and formatted in several steps."""
        entries: list[str] = []
        last = after
        while wanted := min(limit - len(entries), self._store.max_listed_files):
            files = await self._store.entries(last, wanted)
            entries += [file.to_json() for file in files]
            if len(files) < wanted:
                break
            last = files[-1].digest
        following = f'"{last}"' if len(entries) == limit else "null"
        body = f'{{"files": [{", ".join(entries)}], "next": {following}}}\n'
        reply(request, 200, body.encode("ascii"), JSON, _VARY)

    async def _stream(self, request: IStreamedRequest, after: Digest | None, limit: int | None) -> None:
        """Send the files line by line, at most `limit`; abort the connection if they cannot be listed."""
        left = sys.maxsize if limit is None else limit
        wanted = min(left, self._store.max_listed_files)
        files = await self._store.entries(after, wanted)
        request.set_headers(_STREAM_HEADERS)
        client = _Client(request)
        try:
            while request.method == b"GET":
                request.write("".join(f"{file.to_json()}\n" for file in files).encode("ascii"))
                left -= len(files)
                if len(files) < wanted or not left:
                    break
                await client.ready()
                wanted = min(left, self._store.max_listed_files)
                files = await self._store.entries(files[-1].digest, wanted)
        except (FilestoredError, OSError) as error:
            client.log_unless_gone(error)
            request.abort()
            return
        request.unregisterProducer()
        request.finish()


@implementer(IPushProducer)
class _Client:
    """The client of a stream, as the producer that its connection pauses."""

    def __init__(self, request: IStreamedRequest) -> None:
        self._paused = self._gone = False
        self._waiting: Deferred[None] | None = None
        request.registerProducer(self, True)

    async def ready(self) -> None:
        """Wait until the client takes more. Raises `BodyLost` when it has gone."""
        if self._paused and not self._gone:
            self._waiting = Deferred()
            await self._waiting
        if self._gone:
            raise BodyLost

    def log_unless_gone(self, error: Exception) -> None:
        """Log the error that ends the stream, unless the client has gone."""
        if not self._gone:
            _log.error("a list of files was not sent to its end: {reason}", reason=str(error))

    def pauseProducing(self) -> None:
        """Write no more until `resumeProducing`."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Continue to write."""
        self._paused = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """End: the client has gone."""
        self._gone = True
        self.resumeProducing()


class BucketUsage(AsyncResource):
    """``/buckets/<name>/usage``: number and size of the files of the bucket `name`, and its limits."""

    isLeaf = True

    def __init__(self, store: IStore, name: str) -> None:
        super().__init__()
        self._store = store
        self._name = name

    async def render_GET(self, request: IStreamedRequest) -> None:
        """200 and the figures; null is no limit."""
        usage, limits = await self._store.usage(), self._store.limits
        reply_json(
            request,
            200,
            {
                "bucket": self._name,
                "files": usage.files,
                "bytes": usage.bytes,
                "quota_bytes": limits.quota_bytes,
                "quota_files": limits.quota_files,
            },
        )

    render_HEAD = render_GET


def _limit(request: IStreamedRequest) -> int | None:
    """Return ``limit``, None without one. Raises `HTTPError` (400)."""
    text = _only(request, b"limit")
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_PAGE_FILES:
        raise HTTPError(400, f"The limit is a number from 1 to {MAX_PAGE_FILES}.")
    return int(text)


def _only(request: IStreamedRequest, name: bytes) -> str | None:
    """Return a field of the query, None without it. Raises `HTTPError` (400) for several."""
    values: Sequence[bytes] = request.args.get(name, ())
    if len(values) > 1:
        raise HTTPError(400, f"The query has several fields {name.decode('ascii')}.")
    return values[0].decode("latin-1") if values else None
