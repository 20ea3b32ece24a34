"""Rotation schedules: sizes, intervals, and times of day."""

from datetime import datetime

import pytest

from filestored.logs.rotation_schedule import RotationSchedule


def at(text):
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("100 MB", 10**8), ("1 kib", 1024), ("1.5 KB", 1500), ("5b", 5), ("2GiB", 2 << 30)],
)
def test_a_file_ends_before_it_exceeds_the_size(text, bytes_):
    schedule = RotationSchedule.parse(text)
    assert [False, True] == [schedule.is_due(1, bytes_ - 1 + more, 0.0, 1e9) for more in (0, 1)]
    assert not schedule.is_due(0, bytes_ + 1, 0.0, 1e9), "a line longer than that gets a file of its own"


@pytest.mark.parametrize(
    ("text", "following"),
    [
        ("10 min", "2026-11-26 10:40:00"),
        ("1 h 30 min", "2026-11-26 12:00:00"),
        ("2 days, 1 second", "2026-11-28 10:30:01"),
        ("hourly", "2026-11-26 11:00:00"),
        ("daily", "2026-11-27 00:00:00"),
        ("weekly", "2026-11-30 00:00:00"),
        ("monthly", "2026-12-01 00:00:00"),
        ("yearly", "2027-01-01 00:00:00"),
        ("00:00", "2026-11-27 00:00:00"),
        ("10:30", "2026-11-27 10:30:00"),
        ("10:30:01", "2026-11-26 10:30:01"),
        ("Thursday", "2026-12-03 00:00:00"),
        ("thursday at 23:00", "2026-11-26 23:00:00"),
        ("sunday at 12:00", "2026-11-29 12:00:00"),
    ],
)
def test_a_file_of_a_thursday_ends_at_this_time(text, following):
    schedule = RotationSchedule.parse(text)
    began = at("2026-11-26 10:30:00")
    assert not schedule.is_due(1, 1, began, at(following) - 0.001)
    assert schedule.is_due(1, 1, began, at(following))


@pytest.mark.parametrize(
    "text", ["", "often", "100", "0 days", "1 fortnight", "25:00", "00:60", "noday at 10:00", "-1 MB", "1 XB"]
)
def test_invalid_schedule_is_refused(text):
    with pytest.raises(ValueError):
        RotationSchedule.parse(text)
