"""The resource tree.

    /                 upload; read and delete by ?file_hash=; for browsers, a page
    /files/<hash>     read, delete, upload under a known hash
    /imageapi/        accounts and their images, if configured
    /health           health check
    /openapi.json     description of the API
    /static/<name>    scripts, style and icon of the page

Everything else is 404. The root first rejects requests of foreign web pages (`origins.ProtectedRoot`).
"""

from collections.abc import Collection

from twisted.web.resource import Resource

from filestored.http.parser.forwarded import TrustedProxies
from filestored.interfaces import IImageStore, IStore, IThumbnails
from filestored.web.files import FilesByPath
from filestored.web.health import HealthResource
from filestored.web.imageapi.resource import ImageApiError
from filestored.web.imageapi.routes import ImageApi
from filestored.web.imageapi.tokens import RegistrationPolicy
from filestored.web.origins import OriginPolicy, ProtectedRoot
from filestored.web.static import RootResource, StaticFile, make_static

IMAGES = b"imageapi"
"""The path segment of the image API."""


def make_site(
    store: IStore,
    images: IImageStore | None = None,
    *,
    registration: RegistrationPolicy = RegistrationPolicy.LOCAL,
    thumbnails: IThumbnails | None = None,
    hosts: Collection[str] | None = None,
    trusted_proxies: TrustedProxies | None = None,
) -> Resource:
    """Return the tree that serves `store` and `images`.

    See `ImageApi` for `registration`, `thumbnails` and `trusted_proxies`, and `OriginPolicy` for `hosts`.
    """
    origins = OriginPolicy(hosts)
    root = ProtectedRoot(origins, {IMAGES: ImageApiError})
    root.putChild(b"", RootResource(store))
    root.putChild(b"files", FilesByPath(store))
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
