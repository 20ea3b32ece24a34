"""Rotation of a log file by one of several processes, and the files that are never rotated or removed."""

import fcntl
import gzip
import os
import stat
import threading

import pytest

from filestored.logs import log_file
from filestored.logs.log_file import LogFile
from filestored.logs.rotation import Retention, RotatedFiles
from filestored.settings import LogSettings
from tests.daemon_process import TIMEOUT

LINE = b"x" * 99 + b"\n"
ROTATING = LogSettings(rotation="1 KB", retention="0")
OURS = "2026-01-01_12-00-00_000000"


@pytest.fixture
def open_log(tmp_path):
    """A function that opens the log ``l.log``; each call is another process. Its `reports` are sentences."""
    opened, reports = [], []

    def open_it(path=str(tmp_path / "l.log"), settings=ROTATING):
        opened.append(LogFile(path, 0o640, settings, reports.append))
        opened[-1].open()
        return opened[-1]

    open_it.reports = reports
    yield open_it
    for each in opened:
        each.close()
    finish_rotation()


def finish_rotation():
    for thread in [each for each in threading.enumerate() if each.name.startswith("rotation ")]:
        thread.join()


def text_of(directory):
    data = b""
    for path in [os.path.join(directory, name) for name in os.listdir(directory)]:
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
            data += file.read()
    return data


def fill(*logs, lines=12):
    for _ in range(lines):
        for log in logs:
            log.write(LINE)


FOREIGN = [
    "l.2020-notes.log",
    "l.2026-01-01.log",
    f"l.{OURS}.log.1",
    f"l.{OURS}.x.log",
    f"l.{OURS}.notes",
    f"l.{OURS}.notes.gz",
    f"l.{OURS}.log.bz2",
    f"l.{OURS}.log.gz.gz",
    f"l.log.{OURS}",
    f"l.log.{OURS}.access",
    f"xl.{OURS}.log",
    "l.2020-notes.log.gz",
    f"l.{OURS[:-1]}.log",
]


@pytest.mark.parametrize("name", FOREIGN)
def test_retention_removes_and_compresses_no_file_of_another_form(open_log, tmp_path, name):
    (tmp_path / name).write_text("mine")
    fill(open_log())
    finish_rotation()
    assert "mine" == (tmp_path / name).read_text()
    assert {name, "l.log"} == set(os.listdir(tmp_path))


@pytest.mark.parametrize("name", [f"l.{OURS}.log", f"l.{OURS}.2.log", f"l.{OURS}.log.gz"])
def test_retention_removes_rotated_files_of_an_earlier_daemon(open_log, tmp_path, name):
    (tmp_path / name).write_text("rotated")
    fill(open_log())
    finish_rotation()
    assert ["l.log"] == os.listdir(tmp_path)


@pytest.mark.parametrize("suffix", ["", ".gz", ".gz.part"])
def test_links_and_directories_with_the_name_of_a_rotated_file_are_kept(tmp_path, suffix):
    (tmp_path / "precious").write_text("mine")
    os.symlink("precious", tmp_path / f"l.{OURS}.log{suffix}")
    os.mkdir(tmp_path / f"l.{OURS}.2.log{suffix}")
    RotatedFiles(str(tmp_path / "l.log"), Retention(count=0), pytest.fail)._compress_and_prune()
    assert "mine" == (tmp_path / "precious").read_text()
    assert {"precious", f"l.{OURS}.log{suffix}", f"l.{OURS}.2.log{suffix}"} == set(os.listdir(tmp_path))


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_compression_writes_to_no_file_behind_a_link(tmp_path, make):
    reports = []
    (tmp_path / "precious").write_text("mine")
    (tmp_path / f"l.{OURS}.log").write_text("rotated")
    make(tmp_path / "precious", tmp_path / f"l.{OURS}.log.gz.part")
    RotatedFiles(str(tmp_path / "l.log"), Retention(), reports.append)._compress_and_prune()
    assert "mine" == (tmp_path / "precious").read_text()
    assert "rotated" == (tmp_path / f"l.{OURS}.log").read_text()
    assert 1 == len(reports)


def test_partial_file_without_a_rotated_file_is_removed(tmp_path):
    (tmp_path / f"l.{OURS}.log.gz.part").write_text("half of it")
    RotatedFiles(str(tmp_path / "l.log"), Retention(), pytest.fail)._compress_and_prune()
    assert [] == os.listdir(tmp_path)


def test_a_name_that_is_used_is_not_given_again(tmp_path):
    rotated = RotatedFiles(str(tmp_path / "l.log"), Retention(), pytest.fail)
    first = rotated.free_name(1e9)
    os.symlink("nowhere", first)
    second = rotated.free_name(1e9)
    (tmp_path / f"{os.path.basename(second)}.gz").write_text("compressed")
    third = rotated.free_name(1e9)
    assert [".2.log", ".3.log"] == [second[-6:], third[-6:]]


# --- what is not rotated ------------------------------------------------------------------------


def test_a_symbolic_link_as_log_is_kept_and_its_file_grows(open_log, tmp_path):
    os.symlink("target", tmp_path / "l.log")
    fill(open_log())
    assert os.path.islink(tmp_path / "l.log")
    assert 12 * LINE == (tmp_path / "target").read_bytes()
    assert {"l.log", "target"} == set(os.listdir(tmp_path))
    assert [f"{tmp_path}/l.log is not a regular file, and is not rotated"] == open_log.reports


def test_a_link_to_an_open_descriptor_is_kept(open_log, tmp_path):
    with open(tmp_path / "stderr", "wb") as file:
        os.symlink(f"/proc/self/fd/{file.fileno()}", tmp_path / "l.log")
        fill(open_log())
    assert os.path.islink(tmp_path / "l.log")
    assert 12 * LINE == (tmp_path / "stderr").read_bytes()


def test_a_device_is_not_rotated(open_log):
    fill(open_log("/dev/null"))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert ["/dev/null is not a regular file, and is not rotated"] == open_log.reports


def test_a_link_in_the_place_of_the_log_is_kept(open_log, tmp_path):
    log = open_log()
    fill(log, lines=1)
    os.unlink(tmp_path / "l.log")
    os.symlink("target", tmp_path / "l.log")
    fill(log)
    assert os.path.islink(tmp_path / "l.log")
    assert 12 * LINE == (tmp_path / "target").read_bytes()


def test_a_log_that_cannot_be_renamed_goes_on_in_the_old_file_and_that_is_said_once(
    open_log, tmp_path, monkeypatch
):
    def refuse(*args, **keywords):
        raise PermissionError(13, "Permission denied")

    log = open_log()
    monkeypatch.setattr(os, "rename", refuse)
    fill(log, lines=40)
    assert 40 * LINE == (tmp_path / "l.log").read_bytes()
    assert ["Permission denied"] == [text.rpartition(": ")[2] for text in open_log.reports]


def test_a_file_that_cannot_be_created_again_keeps_its_name(open_log, tmp_path, monkeypatch):
    log = open_log()

    def refuse(path, flags):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log, "_create", refuse)
    fill(log, lines=40)
    assert 40 * LINE == (tmp_path / "l.log").read_bytes()
    assert ["No space left on device"] == [text.rpartition(": ")[2] for text in open_log.reports]


# --- several processes --------------------------------------------------------------------------


def numbered(log, name, lines):
    for number in range(lines):
        log.write(f"{name} {number}".ljust(99).encode() + b"\n")


def test_one_of_several_processes_rotates_and_no_line_is_lost(open_log, tmp_path):
    settings = LogSettings(rotation="1 KB")
    logs = {name: open_log(settings=settings) for name in "abc"}
    threads = [threading.Thread(target=numbered, args=(log, name, 100)) for name, log in logs.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    finish_rotation()
    found = sorted(line.rstrip() for line in text_of(tmp_path).splitlines())
    assert sorted(f"{name} {number}".encode() for name in logs for number in range(100)) == found
    assert 30 == len(os.listdir(tmp_path))
    assert [] == open_log.reports


@pytest.mark.parametrize("operation", [fcntl.LOCK_SH, fcntl.LOCK_EX])
def test_lock_of_a_reader_stops_neither_the_log_nor_later_rotations(open_log, tmp_path, operation):
    log = open_log(settings=LogSettings(rotation="1 KB"))
    with open(tmp_path / "l.log", "rb") as reader:
        fcntl.flock(reader, operation)
        writing = threading.Thread(target=numbered, args=(log, "a", 30), daemon=True)
        writing.start()
        writing.join(TIMEOUT)
        assert not writing.is_alive()
        assert [f"a {number}".encode() for number in range(30)] == lines_in(tmp_path / "l.log")
    assert [
        f"{tmp_path}/l.log is locked by another program, and is not rotated meanwhile"
    ] == open_log.reports
    numbered(log, "b", 2)
    finish_rotation()
    assert [b"b 0", b"b 1"] == lines_in(tmp_path / "l.log")
    assert 2 == len(os.listdir(tmp_path))


def test_rotation_while_a_process_waits_for_the_lock_loses_no_line(open_log, tmp_path, monkeypatch):
    """A reader's lock follows that of the process that rotates, so the other gets a shared one only."""
    settings = LogSettings(rotation="1 KB")
    first, second = open_log(settings=settings), open_log(settings=settings)
    numbered(first, "a", 10)

    def rotate_meanwhile(descriptor, operation, tries):
        monkeypatch.undo()
        numbered(first, "a", 1)
        finish_rotation()
        return False

    monkeypatch.setattr(log_file, "lock", rotate_meanwhile)
    numbered(second, "b", 1)
    finish_rotation()
    assert 12 == text_of(tmp_path).count(b"\n")


def lines_in(path):
    return [line.rstrip() for line in path.read_bytes().splitlines()]


def without_descriptors(monkeypatch, log, failures):
    """Let the next openings of a log fail with EMFILE; `failures` is their number."""
    create, left = log._create, iter(range(failures))

    def refuse(path, flags):
        if next(left, None) is not None:
            raise OSError(24, "Too many open files")
        return create(path, flags)

    monkeypatch.setattr(log, "_create", refuse)


def test_failed_open_after_a_rotation_by_another_process_is_tried_again(open_log, tmp_path, monkeypatch):
    settings = LogSettings(rotation="1 KB")
    first, second = open_log(settings=settings), open_log(settings=settings)
    numbered(first, "a", 11)
    finish_rotation()  # the old file is compressed and removed
    without_descriptors(monkeypatch, second, 3)
    numbered(second, "b", 1)
    assert [b"a 10", b"b 0"] == lines_in(tmp_path / "l.log")
    assert [f"{tmp_path}/l.log cannot be opened: Too many open files"] == open_log.reports


def test_write_is_an_error_once_the_new_file_cannot_be_opened_for_long(open_log, tmp_path, monkeypatch):
    settings = LogSettings(rotation="1 KB")
    first, second = open_log(settings=settings), open_log(settings=settings)
    numbered(first, "a", 11)
    finish_rotation()
    without_descriptors(monkeypatch, second, 1000)
    monkeypatch.setattr(log_file, "MAX_OPEN_SECONDS", 0.0)
    with pytest.raises(OSError, match="Too many open files"):
        numbered(second, "b", 1)


def test_renamed_file_gets_the_lines_that_no_new_file_can_get(open_log, tmp_path, monkeypatch):
    settings = LogSettings(rotation="1 KB")
    first, second = open_log(settings=settings), open_log(settings=settings)
    with monkeypatch.context() as patch:
        patch.setattr(RotatedFiles, "on_rotated", lambda self: None)
        numbered(first, "a", 11)
    without_descriptors(monkeypatch, second, 1000)
    numbered(second, "b", 5)
    RotatedFiles(str(tmp_path / "l.log"), Retention(), pytest.fail)._compress_and_prune()
    assert 16 == text_of(tmp_path).count(b"\n")
    assert 1 == len(open_log.reports)


def test_failed_rotation_replaces_no_file_that_another_process_has_created(open_log, tmp_path, monkeypatch):
    log = open_log(settings=LogSettings(rotation="1 KB"))
    numbered(log, "a", 10)

    def refuse(path, flags):
        (tmp_path / "l.log").write_bytes(b"of another process\n")
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(log, "_create", refuse)
    log.write(b"b\n" * 50)
    text = text_of(tmp_path)
    assert (10, 50, 1) == (text.count(b"a "), text.count(b"b\n"), text.count(b"of another process\n"))


def test_file_is_compressed_after_the_next_rotation_when_no_thread_can_be_started(
    open_log, tmp_path, monkeypatch
):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    log = open_log(settings=LogSettings(rotation="1 KB"))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        numbered(log, "a", 15)
    assert 15 == text_of(tmp_path).count(b"\n")
    numbered(log, "b", 10)
    finish_rotation()
    assert 25 == text_of(tmp_path).count(b"\n")
    assert 2 == sum(name.endswith(".gz") for name in os.listdir(tmp_path))


def test_a_new_file_has_the_mode_of_the_old_one(open_log, tmp_path):
    log = open_log()
    os.chmod(tmp_path / "l.log", 0o604)
    fill(log)
    assert 0o604 == stat.S_IMODE(os.stat(tmp_path / "l.log").st_mode)


def test_a_deleted_log_with_rotation_is_created_again(open_log, tmp_path):
    log = open_log()
    fill(log, lines=1)
    os.unlink(tmp_path / "l.log")
    fill(log, lines=2)
    assert 2 * LINE == (tmp_path / "l.log").read_bytes()


def test_an_interval_counts_from_the_beginning_of_the_file_across_restarts(open_log, tmp_path):
    settings = LogSettings(rotation="1 day")
    first = open_log(settings=settings)
    fill(first, lines=1)
    first._set_began(1e9)
    os.utime(tmp_path / "l.log", (1e9, 1e9))  # for a file system without extended attributes
    fill(open_log(settings=settings), lines=1)
    finish_rotation()
    assert 2 == len(os.listdir(tmp_path))
    assert LINE == (tmp_path / "l.log").read_bytes()
