"""Malformed requests over raw sockets: by hand, and five thousand at random.

Each gets 4xx or 505, its connection is closed, and the log stays empty. The server rejects all framing that
h11 rejects.
"""

import hashlib
import itertools
import random
import re
import socket

import h11
import pytest

from tests.http_clients.raw_socket import RawSocketClient, ask, head
from tests.wire_contract.malformed import GOOD, MALFORMED, malformed_heads
from tests.wire_contract.random_requests import change, seeds

COUNT = 5000
AT_ONCE = 50
SEED = 2


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_request_gets_an_error_and_ends_the_connection(port, data):
    with RawSocketClient(port) as peer:
        peer.send(data)
        answer = peer.read_response()
        assert answer.status == 505 or 400 <= answer.status < 500
        assert "close" == answer.fields["connection"].lower()
        assert b"" == peer.remainder()


@pytest.mark.parametrize("version", ["0.9", "2.0", "3.0"])
def test_other_http_version_is_505(port, version):
    with RawSocketClient(port) as peer:
        peer.send(GOOD.replace(b"1.1", version.encode()) + b"Host: x\r\n\r\n")
        assert 505 == peer.read_response().status


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_request_after_a_valid_one_gets_an_error(port, data):
    with RawSocketClient(port) as peer:
        peer.send(head("GET", "/files/" + "0" * 64) + data)
        assert 404 == peer.read_response().status
        answer = peer.read_response()
        assert answer.status == 505 or 400 <= answer.status < 500
        assert b"" == peer.remainder()


@pytest.mark.parametrize("name", malformed_heads(b""))
def test_malformed_head_after_a_cached_response_gets_an_error(port, stored, name):
    """It differs from the head of the cached response in its defect only, and arrives alone."""
    digest, content = stored
    target = f"/files/{digest}"
    with RawSocketClient(port) as peer:
        for _ in range(3):
            peer.send(head("GET", target))
            assert content == peer.read_response().body
        peer.send(malformed_heads(target.encode())[name])
        answer = peer.read_response()
        assert answer.status == 505 or 400 <= answer.status < 500
        assert "close" == answer.fields["connection"].lower()
        assert b"" == peer.remainder()
    assert content == ask(port, "GET", target).body


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_requests_after_a_malformed_one_are_not_answered(port, data):
    """The following bytes may belong to the request of another client: an answer would be smuggling."""
    with RawSocketClient(port) as peer:
        peer.send(data + head("GET", "/files/" + "0" * 64) * 3)
        peer.finish()
        assert 1 == len(statuses(peer.remainder()))


def test_randomly_malformed_requests_cause_no_500_and_no_traceback(server, port):
    content = b"still served"
    digest = hashlib.sha256(content).hexdigest()
    assert 200 == ask(port, "POST", "/", body=content).status
    dice = random.Random(SEED)
    broken = itertools.islice(malformed(dice, digest), COUNT)
    wrong, answered = [], 0
    while batch := list(itertools.islice(broken, AT_ONCE)):
        for data, got in exchange(port, batch):
            answered += bool(got)
            wrong += [] if harmless(got) else [(data, got)]
    assert [] == wrong[:5]
    assert answered > COUNT * 0.9  # the others break off before it is clear that they are broken
    assert content == ask(port, "GET", f"/files/{digest}").body
    assert "Traceback" not in server.log


# --- breaking requests -----------------------------------------------------------------------


def malformed(dice, digest):
    """Requests without end that h11 finds broken: good ones, changed at one to four places."""
    good = seeds(digest)
    while True:
        data = dice.choice(good)
        for _ in range(dice.randint(1, 4)):
            data = change(dice, data)
        if is_broken(data):
            yield data


def is_broken(data):
    """Return whether h11 rejects the first request: its head, or the body of an upload.

    It would also reject empty lines before a request, which RFC 9112 section 2.2 has servers skip.
    """
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(re.sub(rb"\A(?:\r\n)+", b"", data))
    uploads = True
    try:
        while uploads and not isinstance(event := reader.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                return False
            uploads = not isinstance(event, h11.Request) or event.method in {b"POST", b"PUT"}
    except h11.RemoteProtocolError:
        return True
    return False


def exchange(port, batch):
    """Send each on a connection of its own, all at once; give each with all that came back."""
    peers = [RawSocketClient(port) for _ in batch]
    for peer, data in zip(peers, batch, strict=True):
        peer.send(data)
        try:
            peer.finish()
        except OSError:  # it has been cut off already
            assert peer.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in {0, 32, 104}
    for peer, data in zip(peers, batch, strict=True):
        with peer:
            yield data, peer.remainder()


def harmless(got):
    """Return whether these bytes are empty, or error responses only."""
    return all(status == 505 or 400 <= status < 500 for status in statuses(got))


def statuses(got):
    return [int(number) for number in re.findall(rb"^HTTP/1\.1 (\d{3}) ", got, re.MULTILINE)]
