"""Signals that come while a command changes files act afterwards."""

import signal

import pytest

from filestored.storage.maintenance.uninterrupted import uninterrupted


def test_interrupt_acts_at_the_end_of_the_context():
    done = []

    def change() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("changed")

    with pytest.raises(KeyboardInterrupt):
        change()
    assert ["changed"] == done


def test_handlers_are_those_from_before():
    received = []
    former = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        with uninterrupted():
            signal.raise_signal(signal.SIGTERM)
            assert [] == received
        assert [signal.SIGTERM] == received
        signal.raise_signal(signal.SIGTERM)
        assert [signal.SIGTERM] * 2 == received
    finally:
        signal.signal(signal.SIGTERM, former)


def test_error_within_the_context_is_raised():
    with pytest.raises(OSError, match="broken"), uninterrupted():
        raise OSError("broken")
