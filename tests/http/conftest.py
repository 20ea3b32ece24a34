"""What the tests of the HTTP floor share."""

from collections.abc import Callable, Iterator

import pytest
from twisted.logger import LogEvent, globalLogPublisher


@pytest.fixture
def caught_failures() -> Iterator[Callable[[], list[type]]]:
    """The types of the failures that were logged since the last time."""
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)

    def take() -> list[type]:
        types = [event["log_failure"].type for event in events if "log_failure" in event]
        events.clear()
        return types

    yield take
    globalLogPublisher.removeObserver(events.append)
