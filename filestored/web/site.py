"""The whole tree on one page.

    /                 upload; read and delete by ?file_hash=
    /files/<hash>     read, delete, upload under a known hash
    /health           whether writing works

Whoever adds a place to the tree puts a child here.
"""

from twisted.web.iweb import IRequest
from twisted.web.resource import Resource

from filestored.interfaces import IStore
from filestored.web.files import Files, Front
from filestored.web.health import HealthPage
from filestored.web.replies import Missing


class Site(Resource):
    """The root: what is not in the tree is a 404 of our own make."""

    def getChild(self, path: bytes, request: IRequest) -> Resource:
        """Whatever was not put here."""
        return Missing()


def make_site(store: IStore) -> Resource:
    """The tree that serves the files of `store`."""
    root = Site()
    root.putChild(b"", Front(store))
    root.putChild(b"files", Files(store))
    root.putChild(b"health", HealthPage(store))
    return root
