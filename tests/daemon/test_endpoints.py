"""Every kind of endpoint serves the same, alone and with workers."""

import contextlib
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys

import pytest

from filestored.daemon.startup.endpoint_strings import with_unix_mode
from tests.daemon.descriptor_limit import LIMIT_DESCRIPTORS, count_free_descriptors
from tests.daemon.socket_activation import activation
from tests.daemon_process import read, until

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])
REQUEST = b"GET /?hash=x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def answer(connection):
    connection.sendall(REQUEST)
    received = b""
    while piece := connection.recv(4096):
        received += piece
    return received


@WORKERS
def test_a_unix_socket_serves_and_keeps_its_mode(start_daemon, tmp_path, workers):
    path = str(tmp_path / "s")
    daemon = start_daemon("--workers", workers, listen=f"unix:{path}:mode=660")
    assert path == daemon.address
    assert 0o660 == stat.S_IMODE(os.stat(path).st_mode)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        assert answer(connection).startswith(b"HTTP/1.1 400 ")
    daemon.end()
    assert not os.path.exists(path)


@WORKERS
@pytest.mark.parametrize(("options", "mode"), [("", 0o660), (":mode=666", 0o666), (":600", 0o600)])
def test_unix_socket_is_closed_to_other_users_by_default(start_daemon, tmp_path, workers, options, mode):
    path = str(tmp_path / "mode=s")
    start_daemon("--workers", workers, listen=f"unix:{tmp_path}/mode\\=s{options}")
    assert mode == stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("unix:/a", "unix:/a:mode=660"),
        ("unix:/a\\:mode=666", "unix:/a\\:mode=666:mode=660"),
        ("unix:address=/a", "unix:address=/a:mode=660"),
        ("unix:/a:lockfile=0", "unix:/a:lockfile=0:mode=660"),
        ("unix:/a:666", "unix:/a:666"),
        ("unix:/a:backlog=1:mode=666", "unix:/a:backlog=1:mode=666"),
        ("haproxy:unix:/a", "haproxy:unix:/a:mode=660"),
        ("haproxy:tcp:1", "haproxy:tcp:1"),
        ("tcp:1", "tcp:1"),
        ("systemd:domain=UNIX:index=0", "systemd:domain=UNIX:index=0"),
    ],
)
def test_mode_is_added_to_unix_endpoints_without_one(text, complete):
    assert complete == with_unix_mode(text)


@WORKERS
def test_ipv6_serves(start_daemon, workers):
    daemon = start_daemon("--workers", workers, listen="tcp6:0:interface=\\:\\:1")
    assert daemon.address.startswith("[::1]:")
    with socket.create_connection(("::1", daemon.port)) as connection:
        assert answer(connection).startswith(b"HTTP/1.1 400 ")


def test_several_endpoints_serve_together(start_daemon, tmp_path):
    path = str(tmp_path / "s")
    daemon = start_daemon("--workers", "2", "--listen", f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        assert answer(connection).startswith(b"HTTP/1.1 400 ")
    with daemon.connect() as connection:
        assert answer(connection).startswith(b"HTTP/1.1 400 ")


@pytest.fixture
def certificate(tmp_path):
    """A certificate for localhost with its key in one file."""
    path = str(tmp_path / "pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1"),
            *("-keyout", path, "-out", path + ".cert"),
        ],
        check=True,
        capture_output=True,
    )
    return path


@pytest.mark.needs("openssl")
@WORKERS
def test_tls_serves(start_daemon, certificate, workers):
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={certificate}:certKey={certificate}.cert"
    daemon = start_daemon("--workers", workers, listen=endpoint)
    context = ssl.create_default_context(cafile=f"{certificate}.cert")
    with daemon.connect() as plain, context.wrap_socket(plain, server_hostname="localhost") as connection:
        assert answer(connection).startswith(b"HTTP/1.1 400 ")
    with daemon.connect() as plain:
        plain.sendall(REQUEST)
        assert not plain.recv(4096).startswith(b"HTTP/1.1 2")


@pytest.mark.needs("openssl")
def test_tls_connection_without_a_free_descriptor_is_closed(start_daemon, certificate):
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={certificate}:certKey={certificate}.cert"
    daemon = start_daemon("--workers", "1", listen=endpoint, wrap=LIMIT_DESCRIPTORS)
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(daemon.connect()) for _ in range(count_free_descriptors(daemon) + 1)]
        assert b"" == peers[-1].recv(1)


@WORKERS
@pytest.mark.parametrize("which", ["index=0", "name=http"])
def test_a_socket_of_systemd_serves(start_daemon, workers, which):
    """With a helper that hands a socket over as systemd does."""
    daemon = start_daemon(
        "--workers", workers, listen=f"systemd:domain=INET:{which}", wrap=activation("http")
    )
    with daemon.connect() as connection:
        assert answer(connection).startswith(b"HTTP/1.1 400 ")
    for pid in daemon.workers():
        assert "LISTEN_" not in read(f"/proc/{pid}/environ")


@pytest.mark.needs("systemd-socket-activate")
def test_systemd_socket_activation_works(start_daemon, tmp_path):
    """A supervisor of services starts the daemon on the first connection, which then is answered."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stop = knock(port)
    daemon = start_daemon(
        "--workers",
        "2",
        listen="systemd:domain=INET:index=0",
        wrap=(
            *("systemd-socket-activate", "--fdname=http", f"--listen=127.0.0.1:{port}"),
            *("--setenv=PYTHONPATH", "--setenv=NOTIFY_SOCKET"),
        ),
    )
    assert stop().startswith(b"HTTP/1.1 400 ")
    assert port == daemon.port


def knock(port):
    """Connect in another process as soon as the socket listens; return a function that gives the response."""
    script = (
        "import socket, sys, time\n"
        "while True:\n"
        "    try:\n"
        f"        connection = socket.create_connection(('127.0.0.1', {port}))\n"
        "        break\n"
        "    except ConnectionRefusedError:\n"
        "        time.sleep(0.05)\n"
        f"connection.sendall({REQUEST!r})\n"
        "sys.stdout.buffer.write(connection.recv(4096))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    return lambda: process.communicate(timeout=30)[0]


def test_a_restart_keeps_a_socket_of_systemd(start_daemon, tmp_path):
    """The owner of the socket keeps it open, so that the queue bridges a restart."""
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        owner.set_inheritable(True)
        port = owner.getsockname()[1]
        wrap = activation("http", owner.fileno())
        for _ in range(2):
            daemon = start_daemon(
                "--workers", "2", listen="systemd:domain=INET:index=0", wrap=wrap, inherit=(owner.fileno(),)
            )
            assert port == daemon.port
            with daemon.connect() as connection:
                assert answer(connection).startswith(b"HTTP/1.1 400 ")
            daemon.kill(signal.SIGTERM)
            until(daemon.ended, "it ends")
            with socket.create_connection(("127.0.0.1", port)):
                pass  # accepted by no process, but not refused
