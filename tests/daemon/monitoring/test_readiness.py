"""Liveness and readiness of a daemon: workers, suspended writes, the object store, the stop."""

import os
import re
import signal
import ssl
import subprocess
import sys

import pytest
import requests

from tests.balanced_daemons import start_on_engine
from tests.daemon.fault_injection import FLUSHES, injected
from tests.daemon_process import ROOT, TIMEOUT, assert_one_line, until
from tests.engine_proxy import Fault, FaultProxy
from tests.http_clients.blocking import BlockingClient, connect, request_head
from tests.monitoring_client import ENDPOINT, ask, monitor_port, scrape, workers_of
from tests.seaweedfs import NEEDS
from tests.tls_files import TLSFiles

OPTIONS = ("--metrics", ENDPOINT)
SUSPENDED = "writes are suspended; the log has the reason"
AWAY = "the object store is away; the log has the reason"


def ready(port):
    """The status and the lines of ``/readyz``."""
    response = ask(port, "/readyz")
    return response.status, response.body.decode().splitlines()


def upload(daemon):
    return requests.post(daemon.url, data=os.urandom(100), headers={"Content-Type": "a/b"}, timeout=TIMEOUT)


def test_daemon_is_ready_and_alive_until_its_workers_hang(start_daemon):
    daemon = start_daemon("--workers", "2", *OPTIONS)
    port, workers = monitor_port(daemon), workers_of(daemon)
    assert (200, ["ok", "workers: 2 of 2 serve"]) == ready(port)
    assert (200, b"ok\n") == (ask(port, "/livez").status, ask(port, "/livez").body)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    until(lambda: ask(port, "/livez").status == 503, "no worker answers")
    assert (503, ["no worker serves", "workers: 0 of 2 serve"]) == ready(port)
    assert 0 == scrape(port)["workers_serving",]
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    until(lambda: ask(port, "/livez").status == 200, "a worker answers")


@pytest.mark.needs("strace")
def test_suspension_in_one_worker_is_known_also_after_its_death(start_daemon):
    daemon = start_daemon("--workers", "2", *OPTIONS)
    port = monitor_port(daemon)
    first, second = workers_of(daemon)
    with injected(first, FLUSHES, "error=EIO"):
        until(lambda: upload(daemon).status_code == 500, "a flush of the first worker fails")
    until(lambda: ready(port)[0] == 503, "it is not ready")
    assert [SUSPENDED, "workers: 2 of 2 serve"] == ready(port)[1]
    assert 1 == scrape(port)["writes_suspended",]
    for pid in (first, second):
        os.kill(pid, signal.SIGKILL)
    until(lambda: ready(port)[1][-1] == "workers: 2 of 2 serve", "both are replaced")
    assert 503 == ready(port)[0]
    refused = upload(daemon).status_code
    assert (503, 1) == (refused, scrape(port)["refusals_total", "suspended"])


@NEEDS
def test_outage_of_the_object_store_and_its_end_are_known(seaweedfs, prefix, tmp_path):
    started = []
    with FaultProxy(seaweedfs, lambda _: None) as proxy:
        options = ("--workers", "2", "--engine-timeout", "1", *OPTIONS)
        daemon = start_on_engine(prefix, str(tmp_path), started, *options, environment=proxy.environment)
        try:
            port = monitor_port(daemon)
            assert 200 == upload(daemon).status_code
            values = scrape(port)
            assert 1 == values["fsync_seconds_count",]
            assert ("store_free_bytes",) not in values
            proxy.decide = lambda _: Fault(reset=True, forwarded=False)
            until(lambda: ready(port) == (503, [AWAY, "workers: 2 of 2 serve"]), "the outage is known")
            proxy.decide = lambda _: None
            until(lambda: ready(port)[0] == 200, "its end is known")
        finally:
            daemon.end()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_stopping_daemon_reports_it_until_the_last_request_has_ended(start_daemon, workers):
    daemon = start_daemon("--workers", workers, *OPTIONS)
    port = monitor_port(daemon)
    with connect(daemon.port) as client:
        client.send(request_head("/", "Content-Length: 10", method="POST") + b"hello")
        until(lambda: scrape(port)["uploads_in_progress",] == 1, "the upload is being read")
        daemon.kill(signal.SIGTERM)
        until(daemon.refuses, "the port is closed")
        status, lines = ready(port)
        assert (503, "stopping") == (status, lines[0])
        assert 200 == ask(port, "/livez").status
        client.send(b"world")
        assert 200 == client.read_response().status
    until(daemon.ended, "it ends")


def certificate_of(port, files):
    """The certificate that the metrics have, and that a client accepts."""
    context = ssl.create_default_context(cafile=files.root_file)
    with connect(port) as plain:
        secure = context.wrap_socket(plain.connection, server_hostname="localhost")
        with BlockingClient(secure) as client:
            assert 200 == client.request(request_head("/livez")).status
            return secure.getpeercert(binary_form=True)


def test_metrics_over_tls_use_a_renewed_certificate(start_daemon, tmp_path):
    files = TLSFiles(tmp_path)
    daemon = start_daemon("--workers", "2", "--metrics", files.endpoint())
    port = monitor_port(daemon)
    before = certificate_of(port, files)
    files.renew()
    daemon.kill(signal.SIGHUP)
    until(lambda: certificate_of(port, files) != before, "the new certificate is used")


WITHOUT_THE_LIBRARY = """
import sys
sys.modules["prometheus_client"] = None
sys.argv[0] = "twistd"
from twisted.scripts.twistd import run
run()
"""
"""twistd, where prometheus_client cannot be imported."""


def start_in_vain(directory, *options):
    """Run a daemon to its end, which refuses these options."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_LIBRARY, "-n", "--pidfile=", "filestored", *options],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def test_missing_library_is_one_line(tmp_path):
    done = start_in_vain(tmp_path, "--listen", "127.0.0.1:0", *OPTIONS)
    assert_one_line(done, re.escape("--metrics needs prometheus-client: in the checkout run pip install"))


def test_wrong_endpoint_of_metrics_is_one_line_that_names_the_option(start_daemon):
    with pytest.raises(AssertionError, match=r"filestored: --metrics bogus: .* write it like 9000"):
        start_daemon("--workers", "1", "--metrics", "bogus")
