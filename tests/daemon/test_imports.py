"""Imports of a serving process: nothing large that its settings do not need.

Every interpreter can be told to say on stderr what it imports; a worker's stderr goes to the log.
"""

import re

import pytest
import requests

from filestored.daemon.process_setup import needs_tls
from tests.monitoring_client import ENDPOINT, ask, monitor_port, workers_of

TELL = {"PYTHONPROFILEIMPORTTIME": "1"}
"""Has Python write a line for each import, see ``-X importtime``."""

ENCRYPTION = {"cryptography", "service_identity"}
"""Imports of pyOpenSSL."""

NEVER = {
    "PIL",
    "prometheus_client",
    "rich",
    "twisted.spread.pb",
    "twisted.web.server",
    "twisted.web.client",
    "xml.sax",
}
"""Imports that no serving process needs."""

OF_THE_DAEMON = {"loguru", "multiprocessing", "twisted.python.usage", "twisted.application.service"}
OF_WHO_SERVES = {"httptools", "filestored.web.site"}


def exercise(daemon):
    """Store a file and fetch it: what only a request would import is imported then."""
    name = requests.post(daemon.url, data=b"x", headers={"Content-Type": "a/b"}, timeout=10).text
    assert b"x" == requests.get(daemon.url, {"hash": name}, timeout=10).content


def imported(daemon, pid):
    """The names of the modules that a process has looked for, once the daemon has ended."""
    where = "" if pid == daemon.pid else rf"[^\n]*\| {pid} stderr \| "
    return set(re.findall(rf"^{where}import time:[^\n|]*\|[^\n|]*\| +(\S+)$", daemon.log, re.MULTILINE))


@pytest.mark.parametrize("tac", [False, True])
def test_daemon_without_tls_does_not_import_it(start_daemon, tac):
    daemon = start_daemon("--workers", "1", environment=TELL, tac=tac)
    exercise(daemon)
    daemon.end()
    on_board = imported(daemon, daemon.pid)
    assert OF_WHO_SERVES <= on_board
    assert set() == on_board & (NEVER | ENCRYPTION)


def test_worker_imports_neither_tls_nor_the_supervisor(start_daemon):
    daemon = start_daemon("--workers", "2", environment=TELL)
    workers = daemon.workers()
    exercise(daemon)
    daemon.end()
    for pid in workers:
        on_board = imported(daemon, pid)
        assert OF_WHO_SERVES <= on_board
        assert set() == on_board & (NEVER | OF_THE_DAEMON | ENCRYPTION)


def test_supervisor_does_not_import_http(start_daemon):
    daemon = start_daemon("--workers", "2", environment=TELL)
    daemon.end()
    on_board = imported(daemon, daemon.pid)
    assert OF_THE_DAEMON <= on_board
    assert set() == on_board & (NEVER | OF_WHO_SERVES | ENCRYPTION)


def test_only_the_process_that_serves_metrics_imports_their_library(start_daemon):
    daemon = start_daemon("--workers", "2", "--metrics", ENDPOINT, environment=TELL)
    workers = workers_of(daemon)
    exercise(daemon)
    assert 200 == ask(monitor_port(daemon), "/metrics").status
    daemon.end()
    assert "prometheus_client" in imported(daemon, daemon.pid)
    for pid in workers:
        assert set() == imported(daemon, pid) & (NEVER | OF_THE_DAEMON | ENCRYPTION)


PLAIN = [
    "tcp:9000:interface=127.0.0.1",
    "tcp:9000",
    "tcp6:9000:interface=\\:\\:1",
    "unix:/run/ssl:mode=660",
    "systemd:domain=INET:index=0",
]


def test_plain_endpoints_do_not_need_tls():
    assert not needs_tls(PLAIN)


@pytest.mark.parametrize("endpoint", ["ssl:443:privateKey=key.pem", "tls:443", "le:/keys:tcp:443", "SSL:443"])
def test_one_tls_endpoint_needs_tls(endpoint):
    assert needs_tls([*PLAIN, endpoint])
