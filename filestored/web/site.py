"""The whole tree on one page.

    /                 upload; read and delete by ?file_hash=; for browsers, a page
    /files/<hash>     read, delete, upload under a known hash
    /imageapi/        accounts and their images, where there are any
    /health           whether writing works
    /openapi.json     all of this, described
    /static/<name>    what the page is made of

Everything else is 404. Whoever adds a place to the tree puts a child here.
"""

from twisted.web.resource import Resource

from filestored.images.thumbnails import Thumbnails
from filestored.interfaces import IImages, IStore
from filestored.web.browser import Asset, FrontDoor, make_static
from filestored.web.files import Files
from filestored.web.health import HealthPage
from filestored.web.images import ImageApi
from filestored.web.replies import Page


def make_site(
    store: IStore,
    images: IImages | None = None,
    *,
    open_registration: bool = False,
    thumbnails: Thumbnails | None = None,
) -> Resource:
    """The tree that serves the files of `store`, and `images`. See `ImageApi` for the rest."""
    root = Page()
    root.putChild(b"", FrontDoor(store))
    root.putChild(b"files", Files(store))
    root.putChild(b"health", HealthPage(*([store, images] if images is not None else [store])))
    if images is not None:
        api = ImageApi(images, open_registration=open_registration, thumbnails=thumbnails)
        root.putChild(b"imageapi", api)
    root.putChild(b"openapi.json", Asset("openapi.json"))
    root.putChild(b"static", make_static())
    return root
