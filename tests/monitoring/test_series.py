"""A real Prometheus that scrapes a real daemon finds each series of the dashboard and of the alerts.

One daemon with two workers answers requests of all kinds between two scrapes. A panel whose query finds
nothing would be empty for an operator, too.
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
from tests.tools import find_tool

pytestmark = [pytest.mark.needs("prometheus"), pytest.mark.needs("promtool"), pytest.mark.slow]

ROUNDS = 3


@dataclass(frozen=True)
class Monitored:
    """A daemon after its load, and the Prometheus that has scraped it before and after."""

    prometheus: PrometheusServer
    url: str


@pytest.fixture(scope="module")
def monitored(tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("monitored"))
    started = []
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
            yield Monitored(prometheus, f"http://{endpoint}/")
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


def test_quota_and_refused_tokens_fire_no_alert_at_once(monitored):
    """Each alert about refusals either waits or concerns another reason."""
    about_space = {"FilestoredSpaceLow", "FilestoredSpaceCritical", "FilestoredSpaceFullSoon"}
    firing = {alert["name"] for alert in monitored.prometheus.alerts() if "firing" == alert["state"]}
    assert set() == firing - about_space


def test_refusals_are_counted_by_reason(monitored):
    found = monitored.prometheus.query("filestored_refusals_total > 0")
    counted = {series["metric"]["reason"]: int(series["value"][1]) for series in found}
    assert dict.fromkeys(REASONS, ROUNDS) == {reason: counted.get(reason) for reason in REASONS}


def test_daemon_with_all_its_workers_is_alive_and_ready(monitored):
    assert (200, "ok\n") == answer(monitored, "livez")
    status, body = answer(monitored, "readyz")
    assert 200 == status
    finished = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(rf"ok\nworkers: 2 of 2 serve\nverify: last finished {finished}, 0 corrupt\n", body)


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
