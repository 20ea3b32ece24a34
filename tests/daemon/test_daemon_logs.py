"""The way of a line: kept until there is a sink, written once, whatever happens meanwhile."""

import errno
import glob
import gzip
import json
import os
import threading

import pytest
from loguru import logger
from twisted.logger import Logger

from filestored.daemon.settings import LogSettings
from filestored.logs.lines import Line
from filestored.logs.loguru_sink import LoguruSink
from filestored.logs.observer import LogObserver
from filestored.logs.pipe import PipeSink


class Collector:
    """A sink that keeps lines in memory, and may be told to do something while it writes."""

    def __init__(self, meanwhile=None):
        self.texts = []
        self.meanwhile = meanwhile

    def write(self, line):
        if self.meanwhile:
            self.meanwhile()
        self.texts.append(line.text)

    def reopen(self):
        self.texts.append("reopened")


@pytest.fixture(autouse=True)
def _quiet_afterwards():
    yield
    logger.remove()


def line(text, level="INFO"):
    return Line(level, "here", 7, text)


def read(path):
    return path.read_text(encoding="utf-8")


def unpacked(path):
    with gzip.open(path, "rt") as file:
        return file.read()


def finish_archives():
    for thread in [each for each in threading.enumerate() if each.name.startswith("archive ")]:
        thread.join()


def test_lines_before_the_sink_are_kept_in_order():
    observer, sink = LogObserver(), Collector()
    log = Logger(observer=observer)
    log.info("one")
    log.info("two")
    observer.attach(sink)
    log.info("three")
    assert ["one", "two", "three"] == sink.texts


def test_a_line_from_within_a_line_follows_it():
    """As a signal handler logs that interrupts the writing of a line."""
    observer = LogObserver()
    said = []

    def interrupt():
        if not said:
            said.append(True)
            observer.write(line("from the handler"))

    sink = Collector(interrupt)
    observer.attach(sink)
    observer.write(line("interrupted"))
    assert ["interrupted", "from the handler"] == sink.texts


def test_many_threads_lose_no_line():
    observer, sink = LogObserver(), Collector()
    observer.attach(sink)

    def talk(name):
        for number in range(200):
            observer.write(line(f"{name} {number}"))

    threads = [threading.Thread(target=talk, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    observer.write(line("last"))
    assert 1601 == len(sink.texts) == len(set(sink.texts))


def test_braces_and_markup_stay_as_they_are(tmp_path):
    sink = LoguruSink(LogSettings(), str(tmp_path / "log"))
    sink.write(line("GET /{time} <red>{}</red> %s {0!r}"))
    assert "GET /{time} <red>{}</red> %s {0!r}\n" in read(tmp_path / "log")


def test_a_line_says_level_process_source_and_text(tmp_path):
    LoguruSink(LogSettings(), str(tmp_path / "log")).write(line("hello", "WARNING"))
    assert read(tmp_path / "log").endswith(" | WARNING  | 7 here | hello\n")


def test_lines_below_the_level_are_not_written(tmp_path):
    sink = LoguruSink(LogSettings(level="WARNING"), str(tmp_path / "log"))
    sink.write(line("quiet"))
    sink.write(line("loud", "ERROR"))
    assert "quiet" not in read(tmp_path / "log")
    assert "loud" in read(tmp_path / "log")


def test_json_is_one_object_a_line(tmp_path):
    sink = LoguruSink(LogSettings(json=True), str(tmp_path / "log"))
    sink.write(line("a {brace}\n    and <more>"))
    sink.write(line("b"))
    found = [json.loads(text) for text in read(tmp_path / "log").splitlines()]
    assert ["a {brace}\n    and <more>", "b"] == [each["message"] for each in found]
    assert {"time", "level", "process", "source", "message"} == set(found[0])
    assert (7, "here", "INFO") == (found[0]["process"], found[0]["source"], found[0]["level"])


def test_text_that_is_no_unicode_is_written_all_the_same(tmp_path):
    LoguruSink(LogSettings(), str(tmp_path / "log")).write(line("name \udcff"))
    assert "name \\udcff" in read(tmp_path / "log")


def test_rotation_compresses_and_loses_no_line(tmp_path):
    sink = LoguruSink(LogSettings(rotation="2 KB"), str(tmp_path / "log"))
    for number in range(200):
        sink.write(line(f"number {number:03}."))
    finish_archives()
    rotated = glob.glob(str(tmp_path / "*.gz"))
    assert len(rotated) > 3
    assert len(rotated) + 1 == len(os.listdir(tmp_path))
    text = read(tmp_path / "log") + "".join(map(unpacked, rotated))
    assert {f"number {number:03}." for number in range(200)} == {
        part.rsplit("| ", 1)[1] for part in text.splitlines()
    }


def test_retention_keeps_so_many_files_and_nothing_else_is_touched(tmp_path):
    for name in ("log.conf", "log.1", "other.log"):
        (tmp_path / name).write_text("mine")
    sink = LoguruSink(LogSettings(rotation="1 KB", retention="2"), str(tmp_path / "log"))
    for number in range(200):
        sink.write(line(f"number {number}"))
    finish_archives()
    names = set(os.listdir(tmp_path)) - {"log", "log.conf", "log.1", "other.log"}
    assert 2 == len(names)
    assert all(name.endswith(".gz") for name in names)
    assert 4 == len(set(os.listdir(tmp_path)) - names)


def test_reopening_after_a_move_begins_a_new_file(tmp_path):
    observer = LogObserver()
    observer.attach(LoguruSink(LogSettings(), str(tmp_path / "log")))
    observer.write(line("old"))
    os.rename(tmp_path / "log", tmp_path / "log.1")
    observer.write(line("still old"))
    observer.reopen()
    observer.write(line("new"))
    assert 2 == read(tmp_path / "log.1").count("old")
    assert 1 == read(tmp_path / "log").count("\n")


def test_a_file_that_cannot_be_reopened_goes_on_as_before(tmp_path, capfd):
    observer = LogObserver()
    (tmp_path / "dir").mkdir()
    observer.attach(LoguruSink(LogSettings(), str(tmp_path / "dir" / "log")))
    os.rename(tmp_path / "dir", tmp_path / "moved")
    (tmp_path / "dir").write_text("in the way")
    observer.reopen()
    observer.write(line("still here"))
    assert "still here" in read(tmp_path / "moved" / "log")
    assert "cannot be opened again" in capfd.readouterr().err


def test_a_full_disk_under_the_log_costs_the_line_and_nothing_else(capfd):
    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    observer, sink = LogObserver(), Collector(full)
    observer.attach(sink)
    observer.write(line("lost"))
    sink.meanwhile = None
    observer.write(line("kept"))
    assert ["kept"] == sink.texts
    assert "a line of the log is lost ([Errno 28] No space left on device): lost" in capfd.readouterr().err


def test_a_worker_writes_json_lines_of_interest():
    reading, writing = os.pipe()
    sink = PipeSink(writing, "INFO")
    sink.write(line("debug", "DEBUG"))
    sink.write(line("info"))
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert [line("info").to_json()] == pipe.readlines()


def test_a_worker_whose_supervisor_is_gone_goes_on(capfd):
    reading, writing = os.pipe()
    os.close(reading)
    observer = LogObserver()
    observer.attach(PipeSink(writing, "INFO"))
    observer.write(line("nobody reads this"))
    os.close(writing)
    assert "Broken pipe" in capfd.readouterr().err
