"""Client of the listener of ``--metrics``: responses, and the values of a scrape."""

import re

from prometheus_client.parser import text_string_to_metric_families

from tests.daemon_process import Running, read, until
from tests.http_clients.blocking import connect, request_head
from tests.http_clients.response import Response

ENDPOINT = "tcp:0:interface=127.0.0.1"
"""The endpoint on a port that the kernel picks; the log has it."""

Values = dict[tuple[str, ...], float]
"""The values of a scrape, by name without ``filestored_`` and values of the labels."""


def monitor_port(daemon: Running) -> int:
    """Return the port of the metrics of a daemon that serves."""
    until(lambda: "metrics on " in daemon.log, "the port of the metrics is logged")
    found = re.findall(r"metrics on https?://127\.0\.0\.1:(\d+)/", daemon.log)
    return int(found[-1])


def workers_of(daemon: Running) -> list[int]:
    """Return the process ids of the workers; the count of the store is a child, too."""
    return [pid for pid in daemon.workers() if "filestored.worker" in read(f"/proc/{pid}/cmdline")]


def ask(port: int, path: str, method: str = "GET") -> Response:
    """Send a request to the metrics on a new connection, and return the response."""
    with connect(port) as client:
        return client.request(request_head(path, method=method))


def scrape(port: int) -> Values:
    """Return all values."""
    response = ask(port, "/metrics")
    assert 200 == response.status
    return parse(response.body.decode())


def parse(text: str) -> Values:
    """Return the values in a text of metrics."""
    return {
        (sample.name.removeprefix("filestored_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def decreased(before: Values, after: Values) -> list[tuple[str, ...]]:
    """Return the counters, buckets, counts and sums that are less than before, or missing."""
    endings = ("_total", "_bucket", "_count", "_sum")
    return [key for key, value in before.items() if key[0].endswith(endings) and after.get(key, -1) < value]
