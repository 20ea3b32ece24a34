"""All metrics on one page: name, kind, labels and help of each metric. Pure.

`OF_WORKERS` are counted by the processes that serve, each in a block of shared memory (`layout`), and summed
at a scrape. `OF_DAEMON` are known to the process that twistd runs. No label has more values than are listed
here, so a client cannot make new series.
"""

from dataclasses import dataclass
from enum import Enum, auto
from itertools import product

from filestored.metrics.refusals import REASONS


class Kind(Enum):
    """The kinds of metrics of Prometheus that are used."""

    COUNTER = auto()
    GAUGE = auto()
    HISTOGRAM = auto()


Labels = tuple[str, ...]
"""Values of the labels of one series, in the order of `Metric.labels`."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: the name with its suffix, and one tuple of `values` for each of its `labels`."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    values: tuple[tuple[str, ...], ...] = ()

    def series(self) -> tuple[Labels, ...]:
        """Return the labels of all series."""
        return tuple(product(*self.values))


METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "other")
STATUSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
RESULTS = ("created", "existing", "failed")

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets of all histograms, without infinity."""

_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

REQUESTS = Metric(
    "filestored_requests_total",
    _C,
    "Requests that were answered, or whose client left, by method and class of the status.",
    ("method", "status"),
    (METHODS, STATUSES),
)
RECEIVED = Metric("filestored_request_received_bytes_total", _C, "Bytes of bodies of requests.")
SENT = Metric("filestored_response_sent_bytes_total", _C, "Bytes of bodies of responses.")
FIRST_BYTE = Metric(
    "filestored_time_to_first_byte_seconds",
    _H,
    "Time from the end of the request head to the first byte of the response.",
    ("method",),
    (METHODS,),
)
DURATION = Metric(
    "filestored_request_duration_seconds",
    _H,
    "Time from the end of the request head until the response was sent.",
    ("method",),
    (METHODS,),
)
UPLOADS = Metric(
    "filestored_uploads_total",
    _C,
    "Uploads of files and images that ended: new content, content that was stored before, failed.",
    ("result",),
    (RESULTS,),
)
UPLOADS_IN_PROGRESS = Metric("filestored_uploads_in_progress", _G, "Uploads that have begun and not ended.")
DELETED = Metric("filestored_files_deleted_total", _C, "Files that clients have deleted.")
REFUSALS = Metric(
    "filestored_refusals_total",
    _C,
    "Responses that refuse a request, by reason; 404 is none.",
    ("reason",),
    (REASONS,),
)
TOKENS_REFUSED = Metric(
    "filestored_tokens_refused_total", _C, "Requests with wrong, expired or malformed credentials or links."
)
CONNECTIONS = Metric("filestored_connections", _G, "Open connections of clients.")
CONNECTIONS_MADE = Metric("filestored_connections_total", _C, "Connections that were accepted.")
CONNECTIONS_REFUSED = Metric(
    "filestored_connections_refused_total", _C, "Connections that were answered 503: too many are open."
)
FSYNC = Metric(
    "filestored_fsync_seconds",
    _H,
    "Duration of calls that make content durable: fsync, syncfs, or the last PUT to an object store.",
)
COMMIT_QUEUE = Metric(
    "filestored_commit_queue_length",
    _G,
    "Uploads and deletions that wait for, or are in, a group commit.",
)
IMAGES_DECODED = Metric(
    "filestored_images_decoded_total", _C, "Images that were decoded, to verify them or for a thumbnail."
)
IMAGES_REFUSED = Metric(
    "filestored_images_refused_total", _C, "Uploads that are no image, or none that this server decodes."
)
LINES_DROPPED = Metric(
    "filestored_log_lines_dropped_total", _C, "Lines of logs that were dropped: they came too fast."
)
DISKS_SUSPENDED = Metric("suspended", _G, "1 while this process has suspended writes to a disk.")
ENGINES_AWAY = Metric("away", _G, "1 while this process finds an object store away.")
HITS = Metric("hits", _H, "Durations of short responses from the response cache, all of them GET and 2xx.")
HITS_COUNT = Metric("hits_count", _C, "Their number, also of those that have no duration yet.")
HITS_SENT = Metric("hits_sent", _C, "Bytes of their bodies.")

OF_WORKERS = (
    *(REQUESTS, RECEIVED, SENT, FIRST_BYTE, DURATION, REFUSALS, TOKENS_REFUSED),
    *(UPLOADS, UPLOADS_IN_PROGRESS, DELETED, FSYNC, COMMIT_QUEUE),
    *(CONNECTIONS, CONNECTIONS_MADE, CONNECTIONS_REFUSED, IMAGES_DECODED, IMAGES_REFUSED, LINES_DROPPED),
)
"""Metrics that are counted in blocks, and exposed as sums over all of these."""

INTERNAL = (DISKS_SUSPENDED, ENGINES_AWAY, HITS, HITS_COUNT, HITS_SENT)
"""Cells of blocks that are exposed as parts of other metrics."""

BUILD_INFO = Metric("filestored_build_info", _G, "1; the label is the version.", ("version",), ())
START_TIME = Metric("filestored_start_time_seconds", _G, "Start of the daemon, in seconds since the epoch.")
WORKERS = Metric("filestored_workers", _G, "Processes that serve, as configured.")
WORKERS_SERVING = Metric("filestored_workers_serving", _G, "Processes that serve now.")
WORKER_RESTARTS = Metric("filestored_worker_restarts_total", _C, "Processes that died and were replaced.")
SUSPENDED = Metric(
    "filestored_writes_suspended", _G, "1 while writes are suspended, or the object store is away."
)
STORE_FILES = Metric("filestored_store_files", _G, "Files in all buckets at the last count.")
STORE_BYTES = Metric("filestored_store_bytes", _G, "Bytes of files in all buckets at the last count.")
STORE_COUNTED = Metric(
    "filestored_store_counted_timestamp_seconds", _G, "End of the last count, in seconds since the epoch."
)
STORE_FREE = Metric("filestored_store_free_bytes", _G, "Free space of the disk of the store; not of a URL.")
STORE_SIZE = Metric("filestored_store_size_bytes", _G, "Size of that disk.")
VERIFY_RUNNING = Metric("filestored_verify_running", _G, "1 while files are verified in the background.")
VERIFY_FILES = Metric("filestored_verify_files_total", _C, "Files that were verified.")
VERIFY_BYTES = Metric("filestored_verify_bytes_total", _C, "Bytes that were verified.")
VERIFY_CORRUPT = Metric("filestored_verify_corrupt_files_total", _C, "Files whose content had changed.")
VERIFY_UNREADABLE = Metric("filestored_verify_unreadable_files_total", _C, "Files that could not be read.")
VERIFY_FINISHED = Metric(
    "filestored_verify_last_finished_timestamp_seconds",
    _G,
    "End of the last verification, in seconds since the epoch; 0 before the first one.",
)
VERIFY_LAST_CORRUPT = Metric(
    "filestored_verify_last_corrupt_files",
    _G,
    "Corrupt files of the last verification that were not uploaded again.",
)

OF_DAEMON = (
    *(BUILD_INFO, START_TIME, WORKERS, WORKERS_SERVING, WORKER_RESTARTS, SUSPENDED),
    *(STORE_FILES, STORE_BYTES, STORE_COUNTED, STORE_FREE, STORE_SIZE),
    *(VERIFY_RUNNING, VERIFY_FILES, VERIFY_BYTES, VERIFY_CORRUPT, VERIFY_UNREADABLE),
    *(VERIFY_FINISHED, VERIFY_LAST_CORRUPT),
)
"""Metrics that the process knows which twistd runs."""
