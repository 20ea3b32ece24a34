"""Stored files as resources: ``/?file_hash=H`` and ``/files/H``.

Both name a file by its hash, one in the query, one in the path; what can be done with it is
the same and stands in `StoredFile`. `FilesByQuery` adds the upload of something whose hash is not
known yet, `FilesByPath` the upload under a known one.

A POST does not know beforehand what it will turn out to store, so its preconditions are
judged afterwards: 412 says that nothing has changed.
"""

from collections.abc import Callable, Sequence
from functools import partial

from twisted.internet.defer import Deferred

from filestored.digest import Digest
from filestored.errors import NotFound
from filestored.interfaces import IStore, IStreamedRequest, ISyncOpen, UploadResult
from filestored.web.download import send
from filestored.web.errors import HTTPError, precondition_failed
from filestored.web.headers.conditional import Precondition, entity_tag, evaluate_preconditions
from filestored.web.headers.digests import repr_digest
from filestored.web.headers.values import header_list
from filestored.web.resource import TEXT, AsyncResource, prefers_json, reply, reply_json
from filestored.web.upload import UploadHeaders, receive


class StoredFile(AsyncResource):
    """Reading and deleting; `name` finds the text of the hash in a request."""

    allowedMethods: Sequence[bytes] = (b"DELETE", b"GET", b"HEAD")

    def __init__(self, store: IStore, name: Callable[[IStreamedRequest], bytes]) -> None:
        super().__init__()
        self._store = store
        self._name = name

    def render_GET(self, request: IStreamedRequest) -> Deferred[None] | None:
        """200, 206 or 304 and the file; 404; 400 for a malformed hash; 412, 416."""
        digest = self._digest(request)
        if ISyncOpen.providedBy(self._store) and not self._store.slow:
            reopen = partial(self._store.reopen, digest)
            return send(self._store.open_sync(digest), request, reopen=reopen)
        return self._store.open(digest).addCallback(send, request)

    render_HEAD = render_GET

    async def render_DELETE(self, request: IStreamedRequest) -> None:
        """200 and gone; 404; 412."""
        digest = self._digest(request)
        if _forbidden(request, entity_tag(digest)):
            raise precondition_failed() if await self._is_stored(digest) else NotFound()
        if not await self._store.delete(digest):
            raise NotFound
        reply(request, 200, b"")

    def _digest(self, request: IStreamedRequest) -> Digest:
        """A present name, or one from before the store moved to its algorithm; the answer keeps to it."""
        return self._store.parse(self._text(request))

    def _text(self, request: IStreamedRequest) -> str:
        return self._name(request).decode("ascii", "replace")

    async def _is_stored(self, digest: Digest) -> bool:
        try:
            blob = await self._store.open(digest)
        except NotFound:
            return False
        blob.close()
        return True


class FilesByQuery(StoredFile):
    """``/``: upload, and files named in the query."""

    allowedMethods = (b"DELETE", b"GET", b"HEAD", b"POST")

    def __init__(self, store: IStore) -> None:
        super().__init__(store, _hash_in_query)

    def render_POST(self, request: IStreamedRequest) -> Deferred[None]:
        """200 and the hash; 412 when ``If-None-Match`` forbids that it was there already."""
        receiving = receive(request.body, UploadHeaders.of(request), self._store)
        return receiving.addCallback(_acknowledge, request, 200)


class FilesByPath(StoredFile):
    """``/files/``: files named in the path."""

    isLeaf = True

    allowedMethods = (b"DELETE", b"GET", b"HEAD", b"PUT")

    def __init__(self, store: IStore) -> None:
        super().__init__(store, _hash_in_path)

    async def render_PUT(self, request: IStreamedRequest) -> None:
        """201 when it is new, 200 when it was there; 422 when the bytes have another hash.

        400 also for the former name of a file: what is new gets a present one only.
        """
        digest = self._store.algorithm.parse(self._text(request))
        announcement = UploadHeaders.of(request)
        if _is_conditional(request):
            stored_before = await self._is_stored(digest)
            if _forbidden(request, entity_tag(digest) if stored_before else None):
                raise precondition_failed()
        stored = await receive(request.body, announcement, self._store, [digest])
        _acknowledge(stored, request, 201 if stored.created else 200)


def _hash_in_query(request: IStreamedRequest) -> bytes:
    named: list[bytes] = [*request.args.get(b"file_hash", ()), *request.args.get(b"hash", ())]
    if len(named) != 1:
        raise HTTPError(400, "Name one file by its hash: /?file_hash=HASH")
    return named[0]


def _hash_in_path(request: IStreamedRequest) -> bytes:
    if len(request.postpath) != 1 or not request.postpath[0]:
        raise NotFound
    name: bytes = request.postpath[0]
    return name


def _is_conditional(request: IStreamedRequest) -> bool:
    return any(request.getHeader(name) is not None for name in (b"if-match", b"if-none-match"))


def _forbidden(request: IStreamedRequest, tag: bytes | None) -> bool:
    """Whether a condition forbids to change a file that has `tag` now, None being no file."""
    if_match, if_none_match = header_list(request, b"if-match"), header_list(request, b"if-none-match")
    return evaluate_preconditions(tag, if_match, if_none_match, reading=False) is Precondition.FAILED


def _acknowledge(stored: UploadResult, request: IStreamedRequest, status: int) -> None:
    """Tell the hash of what is now on disk."""
    digest = stored.digest
    tag = entity_tag(digest)
    if_none_match = None if stored.created else header_list(request, b"if-none-match")
    if evaluate_preconditions(tag, None, if_none_match, reading=False) is Precondition.FAILED:
        raise precondition_failed()
    place = f"/files/{digest}"
    fields = [(b"Location", place.encode()), (b"ETag", tag)]
    integrity = repr_digest(digest)
    if integrity is not None:
        fields.append((b"Repr-Digest", integrity))
    if prefers_json(request):
        answer = {
            "hash": digest.hex,
            "algorithm": digest.algorithm,
            "size": stored.size,
            "created": stored.created,
            "url": place,
        }
        reply_json(request, status, answer, fields=fields)
    else:
        reply(request, status, digest.hex.encode(), TEXT, fields)
