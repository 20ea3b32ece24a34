"""The wall clock is set while requests are under way: no deadline follows it."""

import hashlib
import os
import socket
import time
from email.utils import parsedate_to_datetime

import pytest
import requests
from twisted.internet.base import ReactorBase

from filestored.daemon.process_setup import use_monotonic_clock
from tests.daemon_process import read, until
from tests.http_clients.blocking import BlockingClient, request_head
from tests.wall_clock import HOUR, WallClock

CONTENT = os.urandom(1 << 20) * 8


@pytest.fixture
def wall_clock(tmp_path):
    with WallClock(str(tmp_path)) as clock:
        yield clock


def answered(client):
    """The time that a daemon takes it to be, in seconds since the epoch."""
    date = client.request(request_head("/health")).fields["date"]
    return parsedate_to_datetime(date).timestamp()


@pytest.mark.needs("faketime")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_clock_that_steps_forward_ends_no_request(wall_clock, start_daemon, workers):
    daemon = start_daemon("--workers", workers, environment=wall_clock.environment)
    digest = requests.post(daemon.url, data=CONTENT, timeout=30).text
    with (
        BlockingClient(daemon.connect()) as idle,
        BlockingClient(daemon.connect()) as sending,
        socket.socket() as reading,
    ):
        before = answered(idle)
        sending.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nfirst")
        reading.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reading.settimeout(30)
        reading.connect(("127.0.0.1", daemon.port))
        reading.sendall(request_head(f"/files/{digest}", "Connection: close"))
        received = reading.recv(4096)
        time.sleep(0.6)
        wall_clock.set(HOUR)
        time.sleep(1.6)
        sending.send(b"last")
        assert 200 == sending.read_response().status
        while data := reading.recv(1 << 20):
            received += data
        assert digest == hashlib.sha256(received.partition(b"\r\n\r\n")[2]).hexdigest()
        assert answered(idle) - before >= HOUR


@pytest.mark.needs("faketime")
def test_a_clock_that_steps_back_delays_nothing(wall_clock, start_daemon):
    """The access log is written by a delayed call."""
    daemon = start_daemon("--workers", "2", "--access-log", "access", environment=wall_clock.environment)
    log = os.path.join(daemon.directory, "access")
    with BlockingClient(daemon.connect()) as client:
        before = answered(client)
        until(lambda: read(log).count("/health") == 1, "the first request is in the log")
        client.request(request_head("/before"))
        time.sleep(0.2)  # the line is recorded after the answer was sent, and written a second later
        wall_clock.set(-HOUR)
        assert before - answered(client) >= HOUR - 60
        until(lambda: "/before" in read(log), "a request before the step is in the log")


class Reactor(ReactorBase):
    """A reactor that runs by hand."""

    def installWaker(self):
        pass


def test_delayed_calls_follow_the_monotonic_clock():
    reactor, calls = Reactor(), []
    soon = reactor.callLater(0, calls.append, "soon")
    reactor.callLater(1000, calls.append, "never")
    use_monotonic_clock(reactor)
    use_monotonic_clock(reactor)
    reactor.callLater(0, calls.append, "new")
    assert abs(soon.getTime() - time.monotonic()) < 100
    assert 0 <= reactor.timeout() < 1
    reactor.runUntilCurrent()
    assert ["soon", "new"] == calls
    assert 900 < reactor.timeout() <= 1000
