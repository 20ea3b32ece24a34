"""Client of the image API over an in-memory connection."""

import json

from twisted.internet.address import IPv4Address
from twisted.internet.defer import maybeDeferred

from filestored.digest import algorithm
from filestored.images.accounts import Accounts
from filestored.images.blob_ids import UNIQUE_SHA256
from filestored.images.gzip_backend import GzipBackend
from filestored.images.image_store import ImageStore
from filestored.storage.health import Health
from filestored.storage.memory import MemoryBackend, MemoryRecords
from filestored.storage.store import Store
from filestored.web.site import make_site
from tests.balanced_daemons import BALANCED
from tests.http_clients import raw_socket
from tests.http_clients.in_memory import InMemoryClient, MemoryTransport
from tests.images.catalog_samples import PNG
from tests.storage.object_stores import ENGINES
from tests.web import forms
from tests.web.forms import FORM, form

API = "/imageapi/"

IN_MEMORY = ["memory", *ENGINES]
"""Parameters of the fixture ``wire`` for tests that look into the server, or at its connection."""

EVERYWHERE = [*IN_MEMORY, BALANCED]
"""Parameters of the fixture ``wire`` for tests that only send requests."""

LOOPBACK = IPv4Address("TCP", "127.0.0.1", 9000)


def part(data, name="cat.png", disposition=None):
    return forms.part(data, disposition or f'form-data; name="any"; filename="{name}"')


class ImageCalls:
    """Calls of the image API, for a client that has `ask`."""

    def call(self, method, path, body=None, **fields):
        """Send a request."""
        return self.ask(method, API + path, body, **fields)

    def register(self, username="anna"):
        """Create an account; return its token."""
        return value(self.call("GET", f"generate-token/{username}/"))["token"]

    def upload(self, token, data=PNG, name="cat.png"):
        return self.call("POST", f"token/{token}/upload-image/", form(part(data, name)), Content_Type=FORM)

    def add(self, token, data=PNG, name="cat.png"):
        """Upload an image; return its id."""
        return value(self.upload(token, data, name))["File ID"]

    def update(self, token, identity, data=PNG, name="cat.png"):
        path = f"token/{token}/update-image/{identity}/"
        return self.call("PATCH", path, form(part(data, name)), Content_Type=FORM)

    def get(self, token, identity, **fields):
        return self.call("GET", f"token/{token}/get-image/{identity}/", **fields)

    def list_images(self, token):
        return value(self.call("GET", f"token/{token}/get-image-list/"))

    def delete(self, token, identity):
        return self.call("DELETE", f"token/{token}/delete-image/{identity}/")


class ImageWire(ImageCalls, InMemoryClient):
    """A local client of a site with a new image store."""

    def __init__(self, backend=None, records=None, run=maybeDeferred, here=LOOPBACK, decoder=None, **site):
        self.here = here
        self.records = records or MemoryRecords()
        self.backend = backend or MemoryBackend(UNIQUE_SHA256)
        self.files = MemoryBackend(algorithm("sha256"))
        self.health = Health()
        self.blobs = Store(GzipBackend(self.backend), UNIQUE_SHA256, run, health=self.health)
        self.images = ImageStore(
            self.records, Accounts(self.records, b"k" * 32), self.blobs, run, self.health, decoder
        )
        store = Store(self.files, algorithm("sha256"), run)
        super().__init__(make_site(store, self.images, **site))

    def connect(self):
        self.channel = self.factory.buildProtocol(None)
        self.transport = MemoryTransport(hostAddress=self.here)
        self.transport.protocol = self.channel
        self.channel.makeConnection(self.transport)

    def call(self, method, path, body=None, **fields):
        """Send a request; reconnect first if an error has closed the connection."""
        if not self.connected or self.transport.disconnecting or self.transport.half_closed:
            self.connect()
        return super().call(method, path, body, **fields)

    def begin_upload(self, token, length, *lines):
        """Send the head of an upload only."""
        head = [
            f"POST {API}token/{token}/upload-image/ HTTP/1.1",
            "Host: localhost",
            f"Content-Type: {FORM}",
            f"Content-Length: {length}",
            *lines,
        ]
        self.send("\r\n".join([*head, "", ""]).encode())


class BalancedWire(ImageCalls):
    """A client of two daemons on one object store, whose requests go to one of them at random.

    `records` and `backend` are those of the daemons, read by the test.
    """

    def __init__(self, port, records, backend):
        self.port = port
        self.records = records
        self.backend = backend

    def ask(self, method, target, body=None, **fields):
        """Send one request on a new connection."""
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        return raw_socket.ask(self.port, method, target, *lines, body=body)


def value(answer):
    """Return the value of a JSON response."""
    assert "application/json" == answer.fields["content-type"]
    return json.loads(answer.body)


def said(answer):
    """Return status and value of a JSON response."""
    return answer.status, value(answer)
