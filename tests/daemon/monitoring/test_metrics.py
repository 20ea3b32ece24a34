"""Metrics of a daemon: sums over workers, also of killed ones, as its clients count them."""

import os
import signal
import time
from contextlib import contextmanager

import pytest

from tests.access.wire.access_files import Bucket, access_text, make_secret, write_access
from tests.counted_load import CountedLoad, RepeatedScrapes
from tests.daemon_process import until
from tests.http_clients.blocking import connect, request_head
from tests.images.image_client import Client, png
from tests.monitoring_client import ENDPOINT, ask, monitor_port, scrape, workers_of

OPTIONS = ("--metrics", ENDPOINT)
LOAD_SECONDS = 1.5


@pytest.fixture
def shared(share_daemon):
    """A daemon with one process, and the port of its metrics."""
    daemon = share_daemon("--workers", "1", "--max-size", "1MB", *OPTIONS)
    return daemon, monitor_port(daemon)


@contextmanager
def changes(port):
    """The values that have changed in this context, by how much."""
    before, found = scrape(port), {}
    yield found
    after = scrape(port)
    found.update({key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)})


def post(client, content):
    """Upload and return the digest."""
    head = request_head("/", f"Content-Length: {len(content)}", method="POST")
    return client.request(head + content).body.decode()


def test_requests_are_counted_exactly(start_daemon):
    daemon = start_daemon("--workers", "1", *OPTIONS)
    load = CountedLoad(daemon, 4)
    time.sleep(0.5)
    load.end()
    values = scrape(monitor_port(daemon))
    assert {} == load.cut
    assert [] == load.differences(values)
    assert sum(load.answered.values()) == sum(
        value for (name, *_), value in values.items() if name == "requests_total"
    )
    assert 0 < load.answered["GET", "2xx"]


def test_killed_workers_of_a_daemon_in_the_background_lose_no_count(start_daemon):
    daemon = start_daemon("--workers", "4", *OPTIONS, twistd=())
    port = monitor_port(daemon)
    first, second, *_ = workers_of(daemon)
    scrapes, load = RepeatedScrapes(port), CountedLoad(daemon, 8)
    for pid in (first, second):
        time.sleep(LOAD_SECONDS / 3)
        os.kill(pid, signal.SIGKILL)
    until(lambda: scrape(port)["workers_serving",] == 4, "all workers serve again")
    time.sleep(LOAD_SECONDS / 3)
    load.end()
    scrapes.end()
    assert [] == load.differences(scrapes.values)
    assert [] == scrapes.decreased
    assert 2 == scrapes.values["worker_restarts_total",]
    until(lambda: scrape(port)["connections",] == 0, "the connections of killed workers do not count")


def test_bytes_of_bodies_are_counted(shared):
    daemon, port = shared
    content = os.urandom(300_000)
    with changes(port) as counted, connect(daemon.port) as client:
        digest = post(client, content)
        for _ in range(3):
            assert content == client.request(request_head(f"/files/{digest}")).body
        assert 206 == client.request(request_head(f"/files/{digest}", "Range: bytes=0-99")).status
    assert len(content) == counted["request_received_bytes_total",]
    assert 3 * len(content) + 100 + len(digest) == counted["response_sent_bytes_total",]
    assert 4 == counted["time_to_first_byte_seconds_count", "GET"]
    assert 1 == counted["time_to_first_byte_seconds_count", "POST"]
    assert 4 == counted["request_duration_seconds_count", "GET"]


def test_bytes_that_a_client_did_not_take_are_not_counted(shared):
    daemon, port = shared
    with connect(daemon.port) as client:
        digest = post(client, os.urandom(1_000_000))
        client.request(request_head(f"/files/{digest}"))
    with changes(port) as counted:
        with connect(daemon.port, receive_buffer=4096) as client:
            client.send(request_head(f"/files/{digest}") * 20)
            client.connection.recv(1)
        until(lambda: scrape(port)["connections",] == 0, "the connection is lost")
    assert 0 < counted["response_sent_bytes_total",] < 20_000_000


def test_small_cached_response_gets_a_duration(shared):
    daemon, port = shared
    with changes(port) as counted, connect(daemon.port) as client:
        digest = post(client, b"x")
        for _ in range(20):
            client.request(request_head(f"/files/{digest}"))
    assert 20 == counted["request_duration_seconds_count", "GET"]
    assert 20 == counted["request_duration_seconds_bucket", "60.0", "GET"]


def test_flushes_uploads_and_deletions_are_counted(shared):
    daemon, port = shared
    with changes(port) as counted, connect(daemon.port) as client:
        for _ in range(2):
            digest = post(client, b"twice")
        client.request(request_head(f"/files/{digest}", method="DELETE"))
    assert (1, 1) == (counted["uploads_total", "created"], counted["uploads_total", "existing"])
    assert 1 == counted["files_deleted_total",]
    assert 3 < counted["fsync_seconds_count",]
    values = scrape(port)
    assert 0 == values["uploads_in_progress",]
    assert 0 == values["commit_queue_length",]


REFUSED = {
    "malformed": b"nonsense\r\n\r\n",
    "too_large": request_head("/", "Content-Length: 1000001", method="POST"),
    "digest_mismatch": request_head("/files/" + "0" * 64, "Content-Length: 1", method="PUT") + b"x",
    "origin": request_head("/", "Content-Length: 1", "Sec-Fetch-Site: cross-site", method="POST") + b"x",
    "other": request_head("/", method="PATCH"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refusal_is_counted_by_its_reason(reason, shared):
    daemon, port = shared
    with changes(port) as counted, connect(daemon.port) as client:
        client.request(REFUSED[reason])
    assert {("refusals_total", reason): 1} == {k: v for k, v in counted.items() if k[0] == "refusals_total"}


def test_refused_connection_is_counted(start_daemon):
    daemon = start_daemon("--workers", "1", "--max-connections", "1", *OPTIONS)
    port = monitor_port(daemon)
    with connect(daemon.port) as busy:
        busy.send(request_head("/", "Content-Length: 5", method="POST"))
        until(lambda: scrape(port)["connections",] == 1, "it is busy")
        with connect(daemon.port) as refused:
            assert 503 == refused.read_response().status
    values = scrape(port)
    assert 1 == values["connections_refused_total",]
    assert 1 == values["refusals_total", "overloaded"]


def test_images_are_counted(shared):
    daemon, port = shared
    client = Client(daemon)
    with changes(port) as counted:
        assert 201 == client.upload("one.png", png(8)).status_code
        assert 406 == client.upload("none.png", b"no image at all" * 10).status_code
        assert 406 == client.upload("half.png", png(8)[:60]).status_code
    assert 1 == counted["images_decoded_total",]
    assert 2 == counted["images_refused_total",]
    assert 2 == counted["refusals_total", "other"]


def test_refused_tokens_are_counted(start_daemon, tmp_path):
    path = write_access(str(tmp_path / "rules.toml"), access_text(Bucket("default", ["read"])))
    daemon = start_daemon("--workers", "1", "--access", path, *OPTIONS)
    port = monitor_port(daemon)
    target = f"/files/{'0' * 64}"
    requests = {
        "no credentials": (401, request_head(target, method="DELETE")),
        "an unknown token": (401, request_head(target, f"Authorization: Bearer {make_secret('x')}")),
        "a malformed token": (401, request_head(target, "Authorization: Digest x")),
        "a wrong link": (403, request_head(f"{target}?key=a&expires=1&signature=b")),
    }
    with connect(daemon.port) as client:
        for case, (status, request) in requests.items():
            assert status == client.request(request).status, case
    values = scrape(port)
    assert 3 == values["tokens_refused_total",]
    assert (3, 1) == (values["refusals_total", "unauthorized"], values["refusals_total", "forbidden"])


def test_store_is_counted_by_a_child_at_the_start(start_daemon):
    daemon = start_daemon("--workers", "1")
    with connect(daemon.port) as client:
        client.request(request_head("/", "Content-Length: 5", method="POST") + b"count")
    daemon.end()
    again = start_daemon("--workers", "1", *OPTIONS)
    port = monitor_port(again)
    until(lambda: ("store_files",) in scrape(port), "the files are counted")
    values = scrape(port)
    assert (1, 5) == (values["store_files",], values["store_bytes",])
    assert abs(time.time() - values["store_counted_timestamp_seconds",]) < 3600
    assert values["store_free_bytes",] < values["store_size_bytes",]


def test_daemon_without_the_option_opens_no_listener(start_daemon):
    daemon = start_daemon("--workers", "1")
    assert "metrics" not in daemon.log


def test_metrics_on_a_unix_socket(start_daemon, tmp_path):
    path = tmp_path / "metrics.sock"
    start_daemon("--workers", "1", "--metrics", f"unix:{path}")
    assert path.is_socket()
    assert 0o660 == path.stat().st_mode & 0o777


def test_other_addresses_and_methods_are_refused(shared):
    _, port = shared
    assert [404, 404, 404] == [ask(port, path).status for path in ("/", "/metrics/x", "/readyz/")]
    assert 405 == ask(port, "/metrics", "POST").status
    head = ask(port, "/metrics", "HEAD")
    assert (200, b"") == (head.status, head.body)
