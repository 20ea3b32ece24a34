"""A daemon on loopback under foreign names: 421, whatever another listener of it has answered before."""

import socket

import pytest

from tests.http_clients.blocking import BlockingClient, connect

HOSTS = {"evil.example": 421, "localhost": 200, "127.0.0.1:9": 200, "files.example.org": 200}


def request(target, host, method="GET", body=b""):
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n"
    return (head + (f"Content-Length: {len(body)}\r\n" if body else "") + "\r\n").encode() + body


def unix(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return BlockingClient(connection)


@pytest.fixture
def both(start_daemon, tmp_path):
    """A daemon on loopback and on a Unix socket, which has stored a file: port, path, target of the file."""
    path = str(tmp_path / "socket")
    listen = ("--listen", f"unix:{path}")
    daemon = start_daemon("--workers", "1", *listen, "--host", "files.example.org", hosts=())
    with unix(path) as client:
        stored = client.request(request("/", "x", "POST", b"hello"))
    return daemon.port, path, f"/files/{stored.body.decode()}"


def test_response_cached_for_a_unix_socket_is_not_sent_to_a_foreign_host_on_loopback(both):
    port, path, target = both
    for host, status in HOSTS.items():
        for _ in range(3):
            with unix(path) as client:
                assert [200] * 3 == [client.request(request(target, host)).status for _ in range(3)]
            with connect(port) as client:
                replies = [client.request(request(target, host)) for _ in range(3)]
            assert [status] * 3 == [reply.status for reply in replies]
            assert [status == 200] * 3 == [reply.body == b"hello" for reply in replies]


def test_foreign_host_on_loopback_is_421(both):
    port, path, target = both
    asked = [("POST", "/", b"x"), ("DELETE", target, b""), ("PUT", f"/files/{'0' * 64}", b"x")]
    asked += [("GET", each, b"") for each in ("/", "/health", "/imageapi/generate-token/x/", "/nowhere")]
    for method, where, body in asked:
        with connect(port) as client:
            assert 421 == client.request(request(where, "evil.example", method, body)).status
    with unix(path) as client:
        assert b"hello" == client.request(request(target, "x")).body


def test_a_request_after_a_421_is_served_on_the_same_connection(both):
    port, _, target = both
    with connect(port) as client:
        assert 421 == client.request(request(target, "evil.example")).status
        assert b"hello" == client.request(request(target, "localhost")).body
