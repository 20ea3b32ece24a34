"""Notifications to systemd."""

import os
import socket

import pytest
from twisted.internet.task import Clock

from filestored.daemon.sd_notify import SystemdNotifier


@pytest.fixture
def receiver(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        receiving.setblocking(False)
        yield receiving


def always():
    return True


def heard(receiver):
    found = []
    while True:
        try:
            found.append(receiver.recv(1000).decode())
        except BlockingIOError:
            return found


def test_ready_and_stopping_are_sent(receiver, tmp_path):
    receiver.bind(str(tmp_path / "s"))
    notifier = SystemdNotifier(Clock(), str(tmp_path / "s"), None)
    notifier.ready("listening on x", always)
    notifier.stopping()
    notifier.close()
    assert ["READY=1\nSTATUS=listening on x", "STOPPING=1\nSTATUS=finishing running requests"] == heard(
        receiver
    )


def test_an_abstract_socket_works_too(receiver):
    receiver.bind(f"\0filestored-test-{os.getpid()}")
    SystemdNotifier(Clock(), f"@filestored-test-{os.getpid()}", None).ready("x", always)
    assert ["READY=1\nSTATUS=x"] == heard(receiver)


def test_watchdog_is_pinged_at_half_its_timeout(receiver, tmp_path):
    receiver.bind(str(tmp_path / "s"))
    clock = Clock()
    notifier = SystemdNotifier(clock, str(tmp_path / "s"), 10.0)
    clock.advance(20)
    assert [] == heard(receiver)
    notifier.ready("x", always)
    clock.pump([5.0] * 3)
    assert ["WATCHDOG=1"] * 4 == heard(receiver)[1:]
    notifier.close()
    assert [] == clock.getDelayedCalls()


def test_watchdog_is_pinged_only_while_the_service_is_alive(receiver, tmp_path):
    receiver.bind(str(tmp_path / "s"))
    clock, alive = Clock(), [True, False, False, True]
    notifier = SystemdNotifier(clock, str(tmp_path / "s"), 10.0)
    notifier.ready("x", lambda: alive.pop(0))
    clock.pump([5.0] * 3)
    notifier.close()
    assert [] == alive
    assert ["WATCHDOG=1"] * 2 == heard(receiver)[1:]


def test_exception_does_not_end_the_watchdog_pings(receiver, tmp_path):
    receiver.bind(str(tmp_path / "s"))
    clock, outcomes = Clock(), [1 / 2, 0, 1]
    notifier = SystemdNotifier(clock, str(tmp_path / "s"), 10.0)
    notifier.ready("x", lambda: 1 / outcomes.pop(0))
    clock.pump([5.0] * 2)
    notifier.close()
    assert ["WATCHDOG=1"] * 2 == heard(receiver)[1:]


def test_status_follows_the_summary_after_ready(receiver, tmp_path):
    receiver.bind(str(tmp_path / "s"))
    notifier = SystemdNotifier(Clock(), str(tmp_path / "s"), None)
    notifier.status("1 of 2 workers serve")
    notifier.ready("listening on x", always)
    notifier.status("0 of 2 workers serve")
    assert [
        "STATUS=1 of 2 workers serve",
        "READY=1\nSTATUS=listening on x",
        "STATUS=listening on x; 0 of 2 workers serve",
    ] == heard(receiver)


def test_missing_notify_socket_is_ignored(tmp_path):
    for address in (None, "", str(tmp_path / "nobody"), "@nobody"):
        SystemdNotifier(Clock(), address, None).ready("x", always)


def test_notify_variables_are_removed_from_the_environment():
    environment = {
        "NOTIFY_SOCKET": "/s",
        "WATCHDOG_USEC": "3000000",
        "WATCHDOG_PID": str(os.getpid()),
        "A": "b",
    }
    SystemdNotifier.from_environment(Clock(), environment)
    assert {"A": "b"} == environment


@pytest.mark.parametrize("pid", ["1", "nonsense"])
def test_watchdog_of_another_process_is_ignored(pid, receiver, tmp_path):
    receiver.bind(str(tmp_path / "s"))
    clock = Clock()
    environment = {"NOTIFY_SOCKET": str(tmp_path / "s"), "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": pid}
    SystemdNotifier.from_environment(clock, environment).ready("x", always)
    assert [] == clock.getDelayedCalls()
