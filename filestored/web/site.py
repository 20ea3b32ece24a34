"""The resource tree.

    /                 upload; read and delete by ?file_hash=; for browsers, a page
    /files/           list
    /files/<hash>     read, delete, upload under a known hash
    /buckets/         the buckets of the client
    /buckets/<name>/  of a bucket: all of the above, and usage
    /imageapi/        accounts and their images, if configured
    /health           health check
    /openapi.json     description of the API
    /static/<name>    scripts, style and icon of the page

Everything else is 404. `Root` first rejects requests of foreign web pages (`origins`), and then asks the
guard, before any resource sees the store or the body.
"""

from collections.abc import Collection, Mapping, Sequence

from twisted.web.resource import Resource

from filestored.access.rules import DEFAULT_BUCKET
from filestored.http.parser.forwarded import TrustedProxies
from filestored.interfaces import IBuckets, IImageStore, IStore, IStreamedRequest, IThumbnails
from filestored.web.buckets import BucketList, BucketSite
from filestored.web.errors import HTTPError
from filestored.web.guard import Guard
from filestored.web.health import HealthResource
from filestored.web.imageapi.resource import ImageApiError
from filestored.web.imageapi.routes import ImageApi
from filestored.web.imageapi.tokens import RegistrationPolicy
from filestored.web.origins import OriginPolicy, Preflight, allows_origin, is_preflight, vary_by_origin
from filestored.web.resource import AsyncResource, ErrorResource
from filestored.web.static import StaticFile, make_page, make_static, wants_page

IMAGES = b"imageapi"
"""The path segment of the image API."""


def make_site(
    store: IStore,
    images: IImageStore | None = None,
    *,
    buckets: IBuckets | None = None,
    guard: Guard | None = None,
    registration: RegistrationPolicy = RegistrationPolicy.LOCAL,
    thumbnails: IThumbnails | None = None,
    hosts: Collection[str] | None = None,
    trusted_proxies: TrustedProxies | None = None,
) -> Resource:
    """Return the tree that serves `store`, the other `buckets` and `images`, as `guard` allows it.

    See `ImageApi` for `registration`, `thumbnails` and `trusted_proxies`, and `OriginPolicy` for `hosts`.
    """
    origins = OriginPolicy(hosts)
    guard = guard or Guard()
    root = Root(origins, guard, BucketSite(store, buckets, guard), {IMAGES: ImageApiError})
    root.putChild(b"health", HealthResource(*([store, images] if images is not None else [store])))
    if images is not None:
        api = ImageApi(
            images,
            origins,
            registration=registration,
            thumbnails=thumbnails,
            trusted_proxies=trusted_proxies,
        )
        root.putChild(IMAGES, api)
    root.putChild(b"openapi.json", StaticFile("openapi.json"))
    root.putChild(b"static", make_static())
    return root


class Root(AsyncResource):
    """The root of the tree, which checks each request; `error_resources` send the errors of some children."""

    def __init__(
        self,
        origins: OriginPolicy,
        guard: Guard,
        buckets: BucketSite,
        error_resources: Mapping[bytes, type[ErrorResource]],
    ) -> None:
        super().__init__()
        self._origins = origins
        self._guard = guard
        self._buckets = buckets
        self._bucket_list = BucketList(guard)
        self._error_resources = error_resources
        self._page = make_page()
        self._page_of_bucket = make_page(b"../../")

    def getChildWithDefault(self, path: bytes, request: IStreamedRequest) -> Resource:
        """Return the resource of the path, or one that answers 401, 403, 404 or 421."""
        try:
            if self._guard.rules is None:  # as `_in_bucket`, with fewer calls
                self._origins.check(request)
                if path == b"files" and request.postpath != [b""]:
                    return self._buckets.default.files
                if path == b"" and request.method == b"POST" and not request.postpath:
                    return self._buckets.default.root
            else:
                self._origins.check(request, changes=False)
            if path in (b"", b"files"):
                return self._in_bucket(DEFAULT_BUCKET, [path, *request.postpath], request)
            if path == b"buckets":
                return self._bucket(request.postpath, request)
            self._origins.check(request)
        except HTTPError as error:
            return self._error_resources.get(path, ErrorResource)(error)
        child: Resource | None = self.children.get(path)
        return self.getChild(path, request) if child is None else child

    def _bucket(self, path: Sequence[bytes], request: IStreamedRequest) -> Resource:
        match path:
            case [b""]:
                return self._bucket_list
            case [name, _, *_]:
                return self._in_bucket(name.decode("latin-1"), path[1:], request)
        self._origins.check(request)
        return ErrorResource(HTTPError(404, "The address of a bucket ends with a slash: /buckets/NAME/"))

    def _in_bucket(self, name: str, path: Sequence[bytes], request: IStreamedRequest) -> Resource:
        """Return the resource of a path within a bucket. Raises `HTTPError`."""
        if path == [b""] and wants_page(request):
            return self._page if request.path == b"/" else self._page_of_bucket
        cors = self._guard.cors(name)
        if cors and allows_origin(request, cors):
            if is_preflight(request):
                return Preflight()
        else:
            self._origins.check(request)
        found = self._buckets.find(name, path, request)
        if cors:
            vary_by_origin(request)
        return found
