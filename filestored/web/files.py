"""Stored files as resources: ``/?file_hash=H`` and ``/files/H``, also in a bucket.

`StoredFile` reads and deletes files. `FilesByQuery` adds uploads of any content, `FilesByPath` uploads under
a known hash. The hash of a POST is known afterwards only, so its preconditions are evaluated after it was
stored: 412 says that it was stored before.
"""

from collections.abc import Callable, Sequence
from functools import partial

from twisted.internet.defer import Deferred

from filestored.digest import Digest
from filestored.errors import NotFound
from filestored.http.response import PreformattedHeaders
from filestored.interfaces import IStore, IStreamedRequest, ISyncOpen, UploadResult
from filestored.web.download import FILES, send, wanted_range
from filestored.web.errors import HTTPError, precondition_failed
from filestored.web.headers.conditional import PreconditionResult, evaluate_preconditions
from filestored.web.headers.digests import entity_tag, repr_digest
from filestored.web.resource import AsyncResource, no_such_address, prefers_json, reply, reply_json
from filestored.web.upload import UploadHeaders, receive, receive_all


class StoredFile(AsyncResource):
    """Reads and deletes a stored file; `hash_of` returns the text of the hash in a request.

    `base` is the path of the bucket, without a slash at its end.
    """

    allowedMethods: Sequence[bytes] = (b"DELETE", b"GET", b"HEAD")

    def __init__(self, store: IStore, hash_of: Callable[[IStreamedRequest], bytes], base: str) -> None:
        super().__init__()
        self._store = store
        self._hash_of = hash_of
        self._url = f"{base}/files/".encode("ascii")

    def render_GET(self, request: IStreamedRequest) -> Deferred[None] | None:
        """200, 206 or 304 and the file; 404; 400 for a malformed hash; 412, 416."""
        digest = self._digest(request)
        if ISyncOpen.providedBy(self._store) and not self._store.slow:
            reopen = partial(self._store.reopen, digest)
            return send(self._store.open_sync(digest), request, FILES[request.cache_scope], reopen)
        opened = self._store.open(digest, wanted=wanted_range(request))
        return opened.addCallback(send, request, FILES[request.cache_scope])

    render_HEAD = render_GET

    async def render_DELETE(self, request: IStreamedRequest) -> None:
        """200 after the deletion; 404; 412."""
        digest = self._digest(request)
        if _precondition_fails(request, entity_tag(digest)):
            raise precondition_failed() if await self._is_stored(digest) else NotFound()
        if not await self._store.delete(digest):
            raise NotFound
        reply(request, 200, b"")

    def _digest(self, request: IStreamedRequest) -> Digest:
        """Return the digest of a present or former algorithm of the store; the response uses it unchanged."""
        return self._store.parse(self._text(request))

    def _text(self, request: IStreamedRequest) -> str:
        return self._hash_of(request).lower().decode("ascii", "replace")  # some tools print upper-case digits

    async def _is_stored(self, digest: Digest) -> bool:
        try:
            blob = await self._store.open(digest, wanted=None)
        except NotFound:
            return False
        blob.close()
        return True


class FilesByQuery(StoredFile):
    """``/``: uploads, and files named in the query."""

    allowedMethods = (b"DELETE", b"GET", b"HEAD", b"POST")

    isLeaf = True

    def __init__(self, store: IStore, base: str = "") -> None:
        super().__init__(store, _hash_in_query, base)

    def render_POST(self, request: IStreamedRequest) -> Deferred[None]:
        """200 and the hashes; 412 when ``If-None-Match`` names a file that was stored before."""
        headers = UploadHeaders.of(request)
        if headers.boundary is None:
            return receive(request.body, headers, self._store).addCallback(
                _reply_stored, request, 200, self._url
            )
        stored = receive_all(request.body, headers, self._store)
        return stored.addCallback(_reply_all_stored, request, self._url)


class FilesByPath(StoredFile):
    """``/files/``: files named in the path."""

    isLeaf = True

    allowedMethods = (b"DELETE", b"GET", b"HEAD", b"PUT")

    def __init__(self, store: IStore, base: str = "") -> None:
        super().__init__(store, _hash_in_path, base)

    async def render_PUT(self, request: IStreamedRequest) -> None:
        """201 when it is new, 200 when it was stored before; 422 when the content has another hash.

        400 also for a hash of a former algorithm: new files have digests of the present one only.
        """
        digest = self._store.algorithm.parse(self._text(request))
        headers = UploadHeaders.of(request)
        if request.header(b"if-match") is not None or request.header(b"if-none-match") is not None:
            tag = entity_tag(digest) if await self._is_stored(digest) else None
            if _precondition_fails(request, tag):
                raise precondition_failed()
        stored = await receive(request.body, headers, self._store, [digest])
        _reply_stored(stored, request, 201 if stored.created else 200, self._url)


def _hash_in_query(request: IStreamedRequest) -> bytes:
    named: list[bytes] = [*request.args.get(b"file_hash", ()), *request.args.get(b"hash", ())]
    if len(named) != 1:
        raise HTTPError(400, "Name one file by its hash: /?file_hash=HASH")
    return named[0]


def _hash_in_path(request: IStreamedRequest) -> bytes:
    if len(request.postpath) != 1 or not request.postpath[0]:
        raise no_such_address(request)
    name: bytes = request.postpath[0]
    return name


def _precondition_fails(request: IStreamedRequest, tag: bytes | None) -> bool:
    """Return whether a precondition forbids to change the file with entity tag `tag`, None being no file."""
    if_match, if_none_match = request.header(b"if-match"), request.header(b"if-none-match")
    return evaluate_preconditions(tag, if_match, if_none_match, reading=False) is PreconditionResult.FAILED


def _reply_stored(file: UploadResult, request: IStreamedRequest, status: int, url: bytes) -> None:
    """Send the hash of a file, as text or JSON, and the headers that name it; `url` is that of all files."""
    received = request.received
    if b"if-none-match" in received:
        _check_was_stored([file], request)
    lines = _validators(file.digest, url)
    if b"accept" in received and prefers_json(request):
        reply_json(request, status, _description(file, url), lines=lines)
    else:
        reply(request, status, file.digest.hex.encode("ascii"), lines=lines)


def _reply_all_stored(files: Sequence[UploadResult], request: IStreamedRequest, url: bytes) -> None:
    """Send the hashes of several files, one in each line, or a list in JSON."""
    if len(files) == 1:
        _reply_stored(files[0], request, 200, url)
        return
    _check_was_stored(files, request)
    if prefers_json(request):
        reply_json(request, 200, [_description(file, url) for file in files])
    else:
        reply(request, 200, b"".join(b"%b\n" % file.digest.hex.encode("ascii") for file in files))


def _check_was_stored(files: Sequence[UploadResult], request: IStreamedRequest) -> None:
    """Raise `HTTPError` (412) if ``If-None-Match`` names a file that was stored before."""
    if_none_match = request.header(b"if-none-match")
    if if_none_match is not None and any(_was_excluded(file, if_none_match) for file in files):
        raise precondition_failed()


def _was_excluded(file: UploadResult, if_none_match: bytes) -> bool:
    """Return whether a file was stored before, and `if_none_match` names it."""
    tag = entity_tag(file.digest)
    result = evaluate_preconditions(tag, None, if_none_match, reading=False)
    return not file.created and result is PreconditionResult.FAILED


def _validators(digest: Digest, url: bytes) -> PreformattedHeaders:
    """Return ``Location``, ``ETag`` and ``Repr-Digest``, whose values cannot contain line breaks."""
    text = digest.hex.encode("ascii")
    lines = {b"location": b"Location: " + url + text, b"etag": b'ETag: "' + text + b'"'}
    integrity = repr_digest(digest)
    if integrity is not None:
        lines[b"repr-digest"] = b"Repr-Digest: " + integrity
    return lines


def _description(file: UploadResult, url: bytes) -> dict[str, object]:
    return {
        "hash": file.digest.hex,
        "algorithm": file.digest.algorithm,
        "size": file.size,
        "created": file.created,
        "url": url.decode("ascii") + file.digest.hex,
    }
