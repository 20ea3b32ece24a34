"""Watcher of the access file: reads it at the start, again when it changes, and on request (SIGHUP).

A thread compares the file once a second, because a disk may hang. A version that cannot be read or parsed is
one error in the log, and the rules in force stay. A file that is missing, or that the disk does not give, is
tried again each second.

Rejected: inotify(7), which a file in a mounted directory of another machine does not send; a reader in each
worker, of which some could have other rules.
"""

import os
import threading
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from filestored.access.access_file import naming, read_text
from filestored.access.rules import AccessRules
from filestored.errors import AccessFileError

CHECK_SECONDS = 1.0
"""Interval of the comparisons."""

_Version = tuple[int, ...]
"""Device, inode, times and size of a version of the file."""

_NOT_READ: _Version = ()


class AccessWatcher:
    """The watcher of the file at `path`. `use` is called in the reactor's thread with each new text."""

    _log = Logger()

    def __init__(self, reactor: Any, path: str, use: Callable[[str], None]) -> None:
        self._reactor = reactor
        self._path = path
        self._use = use
        self._text = ""
        self._version = _NOT_READ
        self._failure = ""
        self._wake = threading.Event()
        self._stopped = False

    def read(self) -> str:
        """Return the text of the file. Raises `AccessFileError`, or `OSError`. Blocking."""
        self._version = _version(self._path)
        self._text = _read(self._path)
        return self._text

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
            self._use_text(_read(self._path))
        except AccessFileError as error:
            self._reactor.callFromThread(self._report, str(error))
        except OSError as error:
            self._version, failure = _NOT_READ, str(error)
            if failure != self._failure or is_requested:
                self._reactor.callFromThread(self._report, failure)
        self._failure = failure

    def _use_text(self, text: str) -> None:
        if text != self._text:
            self._text = text
            self._reactor.callFromThread(self._change, text)

    def _change(self, text: str) -> None:
        if not self._stopped:
            self._use(text)
            self._log.info("the rules of {path} have changed and are in force", path=self._path)

    def _report(self, reason: str) -> None:
        self._log.error("{reason}; the rules in force stay", reason=reason)


def _read(path: str) -> str:
    """Return the text of an access file that can be parsed. Raises `AccessFileError` or `OSError`."""
    text = read_text(path)
    with naming(path):
        AccessRules.parse(text)
    return text


def _version(path: str) -> _Version:
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
