"""Rotation of log files: expired files, compression, and that no file is lost."""

import fcntl
import gzip
import os
import time

import pytest

from filestored.logs.rotation import Retention, RotatedFiles, compress

DAY = 86400.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", Retention(count=7)),
        ("0", Retention(count=0)),
        ("10 days", Retention(seconds=10 * DAY)),
        ("1 day", Retention(seconds=DAY)),
        ("2weeks", Retention(seconds=14 * DAY)),
        (" 90 Minutes ", Retention(seconds=5400.0)),
        ("36 h", Retention(seconds=1.5 * DAY)),
    ],
)
def test_a_retention_is_a_count_or_a_time(text, expected):
    assert expected == Retention.parse(text)


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5 days", "10 parsecs", "days", "7 7"])
def test_invalid_retention_is_refused(text):
    with pytest.raises(ValueError):
        Retention.parse(text)


def dated(day):
    """Return the date that a rotation adds to the name of a file."""
    return f"2026-01-{day}_12-00-00_000000"


AGES = {"new": 1.0, "old": 3 * DAY, "older": 9 * DAY}


@pytest.mark.parametrize(
    ("retention", "expected"),
    [
        (Retention(), []),
        (Retention(count=5), []),
        (Retention(count=1), ["old", "older"]),
        (Retention(count=0), ["new", "old", "older"]),
        (Retention(seconds=5 * DAY), ["older"]),
        (Retention(seconds=0.0), ["new", "old", "older"]),
    ],
)
def test_expired_files_of_a_retention(retention, expected):
    assert expected == retention.expired(AGES)


def test_a_compressed_file_keeps_its_bytes_and_its_age(tmp_path):
    path = str(tmp_path / "log.2020")
    with open(path, "wb") as file:
        file.write(b"hello" * 1000)
    os.utime(path, (1e9, 1e9))
    compress(path)
    assert ["log.2020.gz"] == os.listdir(tmp_path)
    assert 1e9 == os.stat(f"{path}.gz").st_mtime
    with gzip.open(f"{path}.gz") as file:
        assert b"hello" * 1000 == file.read()


def test_a_file_of_the_same_name_is_not_overwritten(tmp_path):
    path = str(tmp_path / "log.2020")
    (tmp_path / "log.2020").write_bytes(b"second")
    (tmp_path / "log.2020.gz").write_bytes(b"first")
    with pytest.raises(FileExistsError):
        compress(path)
    assert {"log.2020": b"second", "log.2020.gz": b"first"} == {
        name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)
    }


@pytest.mark.parametrize("name", ["log", "log.txt"])
def test_uncompressed_files_of_an_earlier_daemon_are_compressed(tmp_path, name):
    left, _, extension = name.partition(".")
    rotated = [f"{left}.{dated(day)}{extension and '.'}{extension}" for day in ("01", "02", "03")]
    for each in rotated:
        (tmp_path / each).write_text(each)
    (tmp_path / f"{rotated[0]}.gz.part").write_bytes(b"half of it")
    (tmp_path / f"{rotated[1]}.gz").write_bytes(b"another file")
    (tmp_path / name).write_text("the log")
    RotatedFiles(str(tmp_path / name), Retention(), pytest.fail)._compress_and_prune()
    there = {name, f"{rotated[0]}.gz", rotated[1], f"{rotated[1]}.gz", f"{rotated[2]}.gz"}
    assert there == set(os.listdir(tmp_path))
    assert rotated[0] == gzip.decompress((tmp_path / f"{rotated[0]}.gz").read_bytes()).decode()


def test_error_with_one_file_is_reported_and_others_are_compressed(tmp_path):
    said = []
    (tmp_path / f"log.{dated('01')}").write_text("01")
    (tmp_path / f"log.{dated('01')}.gz.part").mkdir()
    for day, age in (("02", 9 * DAY), ("03", 2 * DAY)):
        (tmp_path / f"log.{dated(day)}").write_text(day)
        os.utime(tmp_path / f"log.{dated(day)}", (time.time() - age,) * 2)
    RotatedFiles(str(tmp_path / "log"), Retention(seconds=5 * DAY), said.append)._compress_and_prune()
    assert ["a rotated log file could not be compressed or removed"] == [line.split(":")[0] for line in said]
    kept = {f"log.{dated('01')}", f"log.{dated('01')}.gz.part", f"log.{dated('03')}.gz"}
    assert kept == set(os.listdir(tmp_path))


def test_file_that_another_process_compresses_counts_once(tmp_path, monkeypatch):
    """Another process removes expired files while a file and its compressed form both exist."""
    for day in ("01", "02"):
        (tmp_path / f"log.{dated(day)}").write_text(day)
        os.utime(tmp_path / f"log.{dated(day)}", (int(day), int(day)))
    first, second = (RotatedFiles(str(tmp_path / "log"), Retention(count=2), pytest.fail) for _ in range(2))
    unlink, between = os.unlink, iter([second._compress_and_prune])

    def interrupted(path):
        next(between, lambda: None)()
        unlink(path)

    monkeypatch.setattr(os, "unlink", interrupted)
    first._compress_and_prune()
    assert [f"log.{dated(day)}.gz" for day in ("01", "02")] == sorted(os.listdir(tmp_path))


def test_file_that_a_process_writes_to_is_not_compressed(tmp_path):
    path = tmp_path / f"log.{dated('01')}"
    path.write_text("01")
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        compress(str(path))
        assert [path.name] == os.listdir(tmp_path)
    compress(str(path))
    assert [f"{path.name}.gz"] == os.listdir(tmp_path)
