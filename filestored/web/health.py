"""Health check ``/health`` for load balancers and monitors: 200, or 503 while writes are suspended.

The reason of a suspension may name paths, so only the log has it.
"""

from filestored.interfaces import IImageStore, IStore, IStreamedRequest
from filestored.web.resource import AsyncResource, reply_json


class HealthResource(AsyncResource):
    """The state of all `stores`: 200 ``{"status": "ok"}``, or 503 and ``"degraded"``."""

    def __init__(self, *stores: IStore | IImageStore) -> None:
        super().__init__()
        self._stores = stores

    def render_GET(self, request: IStreamedRequest) -> None:
        """200, or 503 while writes are suspended; a disk can still be read then."""
        if all(store.degraded is None for store in self._stores):
            reply_json(request, 200, {"status": "ok"})
        else:
            detail = "Writing is suspended; the log has the reason."
            reply_json(request, 503, {"status": "degraded", "detail": detail})

    render_HEAD = render_GET
