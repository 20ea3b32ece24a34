"""The page about monitoring: every metric, every reason of a refusal and every alert, and no others."""

import re
import subprocess

import pytest

from filestored.daemon.options import Options
from filestored.metrics.refusals import REASONS
from filestored.metrics.table import OF_DAEMON, OF_WORKERS
from tests.docs.pages import code, text

PAGE = "docs/monitoring.md"


def first_cells(heading):
    """Return the first cells in code of the tables below a heading, to the next one of its level."""
    level = heading.split(" ", 1)[0]
    section = re.split(
        rf"^{level} ", text(PAGE).split(f"\n{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE
    )[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


def alerts():
    """Return the text of each alert by its name."""
    blocks = text("deploy", "prometheus", "alerts.yml").split("- alert: ")[1:]
    return {block.split("\n", 1)[0]: block for block in blocks}


def sections():
    """Return the sections about alerts by their headings."""
    chapter = text(PAGE).split("\n## Alerts\n", 1)[1].split("\n## ", 1)[0]
    return {part.split("\n", 1)[0]: part.split("\n", 2)[2] for part in chapter.split("\n### ")[1:]}


def test_page_lists_exactly_the_metrics_of_the_daemon():
    listed = [name for name in first_cells("## Metrics") if name.startswith("filestored_")]
    assert len(listed) == len(set(listed))
    assert {family.name for family in (*OF_WORKERS, *OF_DAEMON)} == set(listed)


def test_page_lists_exactly_the_reasons_of_refusals():
    assert list(REASONS) == first_cells("### Reasons of refusals")


@pytest.mark.parametrize("family", [family for family in (*OF_WORKERS, *OF_DAEMON) if family.labels])
def test_page_names_the_labels_of_a_metric(family):
    (line,) = re.findall(rf"^\| `{family.name}` \| (.*) \|$", text(PAGE), re.MULTILINE)
    assert [] == [label for label in family.labels if f"`{label}`" not in line]


def test_page_has_a_section_about_each_alert_in_their_order():
    assert list(alerts()) == list(sections())


@pytest.mark.parametrize("alert", alerts())
def test_section_has_severity_and_delay_of_the_alert(alert):
    severity = re.search(r"severity: (\w+)", alerts()[alert])[1]
    delay = re.search(r"^ +for: (\d+)([mh])$", alerts()[alert], re.MULTILINE)
    first = sections()[alert].split(".", 1)[0]
    assert first.startswith(severity.capitalize())
    if delay:
        unit = {"m": "minute", "h": "hour"}[delay[2]]
        assert f"after {delay[1]} {unit}{'s' * (delay[1] != '1')}" in first


def test_options_named_on_the_page_exist():
    ours = {name for name, *_ in (*Options.optParameters, *Options.optFlags)} | {"listen"}
    named = set(re.findall(r"`--([a-z-]+)", text(PAGE)))
    assert {"metrics", "reserve"} <= named
    assert set() == named - ours


def test_address_of_the_page_is_that_of_the_configuration():
    (command,) = [line for block in code(PAGE, "sh") for line in block.splitlines() if "twistd -n" in line]
    endpoint = command.rsplit(" ", 1)[1]
    assert f'- targets: ["{endpoint}"]' in text("deploy", "prometheus", "prometheus.yml")
    assert f'FILESTORED_OPTIONS="--metrics {endpoint}"' in text(PAGE)


@pytest.mark.needs("haproxy")
def test_haproxy_accepts_the_check_of_readiness(tmp_path):
    (lines,) = [block for block in code(PAGE, "text") if "httpchk" in block]
    path = tmp_path / "haproxy.cfg"
    timeouts = "".join(f" timeout {kind} 5s\n" for kind in ("connect", "client", "server"))
    frontend = "frontend all\n bind 127.0.0.1:9000\n default_backend files\n"
    path.write_text(f"defaults\n mode http\n{timeouts}{frontend}backend files\n{lines}")
    done = subprocess.run(
        ["haproxy", "-c", "-f", path], capture_output=True, text=True, timeout=30, check=False
    )
    assert 0 == done.returncode, done.stderr


def test_probes_of_kubernetes_ask_both_addresses():
    (probes,) = [block for block in code(PAGE, "yaml") if "Probe" in block]
    asked = re.findall(r"^(\w+)Probe:\n +httpGet: \{path: (\S+), port: (\d+)\}", probes, re.MULTILINE)
    assert [("liveness", "/livez", "9101"), ("readiness", "/readyz", "9101")] == asked
