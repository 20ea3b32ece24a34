"""The balancer of deploy/ before two daemons on one object store: requests while daemons are killed."""

import os
import signal

import pytest
import requests

from tests.balanced_daemons import start_on_engine
from tests.daemon.reverse_proxy import running_proxy
from tests.daemon_process import ROOT, TIMEOUT, read
from tests.seaweedfs import NEEDS

pytestmark = [NEEDS, pytest.mark.needs("nginx")]

ADDRESSES = ("10.0.0.11:9000", "10.0.0.12:9000")
REQUESTS = 20


@pytest.fixture
def balanced(prefix, tmp_path):
    """Return two daemons, and the URL of nginx with the configuration that is shipped."""
    configuration = read(os.path.join(ROOT, "deploy", "nginx-balancer.conf"))
    started = []
    try:
        for address in ADDRESSES:
            directory = str(tmp_path / address)
            running = start_on_engine(prefix, directory, started, "--workers", "1", "--no-registration")
            assert 1 == configuration.count(f"server {address} ")
            configuration = configuration.replace(address, f"127.0.0.1:{running.port}")
        with running_proxy("nginx", configuration, str(tmp_path / "balancer"), tcp=True) as port:
            yield started, f"http://127.0.0.1:{port}/"
    finally:
        for running in started:
            running.end()


def test_no_request_fails_after_a_daemon_was_killed(balanced):
    daemons, url = balanced
    name = requests.post(url, data=b"content", timeout=TIMEOUT).text
    daemons[0].kill(signal.SIGKILL)
    downloads = [requests.get(f"{url}files/{name}", timeout=TIMEOUT) for _ in range(REQUESTS)]
    assert {(200, b"content")} == {(each.status_code, each.content) for each in downloads}
    uploads = [requests.post(url, data=b"%d" % number, timeout=TIMEOUT) for number in range(REQUESTS)]
    assert [200] * REQUESTS == [each.status_code for each in uploads]


def test_without_a_daemon_the_response_is_503_with_retry_after(balanced):
    daemons, url = balanced
    for daemon in daemons:
        daemon.kill(signal.SIGKILL)
    for _ in range(REQUESTS):
        done = requests.post(url, data=b"content", timeout=TIMEOUT)
        assert (503, "2") == (done.status_code, done.headers["retry-after"])


def test_calls_that_return_tokens_are_refused(balanced):
    _, url = balanced
    for call in ("generate-token", "retrieve-token"):
        done = requests.get(f"{url}imageapi/{call}/anna/", timeout=TIMEOUT)
        assert (403, "nginx") == (done.status_code, done.headers["server"].partition("/")[0])
