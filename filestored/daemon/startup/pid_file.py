"""Pid file of twistd: identified by a lock, because process ids are used again.

twistd refuses to start while the process id in its pid file exists, which may be that of any program: in a
container the daemon is always process 1. A running daemon therefore locks the file (fcntl(2), released by the
kernel at its end), and adds `MARK`. `replace` removes a marked file without a lock, an empty file, which
is left by a crash, and a bare number without a process, as twistd does. All other files are kept: the start
is refused.

twistd itself checks the file before the service is made. `choose` therefore withholds the path from twistd,
and `replace` returns it after all settings have been checked.
"""

import fcntl
import os
import re
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

INSTEAD = "name another file with twistd's --pidfile"

MARK = b"\n\n"
"""Bytes behind the number. Other programs write one line feed or none; a shell and ``int()`` ignore them."""

_CONTENT = re.compile(rb"(?:([0-9]{1,10})(\n\n|))?")
"""Content of a stale file: none, or a number, and the mark unless twistd wrote it and the daemon crashed."""


def choose(config: Any) -> str:
    """Return the pid file of twistd's options `config`; in the foreground none unless it was requested.

    Removes it from `config` until `replace`.
    """
    requested = any(word.startswith("--pi") for word in sys.argv[1:])  # the shortest form of --pidfile
    path, config["pidfile"] = str(config["pidfile"] or ""), ""
    if not path or ((config["nodaemon"] or config["debug"]) and not requested):
        return ""
    return os.path.abspath(path)


def check(path: str) -> None:
    """Raise `ValueError` when twistd could not write the pid file, or must not. Changes nothing."""
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise ValueError(f"twistd's --pidfile: there is no directory {directory}; create it, or {INSTEAD}")
    if os.path.isdir(path) or not os.access(directory, os.W_OK):
        raise ValueError(f"the pid file {path} cannot be written: {INSTEAD}, or use -n")
    _visit(path, _check_open)


def replace(path: str, config: Any) -> None:
    """Remove a stale pid file, and let twistd write a new one. Raises `ValueError` for any other file."""
    _visit(path, _remove_stale)
    config["pidfile"] = path


def hold(path: str) -> None:
    """Lock and mark the pid file of this process, until its end."""
    with suppress(OSError):  # a file system without locks
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)  # closed by the kernel
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, MARK)


def _visit(path: str, act: Callable[[str, int], None]) -> None:
    """Call `act` with the path and a descriptor of an existing file. Raises `ValueError`."""
    try:
        with open(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            act(path, file.fileno())
    except FileNotFoundError:
        return
    except OSError as error:
        raise ValueError(f"the pid file {path}: {error.strerror}; remove it, or {INSTEAD}") from None


def _remove_stale(path: str, descriptor: int) -> None:
    _check_open(path, descriptor)
    os.unlink(path)


def _check_open(path: str, descriptor: int) -> None:
    """Raise `ValueError` unless the file is stale."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise ValueError(f"the pid file {path} is not a regular file: {INSTEAD}")
    text = os.pread(descriptor, 100, 0)
    number = text.strip().decode("ascii", "backslashreplace")
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise ValueError(
            f"filestored runs with the pid file {path}: stop process {number}, or {INSTEAD}"
        ) from None
    match = _CONTENT.fullmatch(text)
    if match is None and text.strip().isdigit():
        raise ValueError(f"the pid file {path} belongs to another program: remove it, or {INSTEAD}")
    if match is None:
        raise ValueError(f"the pid file {path} holds no process id: remove it, or {INSTEAD}")
    if match[2] == b"" and _exists(int(text)):
        raise ValueError(f"process {number} runs, which {path} names: stop it, remove the file, or {INSTEAD}")


def _exists(pid: int) -> bool:
    if pid == os.getpid():  # in a container, the id of an earlier daemon
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
