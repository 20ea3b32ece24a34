"""Helpers of the storage tests: contents, ways to run jobs, calls that are watched."""

import dataclasses
import errno
import os
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from filestored.digest import Algorithm, Digest, algorithm
from filestored.interfaces import IBackend, IStore, UploadResult
from filestored.storage.disk.syscalls import Syscalls

MD5 = algorithm("md5")

HELLO = b"hello"
"""The content that most tests store."""


def digest_of(data: bytes, own: Algorithm = MD5) -> Digest:
    """The digest of `data`."""
    return own.digest(data)


def put(backend: IBackend, data: bytes, name: Digest | None = None) -> bool:
    """Store `data` as the store would, one call after the other; True when it is new."""
    digest = name or digest_of(data)
    sink = backend.begin()
    try:
        sink.write(data)
        sink.seal()
        created = sink.publish(digest)
        backend.flush_names([digest])
        return created
    finally:
        sink.discard()


def read(backend: IBackend, digest: Digest) -> bytes:
    """All bytes stored under `digest`."""
    file = backend.open(digest)
    data = b""
    try:
        while piece := file.read(len(data), file.size - len(data)):
            data += piece
        return data
    finally:
        file.close()


def send(store: IStore, data: bytes, **arguments: Any) -> "Deferred[UploadResult]":
    """Upload `data` in one piece."""
    upload = store.upload(**arguments)
    upload.write(data)
    return upload.commit()


def outcome(answer: "Deferred[Any]") -> Any:
    """Return the result of a Deferred that has fired; its exception as a value."""
    results: list[Any] = []
    answer.addBoth(results.append)
    assert len(results) == 1, "it has not fired"
    return results[0].value if isinstance(results[0], Failure) else results[0]


class Workbench:
    """A `Run` whose jobs wait until the test does them, one by one."""

    def __init__(self) -> None:
        self.jobs: deque[Callable[[], None]] = deque()

    def __call__(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Deferred[Any]":
        done: Deferred[Any] = Deferred()
        self.jobs.append(lambda: maybeDeferred(function, *args, **kwargs).chainDeferred(done))
        return done

    def do_one(self) -> None:
        self.jobs.popleft()()

    def do_all(self) -> None:
        while self.jobs:
            self.do_one()


def watched(watch: Callable[[str, tuple[Any, ...]], None], original: Syscalls | None = None) -> Syscalls:
    """System calls that each tell `watch` their name and arguments before they are made."""
    original = original or Syscalls()

    def wrapped(name: str) -> Callable[..., Any]:
        function = getattr(original, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            watch(name, args)
            return function(*args, **kwargs)

        return call

    return Syscalls(**{field.name: wrapped(field.name) for field in dataclasses.fields(Syscalls)})


def without_tmpfile(original: Syscalls | None = None) -> Syscalls:
    """The calls of a file system that knows no ``O_TMPFILE``."""

    def refuse(name: str, args: tuple[Any, ...]) -> None:
        if name == "open" and args[1] & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    return watched(refuse, original)


def files_below(path: str) -> list[str]:
    """All files below a store that are not the store's own furniture, relative to it."""
    found = [
        os.path.relpath(os.path.join(directory, name), path)
        for directory, _, names in os.walk(path)
        for name in names
    ]
    return sorted(name for name in found if name != "FORMAT")
