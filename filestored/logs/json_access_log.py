"""Access log as JSON: lines of the daemon's log with fields, for ``--log-json`` with ``--access-log -``.

The message of a line is that of the combined format. The fields beside it: ``client``, ``method``, ``path``
(the request target, redacted), ``status``, ``bytes`` (of the sent body), ``duration`` (seconds from the end
of the request head to the end of the response) and ``request_id``.
"""

from twisted.logger import Logger
from zope.interface import implementer

from filestored.interfaces import AccessEntry, IAccessLog
from filestored.logs.access_log import format_end, format_entry, format_prefix, shown


class DescribedEntry(str):
    """The text of an entry, and its fields."""

    __slots__ = ("fields",)
    fields: dict[str, object]


@implementer(IAccessLog)
class JsonAccessLog:
    """Logs each response at once, with the source ``access``."""

    def __init__(self) -> None:
        self._log = Logger(namespace="access")

    def format_entry(self, entry: AccessEntry) -> str:
        """See `IAccessLog.format_entry`."""
        text = DescribedEntry(format_entry(entry))
        text.fields = {
            "method": shown(entry.method),
            "path": shown(entry.target),
            "status": entry.status,
            "bytes": entry.sent,
        }
        return text

    def log(self, moment: float, peer: str, description: str, seconds: float, request_id: bytes) -> None:
        """See `IAccessLog.log`."""
        assert isinstance(description, DescribedEntry)
        line = format_prefix(peer, int(moment)) + description + format_end(seconds, request_id)
        fields = {"client": peer, **description.fields, "duration": round(seconds, 6)}
        self._log.info("{line}", line=line, json_fields=fields, request_id=request_id)

    def reopen(self) -> None:
        """Nothing to do: the log reopens itself."""

    def close(self) -> None:
        """Nothing to do: the log stays."""
