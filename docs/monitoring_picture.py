"""Make the picture of the monitoring page: ``python -m docs.monitoring_picture``.

Starts a daemon with two workers and a Prometheus, sends requests of all kinds for some minutes, and lets
a worker hang in between. Then it asks the Prometheus for some panels of the dashboard, and draws the answers
as ``monitoring.svg`` beside this file. Needs the extra ``metrics`` and the package ``prometheus``.
"""

import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

from bench.line_chart import Chart, Line, Point, draw
from tests.daemon_process import Running, start
from tests.engine_daemons import free_port
from tests.monitoring.dashboard import panels
from tests.monitoring.mixed_load import REASONS, MixedLoad, options
from tests.monitoring.prometheus_server import PrometheusServer

SECONDS = 240
STEP_SECONDS = 2
WINDOW = "15s"
"""Of the rates; the Prometheus scrapes each second."""

PANELS = (
    "Requests by method",
    "Responses by status class",
    "Traffic",
    "Time to first byte of downloads",
    "Uploads by result",
    "Flush time",
    "Refusals by reason",
    "Workers",
)
UNITS = {"reqps": "/s", "ops": "/s", "Bps": "B/s", "s": "s", "short": ""}
FILE_BYTES = 256 << 10


def main() -> None:
    """Run the load, and write the picture."""
    started: list[Running] = []
    with TemporaryDirectory() as directory:
        endpoint = f"127.0.0.1:{free_port()}"
        words = ("--workers", "2", "--metrics", endpoint, *options(directory))
        daemon = start(directory, started, *words)
        try:
            with PrometheusServer(os.path.join(directory, "prometheus"), [endpoint]) as prometheus:
                begin = time.time()
                run_load(daemon)
                charts = [chart(panel, prometheus, begin) for panel in chosen_panels()]
        finally:
            daemon.end()
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "monitoring.svg")
    with open(path, "w", encoding="utf-8") as file:
        file.write(
            draw("Four minutes of a daemon with two workers, as Prometheus recorded them", charts, SECONDS)
        )


# --- load --------------------------------------------------------------------------------------------------


def run_load(daemon: Running) -> None:
    """Send requests of all kinds, each kind in a thread and a part of the time, and let a worker hang."""
    end = time.monotonic() + SECONDS
    kinds: list[tuple[float, float, float, Callable[[MixedLoad], object]]] = [  # from, to, pause
        (0.00, 1.00, 0.20, MixedLoad.exercise_files),
        (0.05, 1.00, 0.02, partial(_download, names=[])),
        (0.30, 0.60, 0.01, partial(MixedLoad.upload, size=FILE_BYTES)),
        (0.30, 0.60, 0.01, partial(MixedLoad.upload, size=FILE_BYTES)),
        (0.40, 0.90, 0.50, MixedLoad.exercise_images),
        *(
            (0.70, 0.85, 0.1 * pause, partial(MixedLoad.refuse, reason=reason))
            for pause, reason in enumerate(REASONS, 1)
        ),
    ]
    threads = [
        threading.Thread(target=_repeat, args=(MixedLoad(daemon.port, number), end, *kind))
        for number, kind in enumerate(kinds)
    ]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS * 0.65)
    os.kill(daemon.workers()[0], signal.SIGSTOP)
    for thread in threads:
        thread.join()


def _repeat(
    load: MixedLoad, end: float, first: float, last: float, pause: float, kind: Callable[[MixedLoad], object]
) -> None:
    begin = end - SECONDS
    time.sleep(first * SECONDS)
    while time.monotonic() < begin + last * SECONDS:
        with suppress(OSError, EOFError):  # its worker hung, and was killed
            kind(load)
        time.sleep(pause)
    load.close()


def _download(load: MixedLoad, names: list[str]) -> None:
    if len(names) < 20:
        names.append(load.upload(FILE_BYTES))
    load.download(names[hash(time.monotonic()) % len(names)])


# --- data --------------------------------------------------------------------------------------------------


def chosen_panels() -> list[dict[str, Any]]:
    """Return the panels of the dashboard that are drawn."""
    found = {panel["title"]: panel for panel in panels()}
    return [found[title] for title in PANELS]


def chart(panel: dict[str, Any], prometheus: PrometheusServer, begin: float) -> Chart:
    """Return the chart of a panel from this time on."""
    lines = [line for target in panel["targets"] for line in _lines(target, prometheus, begin)]
    return Chart(panel["title"], UNITS[panel["fieldConfig"]["defaults"]["unit"]], lines)


def _lines(target: dict[str, Any], prometheus: PrometheusServer, begin: float) -> Iterator[Line]:
    expression = target["expr"].replace("$__rate_interval", WINDOW).replace("$instance", ".*")
    for series in prometheus.query_range(expression, begin, begin + SECONDS, STEP_SECONDS):
        points: list[Point] = [(at - begin, float(value)) for at, value in series["values"]]
        points = [point for point in points if not math.isnan(point[1])]
        if any(value for _, value in points):
            yield Line(_name(target["legendFormat"], series["metric"]), points)


def _name(legend: str, labels: dict[str, str]) -> str:
    """Return the legend with the values of labels; that of the only daemon is left out."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels[match[1]] * (match[1] != "instance"), legend).strip()


if __name__ == "__main__":
    main()
