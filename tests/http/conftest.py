"""Fixtures of the tests of `filestored.http`."""

from collections.abc import Callable, Iterator

import pytest
from twisted.logger import LogEvent, globalLogPublisher


@pytest.fixture
def caught_failures() -> Iterator[Callable[[], list[type]]]:
    """A function that returns the types of the failures logged since the last call."""
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)

    def logged() -> list[type]:
        types = [event["log_failure"].type for event in events if "log_failure" in event]
        events.clear()
        return types

    yield logged
    globalLogPublisher.removeObserver(events.append)
