"""A site with access rules in memory: real buckets over memory, the real guard, one connection."""

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock

from filestored.access.rules import DEFAULT_BUCKET, AccessRules
from filestored.digest import algorithm
from filestored.errors import NotFound
from filestored.storage.buckets import Buckets, EmptyStore, OpenedStore
from filestored.storage.limits.expiry import ExpirySweeper
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

    `opened` are the names of the buckets that were opened, `closed` those that were closed.
    """

    def __init__(self, text: str) -> None:
        self._own = algorithm("sha256")
        self._made: dict[str, OpenedStore] = {}
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.clock = clock = Clock()
        default = self._make(None)
        self.buckets = buckets = Buckets(
            clock,
            self._open,
            maybeDeferred,
            EmptyStore(self._own, _MAX_SIZE),
            sweeper=ExpirySweeper(clock),
            default=(DEFAULT_BUCKET, default),
            closing=lambda: None,
            max_open=10,
        )
        guard = Guard()
        guard.rules = AccessRules.parse(text)
        self.client = InMemoryClient(make_site(default.store, buckets=buckets, guard=guard))

    def _make(self, close: Callable[[], None] | None) -> OpenedStore:
        backend = MemoryBackend(self._own)
        store = Store(backend, self._own, maybeDeferred, max_size=_MAX_SIZE)
        return OpenedStore(store, backend, JobCount(), close)

    def _open(self, name: str, *, create: bool) -> OpenedStore:
        self.opened.append(name)
        if name not in self._made and not create:
            raise NotFound
        return self._made.setdefault(name, self._make(partial(self.closed.append, name)))

    def __call__(
        self, method: str, target: str, lines: tuple[str, ...] = (), body: bytes | None = None
    ) -> Response:
        """Send one request, and read its response."""
        if not self.client.connected or self.client.transport.disconnecting:
            self.client.connect()
        length = () if body is None else (f"Content-Length: {len(body)}",)
        self.client.send(head(method, target, [*lines, *length]) + (body or b""))
        (answer,) = self.client.answers(method)
        return answer
