"""Pid file of twistd: identified by a lock, because process ids are used again.

twistd refuses to start while the process id in its pid file exists, which may be that of any program: in a
container the daemon is always process 1. A running daemon therefore locks the file (fcntl(2), released by the
kernel at its end), and ends the line in it, which marks the file as one that is locked. `check` removes a
marked file without a lock. A file without the mark belongs to another application of twistd.
"""

import fcntl
import os
import sys
from contextlib import suppress
from typing import Any

INSTEAD = "name another file with twistd's --pidfile"


def choose(config: Any) -> str:
    """Return the pid file of twistd's options `config`; in the foreground none unless it was requested."""
    requested = any(word.startswith("--pi") for word in sys.argv[1:])  # the shortest form of --pidfile
    if (config["nodaemon"] or config["debug"]) and not requested:
        config["pidfile"] = ""
    return os.path.abspath(config["pidfile"]) if config["pidfile"] else ""


def check(path: str) -> None:
    """Remove a stale pid file. Raises `ValueError` when twistd could not write the file, or must not."""
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise ValueError(f"twistd's --pidfile: there is no directory {directory}; create it, or {INSTEAD}")
    if os.path.isdir(path) or not os.access(directory, os.W_OK):
        raise ValueError(f"the pid file {path} cannot be written: {INSTEAD}, or use -n")
    with suppress(FileNotFoundError):
        try:
            with open(path, "r+b") as file:
                _check_open(path, file.fileno())
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise ValueError(f"the pid file {path}: {error.strerror}; remove it, or {INSTEAD}") from None


def hold(path: str) -> int | None:
    """Lock and mark the pid file of this process; return the descriptor, which stays open, or None."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    except OSError:
        return None
    with suppress(OSError):  # a file system without locks
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, b"\n")
    return descriptor


def _check_open(path: str, descriptor: int) -> None:
    text = os.pread(descriptor, 100, 0)
    name = text.strip().decode("ascii", "backslashreplace")
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise ValueError(
            f"filestored runs with the pid file {path}: stop process {name}, or {INSTEAD}"
        ) from None
    if text and not (text.isdigit() or text.endswith(b"\n")):
        raise ValueError(f"the pid file {path} holds no process id: remove it, or {INSTEAD}")
    if not text.isdigit() or int(text) == os.getpid():
        os.unlink(path)
    elif _exists(int(text)):
        raise ValueError(f"process {name} runs, which {path} names: stop it, remove the file, or {INSTEAD}")


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
