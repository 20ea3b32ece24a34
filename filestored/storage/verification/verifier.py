"""Verifier: one pass over all files of a place. Blocking.

For each file: read it, compare its hash with its name. If it differs, or cannot be read, read it once more,
from the disk. A file that was deleted meanwhile is no finding, and one that was replaced is verified anew. A
finding is recorded first; then a corrupt file moves to quarantine, if its name still leads to it. An
unreadable file stays. `MAX_UNREADABLE_IN_A_ROW` of them are a fault of the disk: the pass ends, and is
continued later before the first of them.

The state is recorded every `SAVE_SECONDS`, with each finding, and at the end. So a pass that was killed
continues, and reads some files again. On a full or read-only disk it goes on without that.
"""

import errno
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Protocol

from filestored.digest import Digest
from filestored.errors import EngineError, EngineUnavailable, UnusableStore, VerificationStopped
from filestored.storage.health import UNFIT, ReadFailed
from filestored.storage.verification.interfaces import (
    Examined,
    Listed,
    Place,
    RecordedState,
    VerifiedFiles,
)
from filestored.storage.verification.pace import MIN_FILE_BYTES, Pace
from filestored.storage.verification.state import Findings, Pass, Position, State

MAX_UNREADABLE_IN_A_ROW = 10
"""Unreadable files in a row after which the pass ends."""

SAVE_SECONDS = 15.0
"""Interval at which the state is recorded."""

CORRUPT = "corrupt"
UNREADABLE = "unreadable"
"""Kinds of findings."""

_MAX_ATTEMPTS = 10


class Watcher(Protocol):
    """Receiver of the progress of a pass."""

    def expect(self, files: int) -> None:
        """Set the number of files left to read. Called if `wants_total`."""

    def read(self, size: int) -> None:
        """Count a file of `size` bytes as read."""

    def found(self, kind: str, name: str, reason: str) -> None:
        """Handle a file that is `CORRUPT` or `UNREADABLE`."""

    def unrecorded(self, reason: str) -> None:
        """Handle that the state cannot be recorded; called once."""


class Verifier:
    """One run on `place`, whose state is `recorded`. `is_stopped` tells that it should end.

    With `counts_total` the watcher gets the number of files first.
    """

    def __init__(
        self,
        place: Place,
        recorded: RecordedState,
        pace: Pace,
        watcher: Watcher,
        is_stopped: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.time,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._recorded = recorded
        self._pace = pace
        self._watcher = watcher
        self._is_stopped = is_stopped
        self._clock = clock
        self._seconds = seconds
        self._saved = seconds()
        self._state = State()
        self._pass = Pass(0.0)
        self._is_unrecorded = False
        self._streak: list[str] = []
        self._before_streak = self._pass

    def run(self, state: State, older_than: float | None = None, *, counts_total: bool = False) -> Pass:
        """Continue the unfinished pass of `state`, or begin one; return it when it is finished.

        Raises `VerificationStopped`, `UnusableStore` or `OSError`; the next run continues.
        """
        self._state = state
        self._pass = state.find(older_than) or state.begin(self._clock(), older_than)
        self._save()
        try:
            if counts_total:
                self._count_total()
            for bucket in self._place.buckets():
                if bucket >= self._pass.position.bucket:
                    self._verify_bucket(bucket)
        except BaseException:
            self._save()
            raise
        self._state.finish(self._pass, self._clock())
        self._save()
        return self._pass

    def _count_total(self) -> None:
        total = 0
        for bucket in self._place.buckets():
            with self._place.opened(bucket, None, self._pace.chunk_bytes, self._count) as files:
                found = files.count() if files is not None else 0
                if found is None:
                    return
                total += found
        self._watcher.expect(max(0, total - self._pass.files))

    def _verify_bucket(self, bucket: str) -> None:
        last = self._pass.position
        after = last.name if last.bucket == bucket else ""
        with self._place.opened(bucket, self._pass.before, self._pace.chunk_bytes, self._count) as files:
            if files is None:
                return
            for listed in files.listed(after):
                size = self._verify(files, bucket, listed)
                self._pass.position = Position(bucket, listed.name)
                if size is None:
                    self._count(0)
                else:
                    self._count_file(size)

    def _count_file(self, size: int) -> None:
        self._pass.files += 1
        self._pass.bytes += size
        self._watcher.read(size)
        self._count(max(0, MIN_FILE_BYTES - size))

    def _verify(self, files: VerifiedFiles, bucket: str, listed: Listed) -> int | None:
        """Verify a file; return its size if it was read. Raises `UnusableStore` or `OSError`."""
        name = f"{bucket}/{listed.name}" if bucket else listed.name
        if listed.digest is None:
            self._unreadable(name, listed.error)
            return None
        try:
            size = self._verify_file(files, listed.digest, name)
        except ReadFailed as error:
            self._unreadable(name, error.strerror or str(error))
            return None
        self._streak.clear()
        return size

    def _verify_file(self, files: VerifiedFiles, digest: Digest, name: str) -> int | None:
        """Return the size of a file that was read; None if it was deleted or is too young.

        Raises `ReadFailed` or another `OSError`.
        """
        first: Examined | None = None
        for _ in range(_MAX_ATTEMPTS):
            examined = self._examine(files, digest, again=first is not None)
            if examined is None:
                return None
            if examined.is_intact:
                return examined.size
            is_confirmed = first is not None and first.version == examined.version
            if is_confirmed and self._set_aside(files, digest, name, examined):
                return examined.size
            first = examined
        raise OSError(errno.EBUSY, f"{name} is replaced all the time")

    def _examine(self, files: VerifiedFiles, digest: Digest, *, again: bool) -> Examined | None:
        """Read a file, once more after an error. Raises `ReadFailed` or another `OSError`."""
        try:
            return files.examine(digest, again=again)
        except ReadFailed:
            return files.examine(digest, again=True)

    def _set_aside(self, files: VerifiedFiles, digest: Digest, name: str, examined: Examined) -> bool:
        """Record a corrupt file and move it; return False if it was replaced meanwhile. Raises `OSError`."""
        reason = f"its bytes do not have the {digest.algorithm} of its name"
        self._record(self._pass.corrupt, name, reason)
        moved = True
        try:
            moved = files.quarantine(digest, examined, reason)
            outcome = "it is in quarantine" if moved else "it was replaced meanwhile"
        except OSError as error:
            if error.errno not in UNFIT:
                raise
            outcome = f"it cannot be moved to quarantine: {error.strerror}"
        self._watcher.found(CORRUPT, name, f"{reason}; {outcome}")
        return moved

    def _unreadable(self, name: str, reason: str) -> None:
        """Record an unreadable file. Raises `UnusableStore` after too many in a row."""
        if not self._streak:
            self._before_streak = deepcopy(self._pass)
        self._streak.append(name)
        if len(self._streak) < MAX_UNREADABLE_IN_A_ROW:
            self._record(self._pass.unreadable, name, reason)
            self._watcher.found(UNREADABLE, name, reason)
            return
        self._replace_pass(self._before_streak)
        raise UnusableStore(
            f"{len(self._streak)} files in a row cannot be read, the first is {self._streak[0]}: {reason}; "
            "check the disk"
        )

    def _replace_pass(self, earlier: Pass) -> None:
        vars(self._pass).update(vars(earlier))

    def _record(self, findings: Findings, name: str, reason: str) -> None:
        if name not in findings.reasons:
            findings.add(name, reason)
            if name in findings.reasons:
                self._save()

    # --- pace and state -------------------------------------------------------------------------

    def _count(self, size: int) -> None:
        """Keep the rate; record the state now and then. Raises `VerificationStopped`."""
        self._pace.count(size, self._check)
        self._save_if_due()

    def _check(self) -> None:
        if self._is_stopped():
            raise VerificationStopped

    def _save_if_due(self) -> None:
        if self._seconds() - self._saved >= SAVE_SECONDS:
            self._save()

    def _save(self) -> None:
        """Record the state; not on a full, read-only or damaged disk. Raises another `OSError`."""
        self._saved = self._seconds()
        try:
            self._recorded.save(self._state)
        except EngineUnavailable:
            raise
        except OSError as error:
            if error.errno not in UNFIT and not isinstance(error, EngineError):
                raise
            if not self._is_unrecorded:
                self._is_unrecorded = True
                self._watcher.unrecorded(getattr(error, "reason", "") or error.strerror or str(error))
