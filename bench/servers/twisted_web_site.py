"""Program behind `twisted_web`: ``python -m bench.servers.twisted_web_site PORT STORE UPLOADS``.

`File` for what is there, and for what comes the upload that one writes in ten lines.
"""

import hashlib
import os
import sys
from typing import Any

from twisted.internet import endpoints
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import File


class Upload(Resource):
    """Stores a request's body under its SHA-256."""

    isLeaf = True

    def __init__(self, directory: str) -> None:
        super().__init__()
        self._directory = directory

    def render_POST(self, request: Any) -> bytes:
        """Hash it, write it beside, rename it."""
        hasher = hashlib.sha256()
        temporary = os.path.join(self._directory, "temporary")
        with open(temporary, "wb") as file:
            while piece := request.content.read(65536):
                hasher.update(piece)
                file.write(piece)
        os.replace(temporary, os.path.join(self._directory, hasher.hexdigest()))
        return hasher.hexdigest().encode()


def main(port: str, store: str, uploads: str) -> None:
    """Serve until a signal."""
    from twisted.internet import reactor

    root = File(store)
    root.putChild(b"upload", Upload(uploads))
    endpoint = endpoints.TCP4ServerEndpoint(reactor, int(port), backlog=4096, interface="127.0.0.1")
    endpoint.listen(Site(root, timeout=120))
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
