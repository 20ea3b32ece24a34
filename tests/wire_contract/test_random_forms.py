"""Randomly malformed forms over raw sockets: stored completely or refused."""

import hashlib
import random

from tests.http_clients.raw_socket import FORM, RawSocketClient, form, head

COUNT = 1000
JUNK = [
    *(b"--frontier", b"--frontier--", b"\r\n", b"\r", b"\n", b"--", b"\0", b'"', b"\\", b";", b":", b"\xff"),
    *(b'; filename="y"', b"; filename*=utf-8''%00", b"Content-Disposition: form-data\r\n", b"\r\n\r\n"),
    *(b"Content-Transfer-Encoding: base64\r\n", b"Content-Length: 3\r\n", b" folded\r\n", b"a" * 9000),
]


def test_random_malformed_forms_are_stored_completely_or_refused(served, port, files):
    """Every file in the store is what its name says, and there are as many as were acknowledged."""
    dice, before, acknowledged = random.Random(7), files(), set()
    for number in range(COUNT):
        body = form(b"content %d" % number, filename=dice.choice(["x", "", "../x", "a b"]))
        for _ in range(dice.randint(1, 3)):
            at = dice.randrange(len(body) + 1)
            body = body[:at] + dice.choice(JUNK) + body[at + dice.choice([0, 0, 1, 5]) :]
        with RawSocketClient(port) as peer:
            peer.send(head("POST", "/", [FORM, f"Content-Length: {len(body)}"]) + body)
            answer = peer.read_response("POST")
        assert answer.status in {200, 400, 413}, body
        if answer.status == 200:
            acknowledged.update(answer.body.decode().splitlines())
    assert before | acknowledged == files()
    for digest in acknowledged:
        assert digest == hashlib.sha256(served.read(digest)).hexdigest()
    assert "Traceback" not in served.server.log
