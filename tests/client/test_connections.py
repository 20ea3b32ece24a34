"""Kinds of servers: TLS, IPv6, Unix sockets, a path of a proxy, and one of version 0.3.0."""

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from filestored.client import connection
from filestored.client.address import parse_server
from filestored.client.errors import ConnectionLost
from filestored.client.server import Server
from tests.client.cutting_proxy import CuttingProxy, Fault
from tests.daemon_process import TIMEOUT
from tests.tls_files import TLSFiles

LARGE = os.urandom(3 << 20)
SMALL = b"small"
HASHES = [hashlib.sha256(data).hexdigest() for data in (LARGE, SMALL)]


def exchange(run, server, *words):
    """Upload two files to a server, and download the large one."""
    for name, data in (("large", LARGE), ("small", SMALL)):
        with open(name, "wb") as file:
            file.write(data)
    words = ("--server", server, *words)
    assert (0, f"{HASHES[0]}  large\n{HASHES[1]}  small\n", "") == run("put", "large", "small", *words)
    assert (0, "", "") == run("get", HASHES[0], "-o", "copy", *words)
    with open("copy", "rb") as file:
        assert LARGE == file.read()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return TLSFiles(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls(share_daemon, files):
    return share_daemon("--workers", "1", "--max-size", "4MiB", listen=files.endpoint())


def test_tls_with_a_named_authority(run, tls, files):
    exchange(run, f"https://localhost:{tls.port}", "--cacert", files.root_file)


def test_refused_upload_over_tls_is_one_line_of_the_server(run, tls, files):
    with open("large", "wb") as file:
        file.truncate(100 << 20)
    words = ("--server", f"https://localhost:{tls.port}", "--cacert", files.root_file)
    expected = (
        "filestored: large: 413 The file is larger than 4,194,304 bytes, which is the limit of this server.\n"
    )
    assert (1, "", expected) == run("put", "large", *words)


def test_certificate_of_an_unknown_authority_or_another_name_is_refused(run, tls, files):
    with open("a", "wb"):
        pass
    address = f"https://localhost:{tls.port}"
    status, out, err = run("put", "a", "--server", address)
    assert (1, "", 1) == (status, out, err.count("\n"))
    assert err.startswith(f"filestored: {address}: the certificate is not valid: ")
    words = ("--server", f"https://127.0.0.1:{tls.port}", "--cacert", files.root_file)
    assert "the certificate is not valid: IP address mismatch" in run("put", "a", *words)[2]


def test_missing_file_of_authorities_is_one_line(run):
    status, _, err = run("put", "a", "--server", "https://localhost:1", "--cacert", "nothing")
    assert (1, "filestored: nothing: No such file or directory\n") == (status, err)


def test_ipv6(run, share_daemon):
    daemon = share_daemon("--workers", "1", listen="tcp6:0:interface=\\:\\:1")
    exchange(run, f"http://[::1]:{daemon.port}")


def test_unix_socket(run, share_daemon, tmp_path):
    path = tmp_path / "socket"
    share_daemon("--workers", "1", listen=f"unix:{path}")
    exchange(run, f"unix:{path}")


class _PathProxy(BaseHTTPRequestHandler):
    """A proxy that serves a daemon below a path."""

    protocol_version = "HTTP/1.1"
    daemon_url = ""

    def _pass_on(self):
        assert self.path.startswith("/below/it/")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = self.daemon_url + self.path.removeprefix("/below/it/")
        answer = requests.request(self.command, url, data=body, timeout=TIMEOUT)
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_PUT = _pass_on

    def log_message(self, *_):
        """Write nothing."""


def test_path_of_a_proxy(run, client_daemon):
    handler = type("Handler", (_PathProxy,), {"daemon_url": client_daemon.url})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        try:
            exchange(run, f"http://127.0.0.1:{proxy.server_address[1]}/below/it/")
        finally:
            proxy.shutdown()
            thread.join()


def test_proxies_of_the_environment_are_not_used(environment, run, client_daemon):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        environment.setenv(name, "http://127.0.0.1:1")
    exchange(run, client_daemon.url)


# --- version 0.3.0 ------------------------------------------------------------------------------------------

# Its responses as recorded; they differ from today's in the text of the 400, and in the fields of the 200.
OLD_ALGORITHM = (
    b"HTTP/1.1 400 Bad Request\r\nServer: filestored\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 55\r\n\r\na sha256 digest has 64 lower-case hexadecimal digits\n"
)


def test_version_0_3_0_names_its_algorithm_with_other_words(run, client_daemon):
    with open("a", "wb") as file:
        file.write(SMALL)
    with CuttingProxy(client_daemon.port, Fault(reply=OLD_ALGORITHM)) as proxy:
        assert (0, f"{HASHES[1]}  a\n", "") == run("put", "a", "--server", proxy.url)


@pytest.mark.parametrize("reply", [b"200 OK", b"404 Not Found"])
def test_server_of_another_kind_is_one_line(run, client_daemon, reply):
    head = b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % reply
    with CuttingProxy(client_daemon.port, Fault(reply=head)) as proxy:
        status, out, err = run("put", "a", "--server", proxy.url)
    expected = f"{proxy.url} is no filestored" if reply.startswith(b"200") else "404 Not Found"
    assert (1, "", f"filestored: {expected}\n") == (status, out, err)


@pytest.mark.parametrize("connecting", [False, True])
def test_aborted_server_gets_no_more_requests(server, monkeypatch, connecting):
    """Also by a connection that is being opened at that moment."""
    connect = connection._connected

    def abort_then_connect(*arguments):
        client.abort()
        return connect(*arguments)

    with CuttingProxy(server.port) as proxy, Server(parse_server(proxy.url)) as client:
        if connecting:
            monkeypatch.setattr(connection, "_connected", abort_then_connect)
        else:
            client.abort()
        with pytest.raises(ConnectionLost):
            client.read("GET", "/")
        assert not any(proxy.received)
