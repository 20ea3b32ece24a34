"""Command ``filestored verify``: compare every file of a store with its name, beside running daemons."""

import signal
import sys
import time
from argparse import Namespace
from functools import partial
from threading import Event
from typing import Any

from filestored.commands.arguments import add_command, add_json, checked, format_time
from filestored.commands.output import (
    DONE,
    INCOMPLETE,
    INTERRUPTED,
    print_error,
    print_json,
    print_line,
)
from filestored.commands.progress import progress
from filestored.commands.store.opening import become_store_owner, parse_place
from filestored.daemon.verification.places import open_place
from filestored.errors import VerificationStopped
from filestored.settings import format_size, parse_duration, parse_rate
from filestored.storage.maintenance.idle_priority import use_idle_priority
from filestored.storage.migration.migrate import MigrationProgress
from filestored.storage.verification.pace import Pace
from filestored.storage.verification.state import Pass
from filestored.storage.verification.verifier import CORRUPT, UNREADABLE, Verifier

JSON_FORM = (
    '{"files", "bytes", "corrupt", "unreadable", "corrupt_files": {NAME: REASON}, "unreadable_files", '
    '"started", "finished"}'
)

_WORDS = {CORRUPT: "is corrupt", UNREADABLE: "cannot be read"}


def add_parser(commands: Any) -> None:
    """Add the command ``verify``."""
    parser = add_command(
        commands,
        "verify",
        "Read every file of a store and compare it with its name, also while daemons serve it. A corrupt "
        "file moves to quarantine; the next upload of its content heals it. Works at the lowest priority, "
        "and leaves the page cache as it is. The command can be interrupted; run it again to continue. Exit "
        "status 3 if files were corrupt or cannot be read; they are named on stderr.",
        "filestored verify store --rate 100MiB/s",
    )
    parser.add_argument(
        "store", metavar="STORE", type=parse_place, help="directory or URL of --store, or of --images"
    )
    parser.add_argument(
        "--rate", type=checked(parse_rate), help="maximum bytes read per second, as 100MiB/s [default: none]"
    )
    parser.add_argument(
        "--older-than",
        metavar="TIME",
        type=checked(parse_duration),
        help="only files whose last upload is longer ago, as 30d",
    )
    parser.add_argument(
        "--restart", action="store_true", help="begin anew instead of continuing an interrupted run"
    )
    add_json(parser, JSON_FORM)
    parser.set_defaults(command=_verify)


def _verify(arguments: Namespace) -> int:
    stop = Event()
    use_idle_priority()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, partial(_stop, stop))
    try:
        done = _run(arguments, stop)
    except VerificationStopped:
        print_error("interrupted; run the same command again to continue")
        return INTERRUPTED
    if arguments.json:
        print_json(_as_json(done))
    else:
        print_line(
            f"{arguments.store}: {done.files} files ({format_size(done.bytes)}) are verified; "
            f"{done.corrupt.count} are corrupt, {done.unreadable.count} cannot be read"
        )
    return DONE if done.is_faultless else INCOMPLETE


def _stop(stop: Event, number: int, _: object) -> None:
    """Stop at the next file; a second signal ends the process at once."""
    stop.set()
    signal.signal(number, signal.SIG_DFL)


def _run(arguments: Namespace, stop: Event) -> Pass:
    become_store_owner(arguments.store)
    place = open_place(arguments.store)
    with place.claimed() as recorded, progress(sys.stderr) as bar:
        watcher = CommandWatcher(bar)
        state = recorded.load()
        if arguments.restart:
            state.begin(time.time(), arguments.older_than)
        elif begun := state.find(arguments.older_than):
            watcher.repeat(begun)
        verifier = Verifier(place, recorded, Pace(arguments.rate), watcher, stop.is_set)
        return verifier.run(state, arguments.older_than, counts_total=sys.stderr.isatty())


class CommandWatcher:
    """Names findings on stderr, and draws progress in `bar`."""

    def __init__(self, bar: MigrationProgress) -> None:
        self.expect = bar.expect
        self.read = bar.read
        self._repeated: set[str] = set()

    def repeat(self, begun: Pass) -> None:
        """Name the findings of the part of a pass that was interrupted."""
        for kind, findings in ((CORRUPT, begun.corrupt), (UNREADABLE, begun.unreadable)):
            for name, reason in findings.reasons.items():
                self.found(kind, name, reason)
                self._repeated.add(name)

    def found(self, kind: str, name: str, reason: str) -> None:
        """See `Watcher`."""
        if name not in self._repeated:
            print_error(f"{name} {_WORDS[kind]}: {reason}")

    def unrecorded(self, reason: str) -> None:
        """See `Watcher`."""
        print_error(f"an interrupted run will begin anew, because its state cannot be recorded: {reason}")


def _as_json(done: Pass) -> dict[str, object]:
    return {
        "files": done.files,
        "bytes": done.bytes,
        "corrupt": done.corrupt.count,
        "unreadable": done.unreadable.count,
        "corrupt_files": done.corrupt.reasons,
        "unreadable_files": done.unreadable.reasons,
        "started": format_time(done.started),
        "finished": format_time(done.finished or time.time()),
    }
