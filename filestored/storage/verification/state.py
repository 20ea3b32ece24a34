"""State of verification as values and JSON: the position of unfinished passes, the last finished one. Pure.

A pass with a minimum age of files has a position of its own, and does not count as a verification of all.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from filestored.storage.disk.layout import is_bucket_name

MAX_NAMED_FILES = 1000
"""Maximum number of corrupt, and of unreadable files that the state names; more are counted."""

VERSION = 1
_FULL = "all"
_MAX_TIME = 1e11  # the year 5138
_NAME = re.compile(r"[0-9a-f]*", re.ASCII)


class Position(NamedTuple):
    """The last verified file: its bucket, empty for the default one, and its name, empty before the first."""

    bucket: str = ""
    name: str = ""


START = Position()


@dataclass
class Findings:
    """Faulty files: their number, and the reasons by name for the first `MAX_NAMED_FILES` of them."""

    count: int = 0
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, reason: str) -> None:
        """Add a file, once."""
        if name in self.reasons:
            return
        self.count += 1
        if len(self.reasons) < MAX_NAMED_FILES:
            self.reasons[name] = reason


@dataclass
class Pass:
    """A pass over all files that are not younger than `older_than` seconds at its start. Times since 1970."""

    started: float
    older_than: float | None = None
    position: Position = START
    files: int = 0
    bytes: int = 0
    finished: float | None = None
    corrupt: Findings = field(default_factory=Findings)
    unreadable: Findings = field(default_factory=Findings)

    @property
    def before(self) -> float | None:
        """Return the time before which files must have been stored; None without such a limit."""
        return None if self.older_than is None else self.started - self.older_than

    @property
    def is_faultless(self) -> bool:
        """True if no file was corrupt or unreadable."""
        return not (self.corrupt.count or self.unreadable.count)


@dataclass
class State:
    """Unfinished passes by minimum age, and the last finished pass over all files."""

    unfinished: dict[str, Pass] = field(default_factory=dict)
    last: Pass | None = None

    def find(self, older_than: float | None) -> Pass | None:
        """Return the unfinished pass with this minimum age."""
        return self.unfinished.get(_key(older_than))

    def begin(self, now: float, older_than: float | None) -> Pass:
        """Add a new pass, in place of an unfinished one."""
        begun = self.unfinished[_key(older_than)] = Pass(now, older_than)
        return begun

    def finish(self, done: Pass, now: float) -> None:
        """Record that a pass is finished."""
        done.finished = now
        self.unfinished.pop(_key(done.older_than), None)
        if done.older_than is None:
            self.last = done

    def seconds_until_due(self, every: float, now: float) -> float:
        """Return the seconds until the next pass; 0 if it is due, or if one is unfinished.

        A pass is due `every` seconds after the start of the last one, also if the clock was set back.
        """
        if self.last is None or self.find(None) is not None:
            return 0.0
        return max(0.0, every - abs(now - self.last.started))

    def to_json(self, **more: object) -> bytes:
        """Return one line of JSON, with `more` fields."""
        return json.dumps({"version": VERSION, **asdict(self), **more}).encode() + b"\n"


def parse(text: bytes) -> State:
    """Return the state of JSON; an empty one if it is damaged, so that a new pass begins."""
    try:
        fields = json.loads(text)
        unfinished = {str(key): _pass(each) for key, each in fields["unfinished"].items()}
        last = fields["last"]
        return State(unfinished, None if last is None else _pass(last))
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        return State()


def _key(older_than: float | None) -> str:
    return _FULL if older_than is None else f"{older_than:g}"


def _pass(fields: Mapping[str, Any]) -> Pass:
    older_than, finished = fields["older_than"], fields["finished"]
    return Pass(
        _time(fields["started"]),
        None if older_than is None else _time(older_than),
        _position(*fields["position"]),
        int(fields["files"]),
        int(fields["bytes"]),
        None if finished is None else _time(finished),
        _findings(**fields["corrupt"]),
        _findings(**fields["unreadable"]),
    )


def _time(seconds: float) -> float:
    """Return a time, or a duration. Raises `ValueError` or `TypeError`."""
    if not 0 <= seconds <= _MAX_TIME:
        raise ValueError(f"{seconds!r} is no time")
    return float(seconds)


def _position(bucket: str, name: str) -> Position:
    if not (_NAME.fullmatch(name) and (not bucket or is_bucket_name(bucket))):
        raise ValueError("no name of a bucket and a file")
    return Position(bucket, name)


def _findings(count: int, reasons: Mapping[str, str]) -> Findings:
    return Findings(int(count), {_printable(name): _printable(each) for name, each in reasons.items()})


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)
