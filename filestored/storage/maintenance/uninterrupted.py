"""Delays signals that end a command, while it changes files and what is recorded of them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a signal that comes during the context act at its end. For the main thread."""
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        received.append(number)

    former = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])
