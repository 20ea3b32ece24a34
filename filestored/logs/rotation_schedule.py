"""Rotation schedule: the size or time at which a new log file begins. Pure.

The forms are those of loguru: ``100 MB``; ``1 day`` or ``1 h 30 min``; ``daily``; ``00:00``; ``monday``;
``monday at 12:00``. Times of day are local. Sizes are in bytes, as in the other options.
"""

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from filestored.settings import parse_size

_INTERVALS = {
    ("s", "sec", "secs", "second", "seconds"): 1.0,
    ("min", "mins", "minute", "minutes"): 60.0,
    ("h", "hour", "hours"): 3600.0,
    ("d", "day", "days"): 86400.0,
    ("w", "week", "weeks"): 7 * 86400.0,
    ("month", "months"): 30 * 86400.0,
    ("y", "year", "years"): 365 * 86400.0,
}
SECONDS = {name: seconds for names, seconds in _INTERVALS.items() for name in names}
"""Seconds per unit of an interval."""

_FREQUENCIES = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month", "yearly": "year"}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_PART = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)\s*([a-z]+)[\s,]*", re.ASCII)
_CLOCK = re.compile(r"([0-9]{1,2})(?::([0-9]{2}))(?::([0-9]{2}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class RotationSchedule:
    """A new file begins before it exceeds `max_size` bytes, `seconds` after its start, or at a local time.

    `at` is a time of day, on one `weekday` (Monday is 0) or every day; `frequency` is the word of a calendar
    unit, whose beginning starts a new file. The fields that do not apply are None.
    """

    max_size: int | None = None
    seconds: float | None = None
    at: time | None = None
    weekday: int | None = None
    frequency: str | None = None

    @classmethod
    def parse(cls, text: str) -> "RotationSchedule":
        """Parse a size, an interval or a time. Raises `ValueError`."""
        words = text.strip().lower()
        if words in _FREQUENCIES:
            return cls(frequency=_FREQUENCIES[words])
        if seconds := _interval(words):
            return cls(seconds=seconds)
        try:
            return _daytime(words) or cls(max_size=_size(words))
        except ValueError:
            raise ValueError(
                f"{text!r} is neither a size such as '100 MB' nor a time such as '1 day', '00:00' or 'monday'"
            ) from None

    def is_due(self, size: int, added: int, began: float, now: float) -> bool:
        """Return whether a file of `size` bytes ends before `added` bytes more; times since the epoch."""
        if self.max_size is not None:
            return size > 0 and size + added > self.max_size
        if self.seconds is not None:
            return now >= began + self.seconds
        return now >= self._next(datetime.fromtimestamp(began)).timestamp()

    def _next(self, began: datetime) -> datetime:
        """Return the first time of the schedule after `began`, local and without a zone."""
        if self.frequency is not None:
            return _next_unit(began, self.frequency)
        assert self.at is not None
        found = datetime.combine(began.date(), self.at)
        while found <= began or self.weekday not in (None, found.weekday()):
            found += timedelta(days=1)
        return found


def _next_unit(began: datetime, unit: str) -> datetime:
    """Return the beginning of the next hour, day, week, month or year."""
    midnight = datetime.combine(began.date(), time())
    if unit == "hour":
        return midnight + timedelta(hours=began.hour + 1)
    if unit == "day":
        return midnight + timedelta(days=1)
    if unit == "week":
        return midnight + timedelta(days=7 - began.weekday())
    if unit == "month":
        return (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
    return midnight.replace(year=began.year + 1, month=1, day=1)


def _size(words: str) -> int:
    """Parse a size with a unit, which may have a fraction. Raises `ValueError`."""
    match = re.fullmatch(r"([0-9]{1,18})(\.[0-9]{1,3})?\s*([kmgt]?i?b)", words, re.ASCII)
    if match is None:
        raise ValueError(words)
    unit = parse_size(f"1 {match[3]}")
    return max(1, int(float(f"{match[1]}{match[2] or ''}") * unit))


def _interval(words: str) -> float:
    """Return the seconds of an interval such as ``1 h 30 min``; 0 for other words."""
    parts = _PART.findall(words)
    if _PART.sub("", words) or any(unit not in SECONDS for _, unit in parts):
        return 0.0
    return sum(float(number) * SECONDS[unit] for number, unit in parts)


def _daytime(words: str) -> RotationSchedule | None:
    """Parse ``00:00``, ``monday`` or ``monday at 00:00``; None for other words. Raises `ValueError`."""
    day, _, clock = words.partition(" at ") if " at " in words else ("", "", words)
    if words in _WEEKDAYS:
        day, clock = words, "00:00"
    match = _CLOCK.fullmatch(clock.strip())
    if match is None or day.strip() not in ("", *_WEEKDAYS):
        return None
    hour, minute, second = (int(each or 0) for each in match.groups())
    weekday = _WEEKDAYS.index(day.strip()) if day.strip() else None
    return RotationSchedule(at=time(hour, minute, second), weekday=weekday)
