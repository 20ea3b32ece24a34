"""Clients that disconnect during a transfer, and read errors."""

import errno

import pytest

from filestored.digest import algorithm
from filestored.storage.memory import MemoryBackend
from tests.web.deferred_jobs import DeferredJobs

HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


class Counting(MemoryBackend):
    """A backend that counts open files."""

    def __init__(self):
        super().__init__(algorithm("sha256"))
        self.opened = 0

    def open(self, digest):
        file = super().open(digest)
        self.opened += 1
        close = file.close

        def closing():
            self.opened -= 1
            close()

        file.close = closing
        return file


@pytest.fixture
def later_wire(make_wire):
    later = DeferredJobs()
    wire = make_wire(Counting(), run=later)
    wire.later, wire.backend = later, wire.store._backend
    wire.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
    later.finish()
    wire.received()
    return wire


@pytest.mark.parametrize("jobs", range(4))
@pytest.mark.parametrize("fields", ["", "Range: bytes=0-0,2-2\r\n", 'If-None-Match: "x"\r\n'])
def test_disconnect_at_any_time_of_a_download_leaves_no_open_file(later_wire, logged, jobs, fields):
    later_wire.send(f"GET /files/{HELLO} HTTP/1.1\r\nHost: h\r\n{fields}\r\n".encode())
    for _ in range(jobs):
        later_wire.later.work()
    later_wire.hang_up()
    later_wire.later.finish()
    assert later_wire.backend.opened == 0
    assert logged() == []


@pytest.mark.parametrize("method", ["DELETE", "PUT"])
@pytest.mark.parametrize("jobs", range(4))
def test_disconnect_at_any_time_of_an_upload_leaves_nothing_open(later_wire, logged, method, jobs):
    later_wire.send(
        f"{method} /files/{HELLO} HTTP/1.1\r\nHost: h\r\nIf-Match: *\r\nContent-Length: 5\r\n\r\nhel".encode()
    )
    for _ in range(jobs):
        later_wire.later.work()
    later_wire.hang_up()
    later_wire.later.finish()
    assert later_wire.backend.opened == 0
    assert later_wire.store.uploads_in_flight == 0
    assert logged() == []


def test_read_error_during_a_download_aborts_the_connection(make_wire, logged):
    wire = make_wire()
    target = wire.ask("POST", "/", b"hello").fields["location"]
    read_error = OSError(errno.EIO, "the disk is dying")

    def fail(*_):
        raise read_error

    class Unreadable(MemoryBackend):
        def open(self, digest):
            file = super().open(digest)
            file.read = fail
            return file

    wire = make_wire(Unreadable(algorithm("sha256")))
    wire.ask("POST", "/", b"hello")
    wire.send(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert not wire.connected
    assert b"500" not in wire.received()
    assert logged() == [read_error]
