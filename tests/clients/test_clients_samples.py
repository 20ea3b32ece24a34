"""Requests as other clients write them are stored; the daemon reads their bytes over a real connection."""

import hashlib
import os

import pytest

from tests.clients.request_samples import REQUESTS
from tests.http_clients.blocking import connect

CONTENT = os.urandom(200_000) + b"\r\n--\r\n--boundary\r\n\r\n0\r\n\r\n" + os.urandom(1000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("name", REQUESTS)
def test_request_of_client_is_stored(daemon, name):
    sample = REQUESTS[name]
    head, body = sample.parts(CONTENT, DIGEST, f"127.0.0.1:{daemon.port}")
    with connect(daemon.port) as client:
        client.send(head)
        if sample.waits:
            assert CONTINUE == client.connection.recv(len(CONTINUE))
        client.send(body)
        answer = client.read_response()
    assert (201 if head.startswith(b"PUT") else 200) == answer.status, answer.body
    with open(os.path.join(daemon.store, DIGEST[:2], DIGEST), "rb") as file:
        assert CONTENT == file.read()
