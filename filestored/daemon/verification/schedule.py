"""Schedule of verification in the background: one store at a time, each when it is due.

The stores record when they were verified. So a child process is started soon after the start of the daemon
and then every `CHECK_SECONDS`, or when the next pass is due; it ends at once if it is not. An interrupted
pass is continued.

Several daemons on one object store start a child each; all but one find that another process verifies, and
try again later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from filestored.daemon.verification.process import VerificationProcess
from filestored.daemon.verification.status import MAX_NAMED_FILES, VerificationStatus
from filestored.daemon.verification.task import Task
from filestored.settings import format_count

START_SECONDS = 3.0
"""Seconds between the start of the daemon and that of the first child."""

CHECK_SECONDS = 60 * 60.0
"""Maximum time between two looks at a store that is not due."""

CHECK_CORRUPT_SECONDS = 5 * 60.0
"""The same while files are corrupt, to notice that they are healed."""

RETRY_SECONDS = 5 * 60.0
"""Seconds after the start of a child that failed, or was killed, until the next one."""

KILL_AFTER_SECONDS = 10.0
"""Seconds after which a stopping child is killed."""


@dataclass
class VerifiedStore:
    """A store, the time of its next start, and what its last child has reported; `prefix` begins names.

    `finished` is None until a child has reported it.
    """

    task: Task
    prefix: str
    due: float
    finished: float | None = None
    corrupt: int = 0
    corrupt_files: list[str] = field(default_factory=list)


class VerificationSchedule:
    """Verifies stores in the background; `status` has the figures. Used in the reactor's thread only.

    `tasks` are the stores, each with the prefix of its files' names.
    """

    _log = Logger()

    def __init__(self, reactor: Any, tasks: Sequence[tuple[Task, str]]) -> None:
        self.status = VerificationStatus()
        self._reactor = reactor
        self._stores = [VerifiedStore(task, prefix, 0.0) for task, prefix in tasks]
        self._current: VerifiedStore | None = None
        self._process: VerificationProcess | None = None
        self._later: IDelayedCall | None = None
        self._failed = False
        self._stopped = False
        self._ended: Deferred[None] = Deferred()

    def start(self) -> None:
        """Start the first child after `START_SECONDS`."""
        self._later = self._reactor.callLater(START_SECONDS, self._start_next)

    def stop(self) -> "Deferred[None]":
        """Stop the child, which records its state. Fires when it has ended, or is killed: a disk may hang."""
        self._stopped = True
        if self._later is not None and self._later.active():
            self._later.cancel()
        if self._process is None:
            return succeed(None)
        self._process.stop()
        self._later = self._reactor.callLater(KILL_AFTER_SECONDS, self._kill)
        return self._ended

    def _kill(self) -> None:
        """Kill the child, and do not wait for it: the kernel may be unable to end it."""
        self.abort()
        self._ended.callback(None)

    def abort(self) -> None:
        """Kill the child. The next one continues."""
        if self._process is not None:
            self._process.kill()

    def _start_next(self) -> None:
        store = min(self._stores, key=lambda each: each.due)
        wait = store.due - self._reactor.seconds()
        if wait > 0:
            self._later = self._reactor.callLater(wait, self._start_next)
            return
        self._current, self._failed = store, False
        self._set_due(store, RETRY_SECONDS)
        self._process = VerificationProcess(self)
        try:
            self._process.spawn(self._reactor, store.task)
        except Exception as error:  # EAGAIN, ENOMEM, EMFILE; the interpreter was removed
            self.ended(str(error))

    # --- from the child -------------------------------------------------------------------------

    def received(self, event: str, fields: Mapping[str, Any]) -> None:
        """See `EventListener`."""
        assert self._current is not None, "a child has a store"
        _EVENTS[event](self, self._current, fields)
        self._update_status()

    def ended(self, reason: str) -> None:
        """See `EventListener`."""
        self._process = None
        self.status.running = False
        if self._stopped:
            if self._later is not None and self._later.active():
                self._later.cancel()
                self._ended.callback(None)
            return
        assert self._current is not None, "a child has a store"
        if reason and not self._failed:
            self._log.error("the verification has ended with {reason}", reason=reason)
        self._start_next()

    def _on_state(self, store: VerifiedStore, fields: Mapping[str, Any]) -> None:
        store.finished, store.corrupt = float(fields["finished"]), int(fields["corrupt"])
        store.corrupt_files = [str(each) for each in fields["corrupt_files"]]
        self._set_due(store, float(fields["due"]))

    def _on_begin(self, store: VerifiedStore, fields: Mapping[str, Any]) -> None:
        self.status.running = True
        self._set_due(store, RETRY_SECONDS)
        store.corrupt_files = [str(each) for each in fields["corrupt_files"]]
        action = "is continued" if fields["resumed"] else "begins"
        self._log.info("the verification of {store} {action}", store=store.task.store, action=action)

    def _on_progress(self, store: VerifiedStore, fields: Mapping[str, Any]) -> None:
        self.status.files += int(fields["files"])
        self.status.bytes += int(fields["bytes"])

    def _on_corrupt(self, store: VerifiedStore, fields: Mapping[str, Any]) -> None:
        self.status.corrupt += 1
        name = f"{store.prefix}{fields['name']}"
        if len(store.corrupt_files) < MAX_NAMED_FILES and fields["name"] not in store.corrupt_files:
            store.corrupt_files.append(str(fields["name"]))
        self._log.error("{name} is corrupt: {reason}", name=name, reason=fields["reason"])

    def _on_unreadable(self, store: VerifiedStore, fields: Mapping[str, Any]) -> None:
        self.status.unreadable += 1
        name = f"{store.prefix}{fields['name']}"
        self._log.error("{name} cannot be read: {reason}", name=name, reason=fields["reason"])

    def _on_unrecorded(self, store: VerifiedStore, fields: Mapping[str, Any]) -> None:
        self._log.warn("the state of verification cannot be recorded: {reason}", reason=fields["reason"])

    def _on_end(self, store: VerifiedStore, fields: Mapping[str, Any]) -> None:
        store.finished, store.corrupt = float(fields["finished"]), int(fields["corrupt"])
        self._set_due(store, float(fields["due"]))
        self._log.info(
            "{store} is verified: {files}, {corrupt} corrupt, {unreadable} unreadable",
            store=store.task.store,
            files=format_count(fields["files"], "file"),
            corrupt=fields["corrupt"],
            unreadable=fields["unreadable"],
        )

    def _on_failed(self, store: VerifiedStore, fields: Mapping[str, Any]) -> None:
        self._failed = True
        if fields["running"]:
            self._log.info("no verification: {reason}", reason=fields["reason"])
        else:
            self._log.error("no verification: {reason}", reason=fields["reason"])

    def _set_due(self, store: VerifiedStore, seconds: float) -> None:
        longest = CHECK_CORRUPT_SECONDS if store.corrupt_files else CHECK_SECONDS
        store.due = self._reactor.seconds() + min(seconds, longest)

    def _update_status(self) -> None:
        stores, status = self._stores, self.status
        known = [each.finished for each in stores if each.finished is not None]
        status.last_finished = min(known, default=0.0)
        status.last_corrupt = sum(each.corrupt for each in stores)
        names = [f"{each.prefix}{name}" for each in stores for name in each.corrupt_files]
        status.corrupt_files = names[:MAX_NAMED_FILES]


_EVENTS = {
    "state": VerificationSchedule._on_state,
    "begin": VerificationSchedule._on_begin,
    "progress": VerificationSchedule._on_progress,
    "corrupt": VerificationSchedule._on_corrupt,
    "unreadable": VerificationSchedule._on_unreadable,
    "unrecorded": VerificationSchedule._on_unrecorded,
    "end": VerificationSchedule._on_end,
    "failed": VerificationSchedule._on_failed,
}
