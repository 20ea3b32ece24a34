"""Leak check: delayed calls, readers, writers, ports and descriptors that a test leaves open."""

import gc
import os
import time
from collections import Counter
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

MAX_CLOSING_SECONDS = 2.0
"""Bound on the time after a test in which what it closed may disappear."""

_TURN_SECONDS = 0.01

_reactor: Any = reactor  # a module, as far as types go

Resources = dict[tuple[str, object, object], str]
"""Descriptions of open resources, by keys that stay equal as long as a resource is open."""


def run_reactor() -> None:
    """Run the reactor for 10 ms."""
    passed: Deferred[None] = Deferred()
    _reactor.callLater(_TURN_SECONDS, passed.callback, None)
    pytest_twisted.blockon(passed)


def run_obstore() -> None:
    """Start the threads of obstore, which open descriptors of their own and never end."""
    import obstore

    obstore.put(obstore.store.MemoryStore(), "started", b"")


def left_since(before: Resources) -> list[str]:
    """Return descriptions of resources opened since `before`; wait up to 2 s for them to be closed."""
    deadline = time.monotonic() + MAX_CLOSING_SECONDS
    left = _opened_since(before)
    while left and time.monotonic() < deadline:
        run_reactor()
        if left := _opened_since(before):
            gc.collect()  # a traceback in a cycle may hold a socket
            left = _opened_since(before)
    return left


def open_resources() -> Resources:
    """Return what the reactor and the process have open now."""
    return {**_delayed_calls(), **_selectables(), **_descriptors()}


def _opened_since(before: Resources) -> list[str]:
    return sorted(text for key, text in open_resources().items() if key not in before)


def _delayed_calls() -> Resources:
    """Number the calls of each function: a leaked call that repeats itself gets a new object each time."""
    found: Resources = {}
    numbers: Counter[str] = Counter()
    for call in _reactor.getDelayedCalls():
        name = getattr(call.func, "__qualname__", type(call.func).__qualname__)
        numbers[name] += 1
        found["delayed call", name, numbers[name]] = f"delayed call of {call.func}"
    return found


def _selectables() -> Resources:
    internal = _reactor._internalReaders  # its own wakers
    readers = [reader for reader in _reactor.getReaders() if reader not in internal]
    return {
        (kind, id(one), type(one)): f"{kind} {one}"
        for kind, found in (("reader", readers), ("writer", _reactor.getWriters()))
        for one in found
    }


def _descriptors() -> Resources:
    found: Resources = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue  # the descriptor by which the directory was listed
        if target != "/dev/null":  # Twisted keeps one in reserve, from the first port on
            key = ("descriptor", number, target.removesuffix(" (deleted)"))
            found[key] = f"descriptor {number} of {target}"
    return found
