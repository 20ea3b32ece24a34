"""Watcher of the access file: reads it at the start, again when it changes, and on request (SIGHUP).

A thread compares the file once a second, because a disk may hang. It also parses the file, which takes
seconds for a large one. The processes that serve get the rules as JSON, which takes milliseconds.

A version that cannot be parsed is one error in the log, and the rules in force stay. A file that is missing,
or that the disk does not give, is tried again each second.

Rejected: inotify(7), which a file in a mounted directory of another machine does not send; a reader in each
worker, of which some could have other rules.
"""

import os
import threading
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from filestored.access.access_file import read_rules
from filestored.errors import AccessFileError

CHECK_SECONDS = 1.0
"""Interval of the comparisons."""

_Version = tuple[int, ...]
"""Device, inode, times and size of a version of the file."""

_NOT_READ: _Version = ()


class AccessWatcher:
    """The watcher of the file at `path`. `use` is called in the reactor's thread with the rules, as JSON."""

    _log = Logger()

    def __init__(self, reactor: Any, path: str, use: Callable[[str], None]) -> None:
        self._reactor = reactor
        self._path = path
        self._use = use
        self._rules = ""
        self._version = _NOT_READ
        self._failure = ""
        self._wake = threading.Event()
        self._stopped = False

    def read(self) -> str:
        """Return the rules in the file, as JSON. Raises `AccessFileError`, or `OSError`. Blocking."""
        self._version = _version(self._path)
        self._rules = _read(self._path)
        return self._rules

    def start(self) -> None:
        """Begin to watch the file."""
        threading.Thread(target=self._watch, name="filestored-access", daemon=True).start()

    def check(self) -> None:
        """Read the file now, whatever its version."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread at its next step."""
        self._stopped = True
        self._wake.set()

    def _watch(self) -> None:
        while True:
            is_requested = self._wake.wait(CHECK_SECONDS)
            if self._stopped:
                return
            self._wake.clear()
            self._compare(is_requested)

    def _compare(self, is_requested: bool) -> None:
        """Read the file if it has changed, or if that is requested."""
        failure = ""
        try:
            version = _version(self._path)
            if version == self._version and not is_requested:
                return
            self._version = version
            self._replace(_read(self._path))
        except AccessFileError as error:
            self._reactor.callFromThread(self._report, str(error))
        except OSError as error:
            self._version, failure = _NOT_READ, str(error)
            if failure != self._failure or is_requested:
                self._reactor.callFromThread(self._report, failure)
        self._failure = failure

    def _replace(self, rules: str) -> None:
        if rules != self._rules:
            self._rules = rules
            self._reactor.callFromThread(self._change, rules)

    def _change(self, rules: str) -> None:
        if not self._stopped:
            self._use(rules)
            self._log.info("the rules of {path} have changed and are in force", path=self._path)

    def _report(self, reason: str) -> None:
        self._log.error("{reason}; the rules in force stay", reason=reason)


def _read(path: str) -> str:
    """Return the rules in an access file, as JSON. Raises `AccessFileError` or `OSError`."""
    return read_rules(path).to_json()


def _version(path: str) -> _Version:
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
