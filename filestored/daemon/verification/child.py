"""Main of the child process that verifies a store: ``python -m filestored.daemon.verification.child``.

In: one line of JSON on stdin with the fields of `Task`. Out: events on stdout, one JSON object a line:
``state`` first, with the seconds until a pass is due. If it is due, ``begin``, ``progress``, ``corrupt``,
``unreadable`` and ``end`` follow; else the process ends. ``failed`` and ``unrecorded`` have a reason.

The end of stdin stops it, so that it does not outlive a daemon that was killed. The next one continues.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from threading import Event, Thread

from filestored.daemon.startup_errors import one_line
from filestored.daemon.verification.places import open_place
from filestored.daemon.verification.status import MAX_NAMED_FILES
from filestored.daemon.verification.task import Task
from filestored.errors import FilestoredError, MalformedDigest, VerificationRunning, VerificationStopped
from filestored.storage.maintenance.idle_priority import use_idle_priority
from filestored.storage.verification.interfaces import Place, RecordedState, VerifiedFiles
from filestored.storage.verification.pace import Pace
from filestored.storage.verification.state import Pass
from filestored.storage.verification.verifier import Verifier

PROGRESS_SECONDS = 1.0
"""Minimum interval of reports of progress."""

MAX_STOP_SECONDS = 5.0
"""Seconds after the end of stdin until the process ends by force: a disk may hang."""

_CHUNK_BYTES = 4096


def main() -> int:
    """Verify the store of the task on stdin, if that is due; return the exit status."""
    use_idle_priority()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the daemon, too
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    task = Task(**json.loads(sys.stdin.readline()))
    Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    try:
        place = open_place(task.store, task.timeout)
        with place.claimed() as recorded:
            _verify_if_due(task, place, recorded, stop)
    except VerificationStopped:
        return 0
    except (FilestoredError, OSError) as error:
        reason = getattr(error, "reason", "") or one_line(error)
        _report("failed", reason=reason, running=isinstance(error, VerificationRunning))
        return 1
    return 0


def _verify_if_due(task: Task, place: Place, recorded: RecordedState, stop: Event) -> None:
    state = recorded.load()
    due = state.seconds_until_due(task.every, time.time())
    last = state.last or Pass(0, finished=0)
    named = [*last.corrupt.reasons][:MAX_NAMED_FILES]
    missing = _missing(place, named)
    healed = len(named) - len(missing)
    corrupt = last.corrupt.count - healed
    _report("state", due=due, finished=last.finished, corrupt=corrupt, corrupt_files=missing)
    if due:
        return
    _report("begin", resumed=state.find(None) is not None)
    watcher = ReportingWatcher()
    done = Verifier(place, recorded, Pace(task.rate), watcher, stop.is_set).run(state)
    watcher.flush()
    _report(
        "end",
        due=state.seconds_until_due(task.every, time.time()),
        finished=done.finished,
        files=done.files,
        bytes=done.bytes,
        corrupt=done.corrupt.count,
        unreadable=done.unreadable.count,
    )


def _missing(place: Place, names: Sequence[str]) -> list[str]:
    """Return the names whose file was not uploaded again. Raises `OSError`."""
    found: list[str] = []
    for bucket, group in groupby(names, lambda name: name.rpartition("/")[0]):
        with place.opened(bucket, None, _CHUNK_BYTES, lambda _: None) as files:
            found += [name for name in group if files is None or not _exists(files, name)]
    return found


def _exists(files: VerifiedFiles, name: str) -> bool:
    with suppress(MalformedDigest):
        return files.exists(files.parse(name.rpartition("/")[2]))
    return False


class ReportingWatcher:
    """Reports each finding, and progress in sums; see `Watcher`."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._reported = seconds()
        self._files = self._bytes = 0

    def expect(self, files: int) -> None:
        """Nothing to do."""

    def read(self, size: int) -> None:
        """See `Watcher`."""
        self._files += 1
        self._bytes += size
        if self._seconds() - self._reported >= PROGRESS_SECONDS:
            self.flush()

    def found(self, kind: str, name: str, reason: str) -> None:
        """See `Watcher`."""
        _report(kind, name=name, reason=reason)

    def unrecorded(self, reason: str) -> None:
        """See `Watcher`."""
        _report("unrecorded", reason=reason)

    def flush(self) -> None:
        """Report the files that were read since the last report."""
        _report("progress", files=self._files, bytes=self._bytes)
        self._files = self._bytes = 0
        self._reported = self._seconds()


def _report(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def _stop_at_end_of_input(stop: Event) -> None:
    with suppress(OSError):
        while os.read(0, 4096):
            pass
    stop.set()
    time.sleep(MAX_STOP_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
