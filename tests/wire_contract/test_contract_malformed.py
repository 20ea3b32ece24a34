"""Malformed requests on bare sockets: by hand, and five thousand by chance.

Every one is answered 4xx or 505 and its connection closed, and nothing stands in the log; what h11
rejects in the framing of a request, we reject.
"""

import hashlib
import itertools
import random
import re
import socket

import h11
import pytest

from tests.wire_contract.malformed import GOOD, MALFORMED
from tests.wire_contract.raw import Peer, ask, chunked, form, head

COUNT = 5000
AT_ONCE = 50
SEED = 2


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_malformed_is_answered_and_ends_the_connection(port, data):
    with Peer(port) as peer:
        peer.send(data)
        answer = peer.answer()
        assert answer.status == 505 or 400 <= answer.status < 500
        assert "close" == answer.fields["connection"].lower()
        assert b"" == peer.remainder()


@pytest.mark.parametrize("version", ["0.9", "1.2", "2.0", "3.0"])
def test_any_other_version_is_505(port, version):
    with Peer(port) as peer:
        peer.send(GOOD.replace(b"1.1", version.encode()) + b"Host: x\r\n\r\n")
        assert 505 == peer.answer().status


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_malformed_is_found_behind_a_good_request_as_well(port, data):
    with Peer(port) as peer:
        peer.send(head("GET", "/files/" + "0" * 64) + data)
        assert 404 == peer.answer().status
        answer = peer.answer()
        assert answer.status == 505 or 400 <= answer.status < 500
        assert b"" == peer.remainder()


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_nothing_behind_what_is_malformed_is_answered(port, data):
    """What follows may be part of another's request: to answer it is request smuggling."""
    with Peer(port) as peer:
        peer.send(data + head("GET", "/files/" + "0" * 64) * 3)
        peer.finish()
        assert 1 == len(statuses(peer.remainder()))


def test_five_thousand_requests_broken_at_random_do_no_harm(server, port):
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

JUNK = [
    *(b"\0", b"\x01", b"\x0b", b"\x7f", b"\x80", b"\xff", b"\r", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n"),
    *(b" ", b"\t", b":", b",", b";", b"(", b'"', b"%", b"%00", b"..", b"/", b"?", b"#", b"-", b"+", b"0x"),
    *(b"9" * 20, b"f" * 17, b"HTTP/1.1", b"HTTP/2.0", b"HTTP/1.0", b"GET ", b" HTTP/1.1\r\n"),
    *(b"Host: y\r\n", b"Content-Length: 5\r\n", b"Content-Length: 6\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Transfer-Encoding: gzip\r\n", b"Transfer-Encoding : chunked\r\n", b" folded\r\n", b"A" * 9000),
]


def malformed(dice, digest):
    """Requests without end that h11 finds broken: good ones, changed at one to four places."""
    good = seeds(digest)
    while True:
        data = dice.choice(good)
        for _ in range(dice.randint(1, 4)):
            data = change(dice, data)
        if is_broken(data):
            yield data


def seeds(digest):
    kind = "Content-Type: multipart/form-data; boundary=frontier"
    filed = form(b"a file")
    return [
        head("GET", f"/files/{digest}", ["Accept: */*", "Range: bytes=0-1"]),
        head("GET", f"/?file_hash={digest}", ["User-Agent: x", 'If-None-Match: "a"']),
        head("HEAD", f"/files/{digest}"),
        head("POST", "/", ["Content-Length: 5"]) + b"hello",
        head("POST", "/", ["Transfer-Encoding: chunked"]) + chunked(b"hel", b"lo"),
        head("POST", "/", [kind, f"Content-Length: {len(filed)}"]) + filed,
        head("POST", "/", [kind, "Transfer-Encoding: chunked"]) + chunked(filed[:50], filed[50:]),
        head("PUT", f"/files/{digest}", ["Content-Length: 12"]) + b"still served",
    ]


def change(dice, data):
    at = dice.randrange(len(data) + 1)
    match dice.randrange(5):
        case 0:
            return data[:at] + dice.choice(JUNK) + data[at:]
        case 1:
            return data[:at] + data[at + dice.randint(1, 8) :]
        case 2:
            return data[:at] + dice.randbytes(dice.randint(1, 3)) + data[at + dice.randint(1, 3) :]
        case 3:
            lines = data.split(b"\r\n")
            lines.insert(dice.randrange(len(lines)), dice.choice(lines))
            return b"\r\n".join(lines)
        case _:
            lines = data.split(b"\r\n")
            lines.insert(dice.randrange(1, len(lines) + 1), dice.choice(JUNK))
            return b"\r\n".join(lines)


def is_broken(data):
    """Whether h11 rejects the first request: its head, or the body of an upload."""
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(data)
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
    peers = [Peer(port) for _ in batch]
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
    """Whether these bytes are nothing, or refusals alone."""
    return all(status == 505 or 400 <= status < 500 for status in statuses(got))


def statuses(got):
    return [int(number) for number in re.findall(rb"^HTTP/1\.1 (\d{3}) ", got, re.MULTILINE)]
