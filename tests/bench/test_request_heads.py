"""Requests of wrk and of the client for large downloads, as a server receives them."""

import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench import download_client, wrk
from bench.request_mixes import AGENT_HEADS, EQUAL_HEADS, PROXIED_HEADS, Count, RequestMix, ranged_heads

LENGTH = 3000
BODY = bytes(LENGTH)
PATHS = ["/a", "/b", "/c"]
CONNECTIONS = 2


class Server(ThreadingHTTPServer):
    """Answers each GET with a status and `BODY`; remembers the requests."""

    def __init__(self, status):
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = status
        self.requests = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append((self.path, self.headers))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *args):
        pass


@contextmanager
def serving(status=200):
    with Server(status) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def run_wrk(server, load):
    return wrk.run(f"http://127.0.0.1:{server.server_port}/", load, 1)


def run_download_client(server, load):
    return download_client.run(server.server_port, load, 0.3)


def mix(heads, length=LENGTH):
    return RequestMix("GET", PATHS, CONNECTIONS, response=length, heads=heads)


CLIENTS = [
    pytest.param(run_wrk, id="wrk", marks=pytest.mark.needs("wrk")),
    pytest.param(run_download_client, id="download client"),
]


@pytest.mark.parametrize("run", CLIENTS)
def test_equal_heads_differ_in_their_target_only(run):
    with serving() as server:
        run(server, mix(EQUAL_HEADS))
    assert len(PATHS) == len({(path, str(headers)) for path, headers in server.requests})
    assert set(PATHS) == {path for path, _ in server.requests}


@pytest.mark.parametrize("run", CLIENTS)
def test_proxied_heads_have_request_ids_of_their_own_and_many_addresses(run):
    with serving() as server:
        run(server, mix(PROXIED_HEADS))
    ids = {headers["X-Request-Id"] for _, headers in server.requests}
    assert len(server.requests) == len(ids)
    assert {32} == {len(each) for each in ids}
    assert len(server.requests) / 2 < len({headers["X-Forwarded-For"] for _, headers in server.requests})
    assert set(PATHS) == {path for path, _ in server.requests}


@pytest.mark.needs("wrk")
def test_agents_differ_and_other_fields_are_sent():
    with serving() as server:
        run_wrk(server, replace(mix(AGENT_HEADS), fields={"Authorization": "Bearer x"}))
    agents = {headers["User-Agent"] for _, headers in server.requests}
    assert len(server.requests) == len(agents)
    assert {"Bearer x"} == {headers["Authorization"] for _, headers in server.requests}


@pytest.mark.needs("wrk")
def test_ranges_are_inside_of_the_file_and_all_different():
    with serving(206) as server:
        run_wrk(server, mix(ranged_heads(100, 5000)))
    asked = [(path, headers["Range"]) for path, headers in server.requests]
    starts_and_ends = [tuple(map(int, each.removeprefix("bytes=").split("-"))) for _, each in asked]
    assert len(asked) == len(set(asked))
    assert {100} == {end - start + 1 for start, end in starts_and_ends}
    assert max(end for _, end in starts_and_ends) < 5000


@pytest.mark.parametrize("run", CLIENTS)
def test_responses_are_counted_with_their_bytes(run):
    with serving() as server:
        count = run(server, mix(EQUAL_HEADS))
    assert 0 == count.errors
    assert 0 < count.requests <= len(server.requests) <= count.requests + CONNECTIONS
    assert count.requests * LENGTH < count.received


@pytest.mark.parametrize("run", CLIENTS)
def test_responses_without_success_are_errors(run):
    with serving(404) as server:
        count = run(server, mix(EQUAL_HEADS))
    assert 0 < count.requests <= count.errors <= count.requests + CONNECTIONS


@pytest.mark.needs("wrk")
def test_whole_file_instead_of_a_range_fails_the_run():
    with serving() as server, pytest.raises(RuntimeError, match=r"responses of 100 bytes have \d+ bytes"):
        run_wrk(server, mix(ranged_heads(100, 5000), 100))


@pytest.mark.parametrize("received", [10 * 4096, 12 * (4096 + wrk.MAX_HEAD_BYTES)])
def test_length_with_heads_and_unfinished_responses_is_right(received):
    wrk.check_length(Count(10, 1.0, received, 0), RequestMix("GET", [], 2, response=4096))


@pytest.mark.parametrize("received", [10 * 4096 - 1, 12 * (4096 + wrk.MAX_HEAD_BYTES) + 1])
def test_other_lengths_are_wrong(received):
    with pytest.raises(RuntimeError, match="10 responses of 4096 bytes"):
        wrk.check_length(Count(10, 1.0, received, 0), RequestMix("GET", [], 2, response=4096))


def test_length_of_a_run_with_errors_is_not_checked():
    wrk.check_length(Count(10, 1.0, 0, 1), RequestMix("GET", [], 2, response=4096))
