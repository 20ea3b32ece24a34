"""A daemon that is out of descriptors refuses connections with 503, and recovers."""

import time
from contextlib import ExitStack

import pytest
import requests

from filestored.http.eviction import MIN_IDLE_SECONDS
from tests.daemon.descriptor_limit import LIMIT_DESCRIPTORS, count_free_descriptors
from tests.daemon_process import until
from tests.http_clients.blocking import BlockingClient, request_head

BEYOND = 20
"""Connections for which no descriptor is left."""


def status(client):
    """The status that a client is answered on a new connection; 0 when it ends without an answer."""
    try:
        return client.request(request_head("/health")).status
    except (EOFError, ConnectionError):
        return 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_connections_beyond_the_descriptors_are_answered_503(start_daemon, workers):
    daemon = start_daemon("--workers", workers, wrap=LIMIT_DESCRIPTORS)
    with ExitStack() as stack:
        number = count_free_descriptors(daemon) + BEYOND
        clients = [stack.enter_context(BlockingClient(daemon.connect())) for _ in range(number)]
        statuses = []
        for client in clients:
            statuses.append(status(client))
            if statuses[-1] == 503:
                assert client.ended()
                client.connection.close()
        assert {200, 503} == set(statuses)
        assert BEYOND <= statuses.count(503)
        assert 200 == status(clients[statuses.index(200)])
    until(lambda: requests.get(f"{daemon.url}health", timeout=30).status_code == 200, "there is room again")
    until(lambda: "Too many open files" in daemon.log, "the lack of descriptors is logged")


def test_refused_connections_that_clients_leave_open_are_closed(start_daemon):
    daemon = start_daemon("--workers", "1", wrap=LIMIT_DESCRIPTORS)
    free = count_free_descriptors(daemon)
    with ExitStack() as stack:
        clients = [stack.enter_context(BlockingClient(daemon.connect())) for _ in range(free + BEYOND)]
        assert {200, 503} == {status(client) for client in clients}
    until(lambda: count_free_descriptors(daemon) >= free - 2, "all connections are closed")
    assert 200 == requests.get(f"{daemon.url}health", timeout=30).status_code


@pytest.mark.parametrize("body", [b"", bytes(40_000)])
def test_a_refusal_is_not_destroyed_by_a_reset(start_daemon, body):
    """A client that has sent its request before it is refused reads the answer."""
    daemon = start_daemon("--workers", "1", wrap=LIMIT_DESCRIPTORS)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with ExitStack() as stack:
        for _ in range(count_free_descriptors(daemon)):
            stack.enter_context(daemon.connect())
        for _ in range(5):
            client = stack.enter_context(BlockingClient(daemon.connect()))
            client.send(head + body)
            reply = client.read_response()
            assert (503, "1") == (reply.status, reply.fields["retry-after"])
            assert "close" == reply.fields["connection"]


def test_an_idle_connection_is_closed_for_one_beyond_the_limit(start_daemon):
    daemon = start_daemon("--workers", "1", "--max-connections", "5")
    with ExitStack() as stack:
        idle = [stack.enter_context(BlockingClient(daemon.connect())) for _ in range(5)]
        assert [200] * 5 == [status(client) for client in idle]
        time.sleep(2 * MIN_IDLE_SECONDS)
        assert [200] * 3 == [status(stack.enter_context(BlockingClient(daemon.connect()))) for _ in range(3)]
        assert 2 == [status(client) for client in idle].count(200)
