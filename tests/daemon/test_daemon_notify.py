"""What systemd hears."""

import os
import socket

import pytest
from twisted.internet.task import Clock

from filestored.daemon.notify import Notifier


@pytest.fixture
def receiver(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        receiving.setblocking(False)
        yield receiving


def heard(receiver):
    found = []
    while True:
        try:
            found.append(receiver.recv(1000).decode())
        except BlockingIOError:
            return found


def test_ready_and_stopping_are_told(receiver, tmp_path):
    receiver.bind(str(tmp_path / "s"))
    notifier = Notifier(Clock(), str(tmp_path / "s"), None)
    notifier.ready("listening on x")
    notifier.stopping()
    notifier.close()
    assert ["READY=1\nSTATUS=listening on x", "STOPPING=1\nSTATUS=finishing running requests"] == heard(
        receiver
    )


def test_an_abstract_socket_works_too(receiver):
    receiver.bind(f"\0filestored-test-{os.getpid()}")
    Notifier(Clock(), f"@filestored-test-{os.getpid()}", None).ready("x")
    assert ["READY=1\nSTATUS=x"] == heard(receiver)


def test_the_watchdog_hears_us_at_half_its_time(receiver, tmp_path):
    receiver.bind(str(tmp_path / "s"))
    clock = Clock()
    notifier = Notifier(clock, str(tmp_path / "s"), 10.0)
    clock.advance(20)
    assert [] == heard(receiver)
    notifier.ready("x")
    clock.pump([5.0] * 3)
    assert ["WATCHDOG=1"] * 4 == heard(receiver)[1:]
    notifier.close()
    assert [] == clock.getDelayedCalls()


def test_nobody_to_tell_is_no_trouble(tmp_path):
    for address in (None, "", str(tmp_path / "nobody"), "@nobody"):
        Notifier(Clock(), address, None).ready("x")


def test_the_environment_is_emptied_so_that_children_are_silent():
    environment = {
        "NOTIFY_SOCKET": "/s",
        "WATCHDOG_USEC": "3000000",
        "WATCHDOG_PID": str(os.getpid()),
        "A": "b",
    }
    Notifier.from_environment(Clock(), environment)
    assert {"A": "b"} == environment


@pytest.mark.parametrize("pid", ["1", "nonsense"])
def test_a_watchdog_of_another_process_is_not_ours(pid, receiver, tmp_path):
    receiver.bind(str(tmp_path / "s"))
    clock = Clock()
    environment = {"NOTIFY_SOCKET": str(tmp_path / "s"), "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": pid}
    Notifier.from_environment(clock, environment).ready("x")
    assert [] == clock.getDelayedCalls()
