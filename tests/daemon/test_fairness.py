"""Many small pieces of input on real sockets: they are read in bounded turns, and all of them."""

import hashlib
import ssl
import subprocess
import threading
import time

import pytest

from tests.daemon_process import Running
from tests.http_clients.blocking import TIMEOUT, BlockingClient, request_head

CHUNKS = 60_000
PIPELINED = 3_000
REQUESTS = 200
MAX_SECONDS = 25.0
"""Seconds for the requests of another client, which take one where nothing blocks."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost with its key in one file."""
    path = str(tmp_path_factory.mktemp("tls") / "pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run(
        [*command, "-days", "1", "-keyout", path, "-out", path + ".cert"], check=True, capture_output=True
    )
    return path


@pytest.fixture(params=["plain", pytest.param("tls", marks=pytest.mark.needs("openssl"))])
def connect(request, start_daemon):
    """A function that connects a client to a daemon."""
    if request.param == "plain":
        plain: Running = start_daemon("--workers", "1")
        return lambda: BlockingClient(plain.connect())
    pem = request.getfixturevalue("certificate")
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}.cert"
    daemon: Running = start_daemon("--workers", "1", listen=endpoint)
    context = ssl.create_default_context(cafile=f"{pem}.cert")
    context.check_hostname = False
    return lambda: BlockingClient(context.wrap_socket(daemon.connect()))


def test_a_body_of_one_byte_chunks_is_stored_whole(connect):
    body = b"".join(b"1\r\n%c\r\n" % (number % 251) for number in range(CHUNKS)) + b"0\r\n\r\n"
    content = bytes(number % 251 for number in range(CHUNKS))
    with connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        assert hashlib.sha256(content).hexdigest() == client.read_response().body.decode()
        assert 200 == client.request(request_head("/health")).status


def test_pipelined_requests_are_all_answered_in_order(connect):
    with connect() as client:
        requests = b"".join(
            request_head(f"/{number}" if number % 2 else "/health") for number in range(PIPELINED)
        )
        sending = threading.Thread(target=client.send, args=(requests,))
        sending.start()
        statuses = [client.read_response().status for _ in range(PIPELINED)]
        sending.join(TIMEOUT)
    assert [200, 404] * (PIPELINED // 2) == statuses


def test_one_byte_chunks_of_a_client_do_not_delay_others(connect):
    """The pieces are read 256 at a time; a whole read of 512 KiB holds 87,000 of them."""
    over = threading.Event()

    def send():
        with connect() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not over.is_set():
                client.send(b"1\r\nx\r\n" * 10_000)

    senders = [threading.Thread(target=send) for _ in range(2)]
    for sender in senders:
        sender.start()
    began = time.monotonic()
    try:
        with connect() as client:
            answers = [client.request(request_head("/health")).status for _ in range(REQUESTS)]
    finally:
        over.set()
        for sender in senders:
            sender.join(TIMEOUT)
    assert [200] * REQUESTS == answers
    assert time.monotonic() - began < MAX_SECONDS
