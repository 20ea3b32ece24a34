"""Resources of the listener of ``--metrics``: ``/metrics``, ``/livez`` and ``/readyz``, for GET and HEAD."""

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred, succeed
from twisted.web.resource import Resource

from filestored.daemon.monitoring.state import DaemonState
from filestored.http.protocols import IRenderable
from filestored.http.rendering import NOT_DONE_YET, fail_request, send_text

TEXT = b"text/plain; charset=utf-8"


def make_root(state: DaemonState, text: Callable[[], bytes], content_type: bytes) -> Resource:
    """Return the tree of these addresses; `text` returns all metrics in `content_type`."""
    root = _NotFound()
    root.isLeaf = False
    root.putChild(b"metrics", Metrics(state, text, content_type))
    root.putChild(b"livez", Liveness(state))
    root.putChild(b"readyz", Readiness(state))
    return root


class _NotFound(Resource):
    isLeaf = True

    def getChild(self, path: bytes, request: IRenderable) -> Resource:
        """Return the resource of unknown addresses."""
        return _NotFound()

    def render(self, request: IRenderable) -> int:
        """404."""
        send_text(request, 404, "There are /metrics, /livez and /readyz here.")
        return NOT_DONE_YET


class _Leaf(Resource):
    """A resource without children. Other methods than GET and HEAD are answered 405."""

    allowedMethods = (b"GET", b"HEAD")

    def getChild(self, path: bytes, request: IRenderable) -> Resource:
        """Return the resource of unknown addresses."""
        return _NotFound()


class Metrics(_Leaf):
    """All metrics."""

    def __init__(self, state: DaemonState, text: Callable[[], bytes], content_type: bytes) -> None:
        super().__init__()
        self._state = state
        self._text = text
        self._content_type = content_type

    def render_GET(self, request: IRenderable) -> int:
        """200, as soon as the free space is known."""
        space = self._state.space
        known: Deferred[None] = succeed(None) if space is None else space.refresh()
        known.addCallback(self._send, request).addErrback(partial(fail_request, request))
        return NOT_DONE_YET

    def _send(self, _: None, request: IRenderable) -> None:
        _reply(request, 200, self._text(), self._content_type)


class Liveness(_Leaf):
    """200 while any process serves and answers pings, else 503."""

    def __init__(self, state: DaemonState) -> None:
        super().__init__()
        self._state = state

    def render_GET(self, request: IRenderable) -> int:
        """200 or 503."""
        alive = self._state.is_alive()
        _reply(request, 200 if alive else 503, b"ok\n" if alive else b"no worker answers\n")
        return NOT_DONE_YET


class Readiness(_Leaf):
    """200, or 503 with the reasons; then some lines about workers and the verification."""

    def __init__(self, state: DaemonState) -> None:
        super().__init__()
        self._state = state

    def render_GET(self, request: IRenderable) -> int:
        """200 or 503."""
        problems = self._state.problems()
        lines = [*(problems or ["ok"]), *self._state.description()]
        _reply(request, 503 if problems else 200, "".join(f"{line}\n" for line in lines).encode())
        return NOT_DONE_YET


def _reply(request: IRenderable, status: int, body: bytes, content_type: bytes = TEXT) -> None:
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", content_type)
    request.setHeader(b"Cache-Control", b"no-store")
    request.setHeader(b"Content-Length", b"%d" % len(body))
    request.write(body)
    request.finish()
