"""The access log: combined format, in batches, and not to be forged."""

import os
import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from zope.interface.verify import verifyObject

from filestored.interfaces import AccessEntry, IAccessLog
from filestored.logs.access_log import (
    MAX_BATCH_CHARACTERS,
    MAX_CACHED_BYTES,
    MAX_CACHED_TEXTS,
    AccessLog,
    _redaction_cache,
    format_end,
    format_entry,
    format_prefix,
)
from filestored.logs.writer_thread import MAX_QUEUED_BYTES
from filestored.logs.writers import FileWriter, LogWriter
from filestored.settings import LogSettings

COMBINED = re.compile(
    r'\S+ - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "[^"]*" \d{3} \d+ "[^"]*" "[^"]*"'
    r" \d+\.\d{6} \S+",
    re.ASCII,
)


def entry(**changes):
    fields = {
        "method": b"GET",
        "target": b"/files/abc",
        "version": b"HTTP/1.1",
        "status": 200,
        "sent": 123,
        "referer": None,
        "agent": b"curl/8",
    }
    return AccessEntry(**{**fields, **changes})


def written(peer="127.0.0.1", **changes):
    return format_prefix(peer, 1700000000) + format_entry(entry(**changes)) + format_end(0.25, b"a-1")


def note(log, **changes):
    log.log(1700000000.9, "127.0.0.1", log.format_entry(entry(**changes)), 0.25, b"a-1")


def test_an_entry_in_the_combined_format():
    assert (
        '127.0.0.1 - - [14/Nov/2023:22:13:20 +0000] "GET /files/abc HTTP/1.1" 200 123 "-" "curl/8" '
        "0.250000 a-1" == written()
    )


def test_token_in_the_target_or_the_referer_is_redacted():
    shown = format_entry(entry(target=b"/imageapi/token/s3cr3t/x", referer=b"http://h/%74oken/s3cr3t/"))
    assert "s3cr3t" not in shown
    assert '"GET /imageapi/token/***/*** HTTP/1.1"' in shown
    assert '"http://h/%74oken/***/"' in shown


def test_redacted_text_is_not_cached():
    secret = b"/imageapi/token/k33pm3n0t/x"
    format_entry(entry(target=secret, referer=b"http://h" + secret, agent=b"Authorization: k33pm3n0t"))
    assert [] == [text for text in _redaction_cache if b"k33pm3n0t" in text]


def test_redaction_cache_is_bounded():
    for number in range(MAX_CACHED_TEXTS + 10):
        format_entry(entry(target=b"/%d" % number, agent=b"%d" % number + b"a" * MAX_CACHED_BYTES))
    assert 0.9 * MAX_CACHED_TEXTS < len(_redaction_cache) <= MAX_CACHED_TEXTS
    assert MAX_CACHED_BYTES >= max(map(len, _redaction_cache))


def test_redaction_cache_hit_returns_the_same_text():
    agent = b'"again"\xff'
    assert format_entry(entry(agent=agent)) == format_entry(entry(agent=agent))


def test_a_client_cannot_forge_a_field_or_a_line():
    shown = format_entry(entry(agent=b'x" 200 0\n1.1.1.1 - - \x1b[31m\\'))
    assert r'"x\x22 200 0\x0A1.1.1.1 - - \x1B[31m\x5C"' in shown


@given(st.binary(), st.binary(), st.text(), st.none() | st.binary(), st.none() | st.binary())
def test_any_input_is_one_line_of_the_format(method, target, peer, referer, agent):
    shown = written(peer, method=method, target=target, referer=referer, agent=agent)
    assert COMBINED.fullmatch(shown)


class Lines:
    def __init__(self):
        self.batches = []
        self.reopened = self.closed = 0

    def write(self, lines):
        self.batches.append(list(lines))

    def reopen(self):
        self.reopened += 1

    def close(self):
        self.closed += 1


def test_access_log_provides_its_interface():
    assert verifyObject(IAccessLog, AccessLog(Clock(), Lines()))


def test_entries_of_one_second_are_written_together():
    clock, lines = Clock(), Lines()
    log = AccessLog(clock, lines)
    note(log)
    note(log, status=404)
    assert [] == lines.batches
    clock.advance(1)
    assert [2] == [len(batch) for batch in lines.batches]
    assert [] == clock.getDelayedCalls()


def test_full_batch_is_written_at_once():
    clock, lines = Clock(), Lines()
    log = AccessLog(clock, lines)
    while not lines.batches:
        note(log)
    assert MAX_BATCH_CHARACTERS <= len("".join(lines.batches[0])) < MAX_BATCH_CHARACTERS + len(written()) + 1
    note(log)
    clock.advance(1)
    assert [1] == [len(batch) for batch in lines.batches[1:]]
    assert [] == clock.getDelayedCalls()


def test_long_lines_fill_a_batch():
    lines = Lines()
    log = AccessLog(Clock(), lines)
    for _ in range(100):
        note(log, agent=b"\xff" * 8000)
    assert max(len("".join(batch)) for batch in lines.batches) < MAX_BATCH_CHARACTERS + 33_000


def test_line_has_the_time_of_the_response():
    clock, lines = Clock(), Lines()
    log = AccessLog(clock, lines)
    for moment in (1700000000.9, 1700000001.0, 1700000059.999, 1700000000.1):
        log.log(moment, "::1", log.format_entry(entry()), 0.25, b"a-1")
    log.flush()
    assert ["22:13:20", "22:13:21", "22:14:19", "22:13:20"] == [
        re.search("2023:([0-9:]+) ", shown)[1] for shown in lines.batches[0]
    ]


def test_lines_of_one_second_name_their_clients():
    lines = Lines()
    log = AccessLog(Clock(), lines)
    for peer in ("10.0.0.1", "::1", "10.0.0.1"):
        log.log(1700000000.9, peer, log.format_entry(entry()), 0.25, b"a-1")
    log.flush()
    assert [written("10.0.0.1"), written("::1"), written("10.0.0.1")] == lines.batches[0]


def test_close_writes_waiting_lines():
    clock, lines = Clock(), Lines()
    log = AccessLog(clock, lines)
    note(log)
    log.close()
    assert (1, 1, []) == (len(lines.batches), lines.closed, clock.getDelayedCalls())


def test_reopen_writes_waiting_lines_to_the_old_file(tmp_path):
    log = AccessLog(Clock(), FileWriter(str(tmp_path / "access"), LogSettings()))
    note(log, status=201)
    os.rename(tmp_path / "access", tmp_path / "access.1")
    log.reopen()
    note(log, status=202)
    log.close()
    assert " 201 " in (tmp_path / "access.1").read_text()
    assert " 202 " in (tmp_path / "access").read_text()


def test_full_disk_loses_lines_only():
    log = AccessLog(Clock(), FileWriter("/dev/full", LogSettings()))
    note(log)
    log.flush()
    note(log)
    log.close()


def test_a_file_that_cannot_be_reopened_is_kept(tmp_path):
    (tmp_path / "d").mkdir()
    log = AccessLog(Clock(), FileWriter(str(tmp_path / "d" / "access"), LogSettings()))
    os.rename(tmp_path / "d", tmp_path / "moved")
    log.reopen()
    note(log)
    log.close()
    assert 1 == (tmp_path / "moved" / "access").read_text().count("\n")


def test_the_log_gets_one_event_for_each_line():
    events = []
    globalLogPublisher.addObserver(events.append)
    log = AccessLog(Clock(), LogWriter())
    note(log, target=b"/{brace}")
    note(log)
    log.close()
    globalLogPublisher.removeObserver(events.append)
    assert ["/{brace}" in event["line"] for event in events] == [True, False]


def test_a_fifo_without_a_reader_blocks_no_one_and_dropped_lines_are_counted(tmp_path):
    events = []
    globalLogPublisher.addObserver(events.append)
    os.mkfifo(tmp_path / "access")
    dropped = []
    writer = FileWriter(str(tmp_path / "access"), LogSettings(), dropped.append)
    for number in range(30):
        writer.write([f"{number} " + "x" * 100_000] * 2)
    writer.reopen()
    with open(tmp_path / "access", "rb") as fifo:
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(fifo))
        reader.start()
        writer.close()
        reader.join()
    globalLogPublisher.removeObserver(events.append)
    assert 60 == len(lines) + sum(event.get("count", 0) for event in events)
    assert 60 == len(lines) + sum(dropped)
    assert MAX_QUEUED_BYTES - 200_000 <= sum(map(len, lines)) <= MAX_QUEUED_BYTES + 1000


@pytest.mark.slow
def test_reopening_and_closing_do_not_wait_for_a_fifo(tmp_path):
    os.mkfifo(tmp_path / "access")
    writer = FileWriter(str(tmp_path / "access"), LogSettings())
    writer.write(["a line"])
    writer.reopen()
    writer.close()  # returns after a bounded time
    with open(tmp_path / "access", "rb") as fifo:
        assert b"a line\n" == fifo.read()


def test_a_file_that_cannot_be_written_is_an_error_at_once():
    with pytest.raises(OSError, match="directory"):
        FileWriter("/", LogSettings())


@pytest.mark.parametrize("peer", ["", "a b", "\n"])
def test_client_address_is_one_word(peer):
    assert COMBINED.fullmatch(written(peer))
