"""Interrupted transfers and crafted names: no leftover, no access outside the store."""

import os
import random
import socket
import struct
from contextlib import suppress

import pytest

from tests.daemon_process import until
from tests.http_clients.raw_socket import FORM, RAW, RawSocketClient, ask, chunked, form, head
from tests.wire_contract.servers import ALL_SERVERS, DISK

pytestmark = pytest.mark.servers(*ALL_SERVERS)

CONTENT = b"half of it never arrives" * 4000
BODIES = {
    "length": head("POST", "/", [RAW, f"Content-Length: {len(CONTENT)}"]) + CONTENT,
    "chunks": head("POST", "/", [RAW, "Transfer-Encoding: chunked"])
    + chunked(CONTENT[:50000], CONTENT[50000:]),
    "form": head("POST", "/", [FORM, f"Content-Length: {len(form(CONTENT))}"]) + form(CONTENT),
}
OFFSETS = [
    1,
    5,
    30,
    60,
    75,
    90,
    100,
    130,
    160,
    200,
    1000,
    16384,
    65536,
    70000,
    -40,
    -16,
    -8,
    -6,
    -5,
    -3,
    -2,
    -1,
]


@pytest.fixture(scope="module", autouse=True)
def first_requests(served):
    """One upload to each daemon: the first request to an object store opens descriptors that stay open."""
    for daemon in served.daemons:
        assert 200 == ask(daemon.port, "POST", "/", RAW, body=b"the first").status


def descriptors(served):
    """The number of descriptors of all daemons, without connections to the object store: those are kept."""
    return sum(len(targets(daemon.pid) - served.engine_sockets()) for daemon in served.daemons)


def targets(pid):
    """The descriptors of a process: its sockets by their names, all others by their numbers."""
    found = set()
    for number in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile
            name = os.readlink(f"/proc/{pid}/fd/{number}")
            found.add(name if name.startswith("socket:") else number)
    return found


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("framing", BODIES)
def test_interrupted_upload_leaves_no_file_and_no_descriptor(served, files, framing, reset):
    before, held = files(), descriptors(served)
    whole = BODIES[framing]
    for offset in OFFSETS:
        with RawSocketClient(served.server.port) as peer:
            peer.send(whole[:offset])
            if reset:
                peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: descriptors(served) <= held, "all descriptors are closed")
    assert before == files()
    assert "Traceback" not in served.server.log


def test_interrupted_download_leaves_no_descriptor(served, port):
    content = os.urandom(1 << 20)
    digest = ask(port, "POST", "/", RAW, body=content).body.decode()
    held = descriptors(served)
    for _ in range(20):
        with RawSocketClient(port) as peer:
            peer.send(head("GET", f"/files/{digest}") * 4)
            peer.socket.recv(100)
    until(lambda: descriptors(served) <= held, "all descriptors are closed")
    assert content == ask(port, "GET", f"/files/{digest}").body
    assert "Traceback" not in served.server.log


PIECES = [
    "..",
    ".",
    "/",
    "//",
    "%2e",
    "%2f",
    "%5c",
    "\\",
    "%00",
    "FORMAT",
    "tmp",
    "quarantine",
    "ab",
    "0" * 64,
]
PIECES += [
    "etc/passwd",
    "proc/self/fd/3",
    "%c0%ae",
    "%252e",
    "~",
    "*",
    "%0a",
    "|",
    ";",
    "'",
    "a" * 64,
    "F" * 64,
]


@pytest.mark.parametrize("spelling", ["/files/{}", "/?file_hash={}", "/{}"])
def test_crafted_names_reach_no_file(served, server, port, spelling, files):
    before = files()
    dice = random.Random(46)
    for _ in range(20):
        names = ["".join(dice.choices(PIECES, k=dice.randint(1, 5))) for _ in range(25)]
        for name in names:
            method = dice.choice(["GET", "HEAD", "DELETE"])
            assert ask(port, method, spelling.format(name)).status in {400, 404, 405}, name
    assert before == files()
    assert "FORMAT" in served.names()
    assert "Traceback" not in server.log


def planted(server, digest):
    os.makedirs(os.path.join(server.store, digest[:2]), exist_ok=True)
    return os.path.join(server.store, digest[:2], digest)


@pytest.mark.servers(DISK)
@pytest.mark.parametrize("target", ["/etc/passwd", "../FORMAT", "/nonexistent", "/dev/zero"])
def test_planted_symlink_is_not_followed(server, port, target):
    digest = "a" * 64
    path = planted(server, digest)
    os.symlink(target, path)
    answer = ask(port, "GET", f"/files/{digest}")
    os.unlink(path)
    assert answer.status >= 400
    assert b"root:" not in answer.body
    assert "Traceback" not in answer.body.decode()


@pytest.mark.servers(DISK)
def test_planted_fifo_or_directory_does_not_block(server, port, fresh):
    digest = "b" * 64
    for make in os.mkfifo, os.mkdir:
        path = planted(server, digest)
        make(path)
        assert ask(port, "GET", f"/files/{digest}").status >= 400
        assert 200 == ask(port, "POST", "/", RAW, body=fresh()).status
        (os.rmdir if make is os.mkdir else os.unlink)(path)
