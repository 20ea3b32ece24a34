"""A site with access rules in memory: real buckets over memory, the real guard, one connection."""

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock

from filestored.access.rules import AccessRules
from filestored.digest import algorithm
from filestored.errors import NotFound
from filestored.storage.buckets import Buckets, EmptyStore, OpenedStore
from filestored.storage.memory import MemoryBackend
from filestored.storage.store import Store
from filestored.storage.threads import JobCount
from filestored.web.guard import Guard
from filestored.web.site import make_site
from tests.http_clients.in_memory import InMemoryClient
from tests.http_clients.raw_socket import head
from tests.http_clients.response import Response

_MAX_SIZE = 1 << 20


class InMemorySite:
    """The site over the text of an access file; call it as `tests.access.wire.matrix.Ask`.

    `opened` are the names of the buckets that were opened.
    """

    def __init__(self, text: str) -> None:
        self._own = algorithm("sha256")
        self._stores: dict[str, Store] = {}
        self.opened: list[str] = []
        empty = EmptyStore(self._own, _MAX_SIZE)
        buckets = Buckets(Clock(), self._open, maybeDeferred, empty, lambda: None)
        self.guard = Guard()
        self.guard.rules = AccessRules.parse(text)
        self._client = InMemoryClient(make_site(self._make_store(), buckets=buckets, guard=self.guard))

    def _make_store(self) -> Store:
        return Store(MemoryBackend(self._own), self._own, maybeDeferred, max_size=_MAX_SIZE)

    def _open(self, name: str, *, create: bool) -> OpenedStore:
        self.opened.append(name)
        if name not in self._stores and not create:
            raise NotFound
        store = self._stores.setdefault(name, self._make_store())
        return OpenedStore(store, JobCount(), lambda: None)

    def __call__(
        self, method: str, target: str, lines: tuple[str, ...] = (), body: bytes | None = None
    ) -> Response:
        """Send one request, and read its response."""
        if not self._client.connected or self._client.transport.disconnecting:
            self._client.connect()
        length = () if body is None else (f"Content-Length: {len(body)}",)
        self._client.send(head(method, target, [*lines, *length]) + (body or b""))
        (answer,) = self._client.answers(method)
        return answer
