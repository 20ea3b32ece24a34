"""The way of a line: kept until there is a sink, written once, whatever happens meanwhile."""

import errno
import glob
import gzip
import json
import os
import re
import threading
from contextlib import contextmanager

import pytest
from loguru import logger
from twisted.logger import Logger, LogLevel

from filestored.logs.log_file import write_all
from filestored.logs.log_line import LogLine, from_event
from filestored.logs.loguru_sink import LoguruSink
from filestored.logs.observer import LogObserver, write_line
from filestored.logs.pipe_sink import MAX_WAITING_BYTES, PipeSink
from filestored.logs.writer_thread import MAX_QUEUED_BYTES, ThreadedSink
from filestored.settings import LEVELS, LogSettings


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

    def finish(self, seconds):
        pass


@pytest.fixture(autouse=True)
def _quiet_afterwards():
    yield
    logger.remove()


def line(text, level="INFO"):
    return LogLine(level, "here", 7, text)


def read(path):
    return path.read_text(encoding="utf-8")


def unpacked(path):
    with gzip.open(path, "rt") as file:
        return file.read()


def finish_rotation():
    for thread in [each for each in threading.enumerate() if each.name.startswith("rotation ")]:
        thread.join()


def test_lines_before_the_sink_is_attached_are_kept_in_order():
    observer, sink = LogObserver(), Collector()
    log = Logger(observer=observer)
    log.info("one")
    log.info("two")
    observer.attach(sink)
    log.info("three")
    assert ["one", "two", "three"] == sink.texts


def test_line_logged_while_writing_follows():
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


def test_braces_and_markup_are_written_literally(tmp_path):
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


@contextmanager
def stderr_on_the_journal(ends, monkeypatch):
    """Have stderr lead to the pipe, which counts as the journal of systemd."""
    before = os.dup(2)
    os.dup2(ends[1], 2)
    try:
        found = os.fstat(2)
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


@pytest.mark.parametrize("level", LEVELS)
def test_each_line_of_a_traceback_has_the_priority(monkeypatch, ends, level):
    with stderr_on_the_journal(ends, monkeypatch):
        LoguruSink(LogSettings(level="DEBUG"), None).write(line("an error\n    in a line", level))
    priorities = {"DEBUG": b"<7>", "INFO": b"<6>", "WARNING": b"<4>", "ERROR": b"<3>", "CRITICAL": b"<2>"}
    assert [priorities[level]] * 2 == [text[:3] for text in read_all(ends[0]).splitlines()]


def test_each_line_of_a_lost_traceback_has_the_priority_of_an_error(monkeypatch, ends):
    class Full(Collector):
        def write(self, line):
            raise OSError(errno.ENOSPC, "no space")

    with stderr_on_the_journal(ends, monkeypatch):
        write_line(Full(), line("an error\n    in a line\n    in another", "INFO"))
    text = read_all(ends[0])
    assert [b"<3>"] * 3 == [each[:3] for each in text.splitlines()]
    assert b"<3>filestored: a line of the log is lost" in text


def test_text_line_has_the_request_id_in_brackets_and_json_a_field(tmp_path):
    about = LogLine("ERROR", "here", 7, "failed\n    in {a} line", request_id="a-1")
    LoguruSink(LogSettings(), str(tmp_path / "log")).write(about)
    assert read(tmp_path / "log").endswith(" | ERROR    | 7 here | [a-1] failed\n    in {a} line\n")
    LoguruSink(LogSettings(json=True), str(tmp_path / "json")).write(about)
    found = json.loads(read(tmp_path / "json"))
    assert ("a-1", about.text) == (found["request_id"], found["message"])


def test_request_id_of_a_line_reaches_the_supervisor(ends):
    PipeSink(ends[1], "INFO").write(LogLine("ERROR", "here", 7, "failed", request_id="a-1"))
    assert "a-1" == LogLine(**json.loads(read_all(ends[0]))).request_id


@pytest.mark.parametrize(
    ("namespace", "level", "expected"),
    [
        ("log_legacy", LogLevel.info, "DEBUG"),
        ("twisted.internet.base", LogLevel.info, "DEBUG"),
        ("log_legacy", LogLevel.critical, "CRITICAL"),
        ("twisted.internet.base", LogLevel.warn, "WARNING"),
        ("twistedfiles", LogLevel.info, "INFO"),
    ],
)
def test_lines_of_twisted_without_a_fault_are_of_level_debug(namespace, level, expected):
    event = {"log_namespace": namespace, "log_level": level, "log_format": "x"}
    assert expected == from_event(event).level


def test_surrogates_are_written_escaped(tmp_path):
    LoguruSink(LogSettings(), str(tmp_path / "log")).write(line("name \udcff"))
    assert "name \\udcff" in read(tmp_path / "log")


def test_rotation_compresses_and_loses_no_line(tmp_path):
    sink = LoguruSink(LogSettings(rotation="2 KB"), str(tmp_path / "log"))
    for number in range(200):
        sink.write(line(f"number {number:03}."))
    finish_rotation()
    rotated = glob.glob(str(tmp_path / "*.gz"))
    assert len(rotated) > 3
    assert len(rotated) + 1 == len(os.listdir(tmp_path))
    text = read(tmp_path / "log") + "".join(map(unpacked, rotated))
    assert {f"number {number:03}." for number in range(200)} == {
        part.rsplit("| ", 1)[1] for part in text.splitlines()
    }


def test_retention_keeps_a_number_of_files_and_touches_no_others(tmp_path):
    for name in ("log.conf", "log.1", "other.log"):
        (tmp_path / name).write_text("mine")
    sink = LoguruSink(LogSettings(rotation="1 KB", retention="2"), str(tmp_path / "log"))
    for number in range(200):
        sink.write(line(f"number {number}"))
    finish_rotation()
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


# --- a worker's pipe ----------------------------------------------------------------------------


class Watching:
    """A reactor, as far as a pipe asks it for turns."""

    def __init__(self):
        self.writers = []

    def callFromThread(self, function, *args):
        function(*args)

    def addWriter(self, writer):
        self.writers.append(writer)

    def removeWriter(self, writer):
        self.writers.remove(writer)

    def turn(self):
        for writer in list(self.writers):
            writer.doWrite()


@pytest.fixture
def ends():
    """The reading and the writing end of a pipe; what is read does not block."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def read_all(reading, turn=lambda: None):
    """Read what is in the pipe and what `turn` writes to it."""
    data = b""
    while True:
        try:
            data += os.read(reading, 1 << 20)
        except BlockingIOError:
            return data
        turn()


def texts(data):
    return [json.loads(text) for text in data.splitlines()]


def filled(sink, size=1000):
    """Write lines until one is dropped; return how many are in the pipe or wait."""
    number = 0
    while not sink._dropped:
        sink.write(line(f"{number:06} {'x' * size}"))
        number += 1
    return number - 1


def test_pipe_sink_writes_json_lines_of_the_level(ends):
    sink = PipeSink(ends[1], "INFO")
    sink.write(line("debug", "DEBUG"))
    sink.write(line("info"))
    assert line("info").to_json() == read_all(ends[0])


def test_a_full_pipe_does_not_block_and_dropped_lines_are_counted(ends):
    sink, reactor, dropped = PipeSink(ends[1], "INFO"), Watching(), []
    sink.watch(reactor)
    sink.on_dropped = dropped.append
    kept = filled(sink)
    assert kept * 1120 > MAX_WAITING_BYTES + 60_000
    for _ in range(9):
        sink.write(line("x" * 1000))
    found = texts(read_all(ends[0], reactor.turn))
    assert [f"{number:06}" for number in range(kept)] == [each["text"][:6] for each in found[:-1]]
    assert "10 lines of the log were dropped" in found[-1]["text"]
    assert 10 == sum(dropped)
    sink.write(line("again"))
    assert ["again"] == [each["text"] for each in texts(read_all(ends[0]))]
    assert [] == reactor.writers


def test_control_messages_are_never_dropped_and_precede_lines_that_wait(ends):
    sink, reactor = PipeSink(ends[1], "INFO"), Watching()
    sink.watch(reactor)
    kept = filled(sink)
    for _ in range(3):
        sink.send("alive")
    found = texts(read_all(ends[0], reactor.turn))
    assert 3 == found.count("alive")
    assert kept + 1 + 3 == len(found)
    in_pipe = 65536 // 1000 + 1
    assert set(range(in_pipe)) > {number for number, each in enumerate(found) if each == "alive"}


def test_lines_written_before_the_reactor_is_known_are_sent_by_it(ends):
    sink, reactor = PipeSink(ends[1], "INFO"), Watching()
    kept = filled(sink)
    sink.watch(reactor)
    assert kept + 1 == len(texts(read_all(ends[0], reactor.turn)))


def test_finish_waits_for_a_reader_for_a_bounded_time(ends):
    sink = PipeSink(ends[1], "INFO")
    kept = filled(sink)
    sink.finish(0.05)
    reader = threading.Thread(target=sink.finish, args=(20,))
    reader.start()
    data = b""
    while reader.is_alive():
        data += read_all(ends[0])
    data += read_all(ends[0])
    assert kept + 1 == len(texts(data))


def test_threads_and_the_reactor_lose_no_line_of_a_pipe(ends):
    sink, observer = PipeSink(ends[1], "INFO"), LogObserver()
    observer.attach(sink)
    data, over = [], threading.Event()

    def talk(name):
        for number in range(200):
            observer.write(line(f"{name} {number}"))

    def drain():
        while not over.is_set():
            data.append(read_all(ends[0]))

    threads = [threading.Thread(target=talk, args=(name,)) for name in range(4)]
    reader = threading.Thread(target=drain)
    for thread in (*threads, reader):
        thread.start()
    for _ in range(200):
        sink.send("alive")
    for thread in threads:
        thread.join()
    observer.finish(20)
    over.set()
    reader.join()
    found = texts(b"".join([*data, read_all(ends[0])]))
    assert 200 == found.count("alive")
    assert 800 == len({each["text"] for each in found if each != "alive"})


def test_pipe_sink_survives_a_closed_pipe(capfd):
    reading, writing = os.pipe()
    os.close(reading)
    observer, sink = LogObserver(), PipeSink(writing, "INFO")
    observer.attach(sink)
    observer.write(line("nobody reads this"))
    sink.send("alive")
    sink.finish(20)
    os.close(writing)
    assert "Broken pipe" in capfd.readouterr().err


# --- a thread that writes -----------------------------------------------------------------------


class Stalling(Collector):
    """A sink that writes nothing until it is let go, and may fail."""

    def __init__(self):
        super().__init__(self._wait)
        self.going = threading.Event()
        self.errors = []

    def _wait(self):
        assert self.going.wait(20)
        if self.errors:
            raise self.errors.pop()


def test_a_sink_that_stalls_blocks_no_one_and_dropped_lines_are_counted():
    sink, dropped = Stalling(), []
    threaded = ThreadedSink(lambda: sink, on_dropped=dropped.append)
    number = 3 * MAX_QUEUED_BYTES // 10_000
    for each in range(number):
        threaded.write(line(f"{each} " + "x" * 10_000))
    threaded.reopen()
    threaded.finish(0.05)
    assert [] == sink.texts
    sink.going.set()
    threaded.finish(20)
    assert "reopened" == sink.texts[-2]
    kept = len(sink.texts) - 2
    assert [str(each) for each in range(kept)] == [text.split()[0] for text in sink.texts[:-2]]
    assert f"{number - kept} lines of the log were dropped" in sink.texts[-1]
    assert number - kept == sum(dropped)
    assert MAX_QUEUED_BYTES * 0.9 < kept * 10_000 < MAX_QUEUED_BYTES


def test_a_thread_that_writes_survives_any_error(capfd):
    sink = Stalling()
    sink.errors = [RuntimeError("a library"), OSError(errno.EIO, "I/O error"), ValueError("closed")]
    threaded = ThreadedSink(lambda: sink)
    for number in range(4):
        threaded.write(line(f"{number}"))
    sink.going.set()
    threaded.finish(20)
    assert ["3"] == sink.texts
    assert {"library", "I/O error", "closed"} <= set(
        re.findall("library|I/O error|closed", capfd.readouterr().err)
    )


def test_a_log_without_a_thread_tries_again_with_the_next_line(monkeypatch):
    sink = Collector()
    threaded = ThreadedSink(lambda: sink)

    def no_threads(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_threads)
        threaded.write(line("one"))
    threaded.write(line("two"))
    threaded.finish(20)
    assert ["one", "two"] == sink.texts


def test_lines_after_finish_are_written_synchronously():
    sink = Collector()
    threaded = ThreadedSink(lambda: sink)
    threaded.finish(20)
    threaded.write(line("Server Shut Down."))
    assert ["Server Shut Down."] == sink.texts


def test_a_file_that_cannot_be_opened_is_an_error_at_once(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        ThreadedSink(lambda: LoguruSink(LogSettings(), "/proc/none/log"))


def test_a_sink_that_is_made_later_is_made_in_the_thread_and_tried_again(capfd):
    sink, errors = Collector(), [PermissionError(errno.EACCES, "denied")]

    def make():
        if errors:
            raise errors.pop()
        return sink

    threaded = ThreadedSink(make, later=True)
    assert errors
    threaded.write(line("lost"))
    threaded.write(line("kept"))
    threaded.finish(20)
    assert ["kept"] == sink.texts
    assert "denied" in capfd.readouterr().err


def test_stderr_that_another_process_made_non_blocking_loses_no_line(ends):
    os.set_blocking(ends[1], False)
    data = b"x" * 300_000
    writer = threading.Thread(target=write_all, args=(ends[1], data))
    writer.start()
    found = b""
    while writer.is_alive():
        found += read_all(ends[0])
    assert data == found + read_all(ends[0])
