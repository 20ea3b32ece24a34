"""Downloads and uploads over TLS: many at once in bounded memory, clients that leave, curl."""

import hashlib
import os
import socket
import ssl
import subprocess
from select import select

import pytest

from tests.daemon_process import memory, until
from tests.http_clients.blocking import TIMEOUT, BlockingClient, request_head
from tests.tls_files import TLSFiles

SIZE = 5 << 20
DOWNLOADS = 100
MAX_DOWNLOAD_KIB = 100
"""Memory of one download whose client does not read: a connection, one record, and the record of OpenSSL."""


@pytest.fixture
def files(tmp_path):
    return TLSFiles(tmp_path)


@pytest.fixture
def daemon(start_daemon, files):
    return start_daemon("--workers", "1", listen=files.endpoint())


def connect(daemon, files, receive_buffer=None):
    context = ssl.create_default_context(cafile=files.root_file)
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect(("127.0.0.1", daemon.port))
    return BlockingClient(
        context.wrap_socket(connection, server_hostname="localhost", suppress_ragged_eofs=False)
    )


def upload(client, content):
    head = request_head("/", f"Content-Length: {len(content)}", "Content-Type: a/b", method="POST")
    return client.request(head + content).body.decode()


def stored_files_open(daemon):
    """Return the number of descriptors of stored files that the daemon holds."""
    found = 0
    for number in os.listdir(f"/proc/{daemon.pid}/fd"):
        try:
            status = os.stat(f"/proc/{daemon.pid}/fd/{number}")
        except FileNotFoundError:
            continue
        found += status.st_size == SIZE
    return found


def test_many_downloads_at_once_take_bounded_memory(daemon, files):
    content = os.urandom(SIZE)
    with connect(daemon, files) as client:
        request = request_head(f"/files/{upload(client, content)}")
        assert content == client.request(request).body
    before = memory(daemon.pid)
    clients = [connect(daemon, files, receive_buffer=8192) for _ in range(DOWNLOADS)]
    for client in clients:
        client.send(request)
    for client in clients:
        assert select([client.connection], [], [], TIMEOUT)[0], "each response has begun"
    assert memory(daemon.pid, "VmHWM") - before < DOWNLOADS * MAX_DOWNLOAD_KIB
    for client in clients:
        with client:
            assert content == client.read_response().body
    assert "Traceback" not in daemon.log


def test_clients_that_leave_in_the_middle_of_a_download_leave_nothing(daemon, files):
    content = os.urandom(SIZE)
    with connect(daemon, files) as client:
        request = request_head(f"/files/{upload(client, content)}")
        for _ in range(20):
            with connect(daemon, files, receive_buffer=8192) as leaving:
                leaving.send(request)
                leaving.connection.recv(100)
        until(lambda: stored_files_open(daemon) == 0, "the files are closed")
        assert content == client.request(request).body
    assert "Traceback" not in daemon.log


def test_file_that_becomes_shorter_during_a_download_ends_without_close_notify(daemon, files):
    with connect(daemon, files) as client:
        name = upload(client, os.urandom(SIZE))
    with connect(daemon, files, receive_buffer=8192) as client:
        client.send(request_head(f"/files/{name}"))
        until(lambda: stored_files_open(daemon) == 1, "the download has begun")
        os.chmod(stored(daemon, name), 0o600)
        os.truncate(stored(daemon, name), SIZE - 1)
        with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
            client.read_response()


def stored(daemon, name):
    return os.path.join(daemon.store, name[:2], name)


@pytest.mark.needs("curl")
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_uploads_and_downloads_a_large_file(daemon, files, tmp_path, version):
    content = os.urandom(24 << 20)
    source, target = str(tmp_path / "source"), str(tmp_path / "target")
    with open(source, "wb") as file:
        file.write(content)
    url = f"https://localhost:{daemon.port}/files/{hashlib.sha256(content).hexdigest()}"
    curl = [
        "curl",
        "--silent",
        "--fail",
        "--cacert",
        files.root_file,
        f"--tlsv{version}",
        "--tls-max",
        version,
    ]
    subprocess.run([*curl, "--upload-file", source, url], check=True)
    subprocess.run([*curl, "--output", target, url], check=True)
    with open(target, "rb") as file:
        assert content == file.read()


@pytest.mark.needs("curl")
def test_curl_with_a_limited_rate_gets_the_whole_file_with_connection_close(daemon, files, tmp_path):
    content = os.urandom(SIZE)
    with connect(daemon, files) as client:
        url = f"https://localhost:{daemon.port}/files/{upload(client, content)}"
    target = str(tmp_path / "target")
    curl = ["curl", "--silent", "--fail", "--cacert", files.root_file, "--header", "Connection: close"]
    subprocess.run([*curl, "--limit-rate", "600K", "--output", target, url], check=True)
    with open(target, "rb") as file:
        assert content == file.read()
