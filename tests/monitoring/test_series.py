"""A real Prometheus that scrapes a real daemon finds each series of the dashboard and of the alerts.

One daemon with two workers answers requests of all kinds between two scrapes. A panel whose query finds
nothing would be empty for an operator, too. One file is corrupt, and the verification finds it.
"""

import os
import re
import subprocess
import time
from dataclasses import dataclass

import pytest
import requests

from tests.daemon_process import start, until
from tests.engine_daemons import free_port
from tests.monitoring.dashboard import annotations, queries, selectors
from tests.monitoring.mixed_load import REASONS, MixedLoad, options
from tests.monitoring.prometheus_server import PrometheusServer
from tests.test_verify_command import flip, make_store
from tests.tools import find_tool

pytestmark = [pytest.mark.needs("prometheus"), pytest.mark.needs("promtool"), pytest.mark.slow]

ROUNDS = 3


@dataclass(frozen=True)
class Monitored:
    """A daemon after its load, and the Prometheus that has scraped it before and after."""

    prometheus: PrometheusServer
    url: str
    corrupt: str


@pytest.fixture(scope="module")
def monitored(tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("monitored"))
    started = []
    store = os.path.join(directory, "store")
    corrupt = make_store(store, 3)[0]
    flip(store, corrupt)
    endpoint = f"127.0.0.1:{free_port()}"
    words = ("--workers", "2", "--metrics", endpoint, "--verify-every", "30d", *options(directory))
    start(directory, started, *words)
    try:
        with PrometheusServer(os.path.join(directory, "prometheus"), [endpoint]) as prometheus:
            prometheus.wait_for_scrape(after=0)
            exercise(started[0].port)
            for gauge in ("verify_last_finished_timestamp_seconds", "store_counted_timestamp_seconds"):
                until(lambda gauge=gauge: prometheus.query(f"filestored_{gauge} > 0"), gauge)
            prometheus.wait_for_scrape(after=time.time())
            yield Monitored(prometheus, f"http://{endpoint}/", corrupt)
    finally:
        started[0].end()


def exercise(port):
    """Send requests of all kinds."""
    load = MixedLoad(port)
    for _ in range(ROUNDS):
        load.exercise_files()
        load.exercise_images()
        load.exercise_refusals()
    load.close()


def answer(monitored, path):
    response = requests.get(f"{monitored.url}{path}", timeout=30)
    return response.status_code, response.text


def values(found):
    return [value for series in found if (value := float(series["value"][1])) == value]


def test_each_query_of_a_panel_has_values(monitored):
    empty = [query for query in queries() if not values(monitored.prometheus.query(query.expression))]
    assert [] == empty


def test_series_of_annotations_exist(monitored):
    named = {selector for query in annotations() for selector in selectors(query.expression)}
    assert named
    assert [] == sorted(each for each in named if not monitored.prometheus.query(each))
    for query in annotations():
        monitored.prometheus.query(query.expression)  # it is well-formed


def test_series_of_all_alerts_exist(monitored):
    alerts = {alert["name"]: alert for alert in monitored.prometheus.alerts()}
    assert {"ok"} == {alert["health"] for alert in alerts.values()}
    named = {selector for alert in alerts.values() for selector in selectors(alert["query"])}
    assert 'up{job="filestored"}' in named
    assert [] == sorted(each for each in named if not monitored.prometheus.query(each))


def test_corrupt_file_fires_its_alert_and_refused_requests_fire_none(monitored):
    """Each alert about refusals either waits or concerns another reason."""
    about_space = {"FilestoredSpaceLow", "FilestoredSpaceCritical", "FilestoredSpaceFullSoon"}

    def firing():
        alerts = monitored.prometheus.alerts()
        return {alert["name"] for alert in alerts if "firing" == alert["state"]} - about_space

    until(firing, "the alert fires")
    assert {"FilestoredCorruptFiles"} == firing()
    (series,) = monitored.prometheus.query("filestored_verify_last_corrupt_files")
    assert "1" == series["value"][1]


def test_refusals_are_counted_by_reason(monitored):
    found = monitored.prometheus.query("filestored_refusals_total > 0")
    counted = {series["metric"]["reason"]: int(series["value"][1]) for series in found}
    assert dict.fromkeys(REASONS, ROUNDS) == {reason: counted.get(reason) for reason in REASONS}


def test_daemon_with_a_corrupt_file_is_alive_and_ready_and_names_it(monitored):
    assert (200, "ok\n") == answer(monitored, "livez")
    status, body = answer(monitored, "readyz")
    assert 200 == status
    finished = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    lines = "ok", "workers: 2 of 2 serve", f"verify: last finished {finished}, 1 corrupt", "corrupt: (.*)"
    found = re.fullmatch("".join(f"{line}\n" for line in lines), body)
    assert found, body
    assert monitored.corrupt == found[1]


def test_promtool_accepts_the_metrics(monitored):
    """It also checks names and help texts against the conventions of Prometheus."""
    done = subprocess.run(
        [find_tool("promtool") or "promtool", "check", "metrics"],
        input=answer(monitored, "metrics")[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "" == done.stderr
    assert 0 == done.returncode
