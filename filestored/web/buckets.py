"""Buckets as resources: what ``/`` and ``/files/`` serve, for each bucket, and the list of all buckets.

In: a path within a bucket. Out: the resource of that path over the store of the bucket. `BucketSite` finds
the store; one that is not open yet is opened first, and the guard is asked again then.
"""

from collections.abc import Sequence
from functools import partial

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource

from filestored.access.rules import DEFAULT_BUCKET, Right
from filestored.http.rendering import NOT_DONE_YET
from filestored.interfaces import IBuckets, IStore, IStreamedRequest
from filestored.web.files import FilesByPath, FilesByQuery
from filestored.web.guard import Guard, required_right
from filestored.web.listing import BucketUsage, FileList
from filestored.web.resource import AsyncResource, NotFoundResource, reply_json


class BucketResources:
    """The resources over `store`, the store of the bucket `name`; `base` is the path of the bucket."""

    def __init__(self, store: IStore, name: str, base: str) -> None:
        self.store = store
        self.root = FilesByQuery(store, base)
        self.files = FilesByPath(store, base)
        self._list = FileList(store)
        self._usage = BucketUsage(store, name)

    def find(self, path: Sequence[bytes], request: IStreamedRequest) -> Resource:
        """Return the resource of a path within the bucket; the request has the rest of it to read."""
        match path:
            case [b""]:
                return self.root
            case [b"files", b""]:
                return self._list
            case [b"files", *rest]:
                request.postpath = rest
                return self.files
            case [b"usage"]:
                return self._usage
        return NotFoundResource()


class BucketSite:
    """All buckets: the default one over `store`, and those of `buckets`, if there are others."""

    def __init__(self, store: IStore, buckets: IBuckets | None, guard: Guard) -> None:
        self.default = BucketResources(store, DEFAULT_BUCKET, "")
        self._buckets = buckets
        self._guard = guard
        self._resources: dict[str, BucketResources] = {}

    def find(self, name: str, path: Sequence[bytes], request: IStreamedRequest) -> Resource:
        """Return the resource of a path in a bucket, if the request is allowed. Raises `HTTPError`."""
        self._guard.check(request, name, path)
        if name == DEFAULT_BUCKET:
            return self.default.find(path, request)
        assert self._buckets is not None, "the guard knows no other bucket then"
        creates = required_right(request.method, path) is Right.WRITE
        store = self._buckets.get(name, create=creates)
        if not isinstance(store, Deferred):
            return self.resources(name, store).find(path, request)
        return _OpeningBucket(store.addCallback(partial(self._find_again, name, path, request)))

    def _find_again(
        self, name: str, path: Sequence[bytes], request: IStreamedRequest, store: IStore
    ) -> Resource:
        self._guard.check(request, name, path)
        return self.resources(name, store).find(path, request)

    def resources(self, name: str, store: IStore) -> BucketResources:
        """Return the resources over the store of a bucket, made once for each store."""
        found = self._resources.get(name)
        if found is None or found.store is not store:
            found = self._resources[name] = BucketResources(store, name, f"/buckets/{name}")
        return found


class _OpeningBucket(AsyncResource):
    """Has the resource render the request that `found` fires with."""

    isLeaf = True

    def __init__(self, found: "Deferred[Resource]") -> None:
        super().__init__()
        self._found = found

    def render(self, request: IStreamedRequest) -> int:
        """Render the resource, or an error response."""
        self._found.addCallback(request.render).addErrback(self._fail, request)
        return NOT_DONE_YET


class BucketList(AsyncResource):
    """``/buckets/``: the buckets in which the client has any right."""

    isLeaf = True

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self._guard = guard

    def render_GET(self, request: IStreamedRequest) -> None:
        """200 and the names, with the rights; 401 for credentials that are not valid.

        ``tokens`` tells whether the server has an access file, so that a token may have further rights.
        """
        found = self._guard.visible(request)
        buckets = [{"bucket": name, "rights": sorted(rights)} for name, rights in found.items()]
        reply_json(request, 200, {"buckets": buckets, "tokens": self._guard.rules is not None})

    render_HEAD = render_GET
