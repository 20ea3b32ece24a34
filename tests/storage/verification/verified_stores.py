"""Stores to verify, on a disk and in object stores, as one interface; and a pass over them."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from filestored.digest import Digest
from filestored.interfaces import IBackend
from filestored.storage.verification.interfaces import Place
from filestored.storage.verification.pace import Pace
from filestored.storage.verification.state import Pass, State
from filestored.storage.verification.verifier import Verifier
from tests.storage.contract import digest_of, put


@dataclass
class VerifiedStore:
    """A store with its `place`; `overwrite` changes the bytes of a file behind the back of the backend."""

    place: Place
    backend: IBackend
    overwrite: Callable[[Digest, bytes], None]
    quarantined: Callable[[], list[str]]

    def fill(self, count: int, first: int = 0) -> list[Digest]:
        """Store files of some bytes."""
        contents = [content(number) for number in range(first, first + count)]
        for each in contents:
            put(self.backend, each)
        return [digest_of(each) for each in contents]

    def flip(self, number: int) -> Digest:
        """Change one bit of a file of `fill`."""
        data = content(number)
        digest = digest_of(data)
        place = number % len(data)
        self.overwrite(digest, data[:place] + bytes([data[place] ^ 1 << number % 8]) + data[place + 1 :])
        return digest


def content(number: int) -> bytes:
    """Return the content of a file of `VerifiedStore.fill`."""
    return b"file %d, " % number * (1 + number % 50)


@dataclass
class Findings:
    """A watcher that records everything."""

    expected: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def expect(self, files: int) -> None:
        self.expected.append(files)

    def read(self, size: int) -> None:
        self.sizes.append(size)

    def found(self, kind: str, name: str, reason: str) -> None:
        self.names.append((kind, name))
        self.reasons.append(reason)

    def unrecorded(self, reason: str) -> None:
        self.warnings.append(reason)


class Stopping(Findings):
    """A watcher that stops the pass after some files."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def is_stopped(self) -> bool:
        return len(self.sizes) >= self.after


def verify(place: Place, watcher: Any = None, older_than: float | None = None, **options: Any) -> Pass:
    """Run, or continue, a pass; return it when it is finished."""
    watcher = watcher or Findings()
    stopped = getattr(watcher, "is_stopped", lambda: False)
    with place.claimed() as recorded:
        verifier = Verifier(place, recorded, Pace(None), watcher, stopped, **options)
        return verifier.run(recorded.load(), older_than)


def recorded_state(place: Place) -> State:
    """Return the recorded state."""
    with place.claimed() as recorded:
        return recorded.load()


def overwrite(path: str, data: bytes) -> None:
    """Change a file on a disk in place, with its mode and time of modification."""
    status = os.stat(path)
    os.chmod(path, 0o600)
    with open(path, "wb") as file:
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.chmod(path, 0o440)
