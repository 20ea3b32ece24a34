"""Real reverse proxies in front of a daemon get no token; the configurations in deploy/ work."""

import os
import ssl
from contextlib import ExitStack
from functools import cache
from hashlib import sha256
from itertools import product

import pytest
import requests

from filestored import account_admin
from tests.daemon.reverse_proxy import (
    BARE_HAPROXY,
    NAME,
    UNIX_PREFIXES,
    UPSTREAMS,
    ask,
    connector,
    running_proxy,
    shipped,
)
from tests.daemon_process import TIMEOUT, start
from tests.tls_files import TLSFiles

pytestmark = pytest.mark.slow

PROXY_HEADERS = [
    b"PROXY TCP4 203.0.113.9 127.0.0.1 5555 80\r\n",
    b"PROXY TCP4 127.0.0.1 127.0.0.1 5555 80\r\n",
    b"PROXY TCP6 ::1 ::1 5555 80\r\n",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
]
"""Headers of the PROXY protocol, of versions 1 and 2, that name this machine or no client."""

STATUSES = [("/imageapi/generate-token/x1/", b"403"), ("/health", b"200")]
"""Targets of requests behind these headers, and the statuses of the responses."""

BARE = "server {{ listen 80; location / {{ proxy_pass {upstream}; {more} }} }}"
KEEPING = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; '


@pytest.fixture
def front(tmp_path):
    """A function that starts a proxy, and returns a function that connects to it."""
    with ExitStack() as running:
        yield lambda tool, text: connector(
            running.enter_context(running_proxy(tool, text, str(tmp_path / "front")))
        )


@pytest.fixture(scope="module")
def daemon_of(tmp_path_factory):
    """A function that returns a daemon with some options, the token of an account, and its Unix socket.

    Tests with the same options share a daemon.
    """
    started = []

    @cache
    def start_once(*options):
        directory = str(tmp_path_factory.mktemp("daemon"))
        path, images = f"{directory}/socket", f"{directory}/images"
        words = ("--workers", "1", "--listen", f"unix:{path}", *options)
        daemon = start(directory, started, *words, hosts=())
        return daemon, account_admin.add(images, "victim"), path

    yield start_once
    for running in started:
        running.end()


def assert_no_token(connect, token):
    for call in ("retrieve-token/victim/", "generate-token/other/"):
        for host in ("localhost", "127.0.0.1", "[::1]", NAME, "localhost:9000"):
            for version in ("", "/%69mageapi/", "//imageapi//"):
                target = (version or "/imageapi/") + call
                reply = ask(connect, target, host)
                assert reply.status in (403, 404, 421), (target, host)
                assert token.encode() not in reply.body


BARE_UPSTREAMS = ["http://127.0.0.1:{port}", "http://unix:{path}", "http://localhost:{port}/"]


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("upstream", BARE_UPSTREAMS)
def test_nginx_with_a_bare_proxy_pass_gets_no_token(front, daemon_of, upstream):
    daemon, token, path = daemon_of()
    connect = front("nginx", BARE.format(upstream=upstream.format(port=daemon.port, path=path), more=""))
    assert 200 == ask(connect, "/health", NAME).status
    assert_no_token(connect, token)


@pytest.mark.needs("nginx")
@pytest.mark.parametrize(
    "field", ["X-Real-IP $remote_addr", "X-Forwarded-Proto $scheme", "X-Forwarded-Host $host", "Via nginx"]
)
def test_nginx_that_adds_one_field_gets_no_token(front, daemon_of, field):
    daemon, token, path = daemon_of("--host", NAME)
    upstream = f"http://unix:{path}" if "Proto" in field else f"http://127.0.0.1:{daemon.port}"
    connect = front("nginx", BARE.format(upstream=upstream, more=f"{KEEPING} proxy_set_header {field};"))
    assert 200 == ask(connect, "/health", NAME).status
    assert_no_token(connect, token)


@pytest.mark.needs("haproxy")
@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_haproxy_that_adds_nothing_gets_no_token_with_no_registration(front, daemon_of, way):
    daemon, token, path = daemon_of("--no-registration")
    server = f"unix@{path}" if way == "unix" else f"127.0.0.1:{daemon.port}"
    connect = front("haproxy", BARE_HAPROXY.format(server=server))
    assert 200 == ask(connect, "/health", "localhost").status
    assert_no_token(connect, token)


@pytest.mark.needs("haproxy")
@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_haproxy_that_passes_on_a_domain_name_gets_no_token(front, daemon_of, way):
    daemon, token, path = daemon_of("--host", NAME)
    server = f"unix@{path}" if way == "unix" else f"127.0.0.1:{daemon.port}"
    reply = ask(
        front("haproxy", BARE_HAPROXY.format(server=server)), "/imageapi/retrieve-token/victim/", NAME
    )
    assert 403 == reply.status
    assert token.encode() not in reply.body


SHIPPED = [pytest.param(tool, marks=pytest.mark.needs(tool)) for tool in UPSTREAMS]


@pytest.mark.parametrize("way", ["tcp", "unix"])
@pytest.mark.parametrize("tool", SHIPPED)
def test_a_shipped_configuration_passes_files_and_images_but_no_token(front, daemon_of, tool, way):
    daemon, token, path = daemon_of("--host", NAME)
    where = f"{UNIX_PREFIXES[tool]}{path}" if way == "unix" else f"127.0.0.1:{daemon.port}"
    connect = front(tool, shipped(tool, where))
    assert_no_token(connect, token)
    data = os.urandom(1 << 20) * 8
    page = ["Content-Type: application/octet-stream", f"Origin: http://{NAME}"]
    stored = ask(connect, "/", NAME, *page, method="POST", body=data)
    assert (200, sha256(data).hexdigest().encode()) == (stored.status, stored.body)
    assert data == ask(connect, f"/files/{stored.body.decode()}", NAME).body
    assert 403 == ask(connect, "/", NAME, "Origin: http://evil.example", method="POST", body=b"x").status
    assert b"{}\n" == ask(connect, f"/imageapi/token/{token}/get-image-list/", NAME).body
    assert 421 == ask(connect, "/health", "evil.example").status or way == "unix"
    local = requests.get(f"{daemon.url}imageapi/retrieve-token/victim/", timeout=TIMEOUT)
    assert {"victim": token} == local.json()
    assert [] == [name for name in os.listdir(os.path.dirname(path)) if name in ("proxied", "body")]


def test_headers_of_the_proxy_protocol_get_no_token(start_daemon):
    daemon = start_daemon("--workers", "1", listen="haproxy:tcp:0:interface=127.0.0.1")
    for header, (target, status) in product(PROXY_HEADERS, STATUSES):
        with daemon.connect() as connection:
            connection.sendall(header + f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert b"HTTP/1.1 " + status == connection.recv(12), header


def test_headers_of_the_proxy_protocol_before_tls_get_no_token(start_daemon, tmp_path):
    files = TLSFiles(tmp_path)
    daemon = start_daemon("--workers", "1", listen=f"haproxy:{files.endpoint()}")
    context = ssl.create_default_context(cafile=files.root_file)
    for header, (target, status) in product(PROXY_HEADERS, STATUSES):
        with daemon.connect() as plain:
            plain.sendall(header)
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                assert b"HTTP/1.1 " + status == connection.recv(12), header
