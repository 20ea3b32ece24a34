"""Metrics: kill -9 of random workers under 16 clients, and scrapes all the time.

The requests that the daemon has counted are those that its clients have, but for the ones that a kill has
cut; no counter goes back between two scrapes.
"""

import os
import random
import signal
import time

from tests.counted_load import CountedLoad, RepeatedScrapes
from tests.daemon_process import until
from tests.deep.bench import Bench, Verdict
from tests.monitoring_client import ENDPOINT, monitor_port, scrape, workers_of

WORKERS = 4
CLIENTS = 16


def prove(bench: Bench) -> Verdict:
    """Requests, kills, and the figures that differ or went back."""
    daemon = bench.start("--workers", str(WORKERS), "--metrics", ENDPOINT)
    port = monitor_port(daemon)
    scrapes, load = RepeatedScrapes(port), CountedLoad(daemon, CLIENTS)
    dice, kills, deadline = random.Random(14), 0, time.monotonic() + bench.seconds
    while time.monotonic() < deadline:
        time.sleep(dice.uniform(0.05, 1.0))
        for pid in dice.sample(workers_of(daemon), dice.choice([1, 2])):
            os.kill(pid, signal.SIGKILL)
            kills += 1
        until(lambda: scrape(port)["workers_serving",] == WORKERS, "all are replaced")
    load.end()
    scrapes.end()
    different = load.differences(scrapes.values)
    restarts = scrapes.values["worker_restarts_total",]
    figure = (
        f"{sum(load.answered.values()):,} responses, {sum(load.cut.values())} cut by {kills} kills, "
        f"{scrapes.count} scrapes: {len(different)} sums differ, {len(scrapes.decreased)} went back"
    )
    holds = not different and not scrapes.decreased and restarts == kills > 0
    return Verdict(": ".join([figure, *different]), holds)
