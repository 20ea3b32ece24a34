"""`/health`: what a load balancer or a monitor asks (200 or 503).

Degraded means that nothing can be written, until a restart or until the disk can be written to again, while
reading goes on. The reason is for the operator, in the log; it may name paths, so it isn't told here.
"""

from filestored.interfaces import IImageStore, IStore, IStreamedRequest
from filestored.web.resource import AsyncResource, reply_json

_SUSPENDED = "Writing is suspended; reading goes on."


class HealthResource(AsyncResource):
    """Whether what is `written` to can be: 200 ``{"status": "ok"}``, or 503 and ``"degraded"``."""

    def __init__(self, *written: IStore | IImageStore) -> None:
        super().__init__()
        self._written = written

    def render_GET(self, request: IStreamedRequest) -> None:
        """200, or 503 while writing is suspended."""
        if all(each.degraded is None for each in self._written):
            reply_json(request, 200, {"status": "ok"})
        else:
            reply_json(request, 503, {"status": "degraded", "detail": _SUSPENDED})

    render_HEAD = render_GET
