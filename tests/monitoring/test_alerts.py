"""Alerts for Prometheus: promtool accepts the files, and each alert fires when it should and only then."""

import os
import re
import subprocess

import pytest

from tests.daemon_process import ROOT
from tests.docs.pages import text
from tests.tools import find_tool

FILES = os.path.join("deploy", "prometheus")
UNIT_TESTS = ["tests/monitoring/alerts_test.yml", "tests/monitoring/alerts_of_days_test.yml"]


def promtool(*words):
    return subprocess.run(
        [find_tool("promtool") or "promtool", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def alerts():
    """Return the text of each alert by its name."""
    blocks = re.split(r"^ +- alert: ", text(FILES, "alerts.yml"), flags=re.MULTILINE)[1:]
    return {block.split("\n", 1)[0]: block for block in blocks}


@pytest.mark.needs("promtool")
def test_promtool_accepts_configuration_and_rules():
    done = promtool("check", "config", os.path.join(FILES, "prometheus.yml"))
    assert 0 == done.returncode, done.stderr
    assert f"{len(alerts())} rules found" in done.stdout


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("path", UNIT_TESTS)
def test_alerts_fire_and_do_not_fire(path):
    done = promtool("test", "rules", path)
    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("alert", alerts())
def test_unit_tests_evaluate_alert_before_and_after_for_a_good_daemon(alert):
    (block,) = re.findall(
        rf"- name: {alert}\n(.*?)(?=\n\n|\Z)", "\n\n".join(map(text, UNIT_TESTS)), re.DOTALL
    )
    assert 'instance="good' in block
    assert f'- expr: ALERTS{{alertname="{alert}", alertstate="firing"}}' in block
    assert "exp_samples: []" in block
    expected = re.findall(rf'labels: ALERTS{{alertname="{alert}".* instance="(\w+)', block)
    assert {"bad"} == {instance.split("-")[0] for instance in expected}


@pytest.mark.parametrize("alert", alerts())
def test_alert_has_severity_summary_and_advice(alert):
    block = alerts()[alert]
    assert re.search(r"^ +severity: (critical|warning)$", block, re.MULTILINE)
    assert re.search(r"^ +summary: \".*filestored.*\"$", block, re.MULTILINE)
    assert re.search(r"^ +description: >-\n( {12}.*\n)+", block, re.MULTILINE)


def test_each_metric_of_an_alert_is_on_the_dashboard():
    """An operator who gets an alert looks at the dashboard."""
    names = set(re.findall(r"\bfilestored_\w+", "".join(alerts().values())))
    dashboard = text("deploy", "grafana", "filestored.json")
    assert names
    assert [] == sorted(name for name in names if f"{name}" not in dashboard)
