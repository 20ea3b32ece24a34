"""Back-pressure: a slow disk pauses the client, a slow client pauses the disk."""

from hashlib import sha256

import pytest

from tests.web.deferred_jobs import DeferredJobs

CHUNK = b"x" * 64 * 1024
CHUNKS = 160
SIZE = CHUNKS * len(CHUNK)
MOST_HELD = 4 * 1024 * 1024

PLAIN = ("application/octet-stream", b"", b"")
FORM = (
    "multipart/form-data; boundary=b",
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n',
    b"\r\n--b--\r\n",
)


@pytest.mark.parametrize(("kind", "before", "behind"), [PLAIN, FORM])
def test_slow_disk_pauses_the_client(make_wire, kind, before, behind):
    later = DeferredJobs()
    wire = make_wire(run=later)
    length = len(before) + SIZE + len(behind)
    head = f"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    wire.send(head.encode() + before)
    sent = turns = 0
    while sent < SIZE:
        at_once = 0
        while wire.transport.producerState == "producing" and sent < SIZE:
            wire.send(CHUNK)
            sent += len(CHUNK)
            at_once += len(CHUNK)
        assert at_once <= MOST_HELD
        later.work()
        turns += 1
    assert turns > 2
    wire.send(behind)
    later.finish()
    (answer,) = wire.answers("POST")
    assert answer.body.decode() == sha256(CHUNK * CHUNKS).hexdigest()


def test_all_files_of_a_form_pause_the_client_and_are_stored(make_wire):
    later = DeferredJobs()
    wire = make_wire(run=later)
    part = FORM[1] + CHUNK * 6
    files = 40
    length = files * len(part + b"\r\n") + len(b"--b--")
    wire.send(
        f"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: {FORM[0]}\r\nContent-Length: {length}\r\n\r\n".encode()
    )
    sent = b""
    for _ in range(files):
        wire.send(part + b"\r\n")
        sent += part
        while wire.transport.producerState != "producing":
            later.work()
    wire.send(b"--b--")
    later.finish()
    (answer,) = wire.answers("POST")
    assert [sha256(CHUNK * 6).hexdigest()] * files == answer.body.decode().splitlines()


@pytest.mark.parametrize("fields", ["", f"Range: bytes=0-{SIZE // 2},{SIZE // 2 + 9}-\r\n"])
def test_slow_client_pauses_reading_from_disk(make_wire, fields):
    later = DeferredJobs()
    wire = make_wire(run=later)
    wire.send(f"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {SIZE}\r\n\r\n".encode())
    for _ in range(CHUNKS):
        wire.send(CHUNK)
        later.finish()
    (answer,) = wire.answers("POST")
    wire.send(f"GET {answer.fields['location']} HTTP/1.1\r\nHost: h\r\n{fields}\r\n".encode())
    later.work()
    wire.transport.producer.pauseProducing()
    later.finish()
    held = len(wire.received())
    assert held <= MOST_HELD
    later.finish()
    assert wire.received() == b""
    received = held
    wire.transport.producer.resumeProducing()
    while later.jobs:
        later.work()
        received += len(wire.received())
    assert received > SIZE - 100
