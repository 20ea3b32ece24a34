"""The files of logs, with real processes: moved away, rotated, full."""

import glob
import gzip
import hashlib
import json
import os
import re
import signal
import subprocess
import sys

import pytest
import requests

from tests.daemon_process import ROOT, TWISTD, read, until

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


def ask(daemon, path="nothing", times=1):
    for _ in range(times):
        requests.get(daemon.url + path, timeout=10)


@WORKERS
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_signal_reopens_all_log_files(start_daemon, tmp_path, workers, number):
    log, access = str(tmp_path / "log"), str(tmp_path / "access")
    daemon = start_daemon("--workers", workers, "--access-log", access)
    ask(daemon, "before", times=8)
    os.rename(log, f"{log}.1")
    os.rename(access, f"{access}.1")
    daemon.kill(number)
    until(lambda: "log files reopened" in read(log), "the log is open anew")
    until(lambda: os.path.exists(access), "the access log is open anew")
    until(lambda: read(f"{access}.1").count("/before") == 8, "what came before is in the old file")
    ask(daemon, "after", times=8)
    until(lambda: (read(access) + read(f"{access}.1")).count("/after") == 8, "no line is lost")
    daemon.end()
    assert "listening on" in read(f"{log}.1")
    assert "all requests have ended" in read(log)


@WORKERS
def test_the_access_log_has_a_line_for_each_request(start_daemon, tmp_path, workers):
    access = str(tmp_path / "access")
    daemon = start_daemon("--workers", workers, "--access-log", access)
    ask(daemon, times=50)
    ask(daemon, "imageapi/token/s3cr3tT0k3/get-image-list/")
    daemon.end()
    lines = read(access).splitlines()
    assert 51 == len(lines)
    assert all(line.startswith("127.0.0.1 - - [") for line in lines)
    assert (50, 1) == tuple(sum(f'" {status} ' in line for line in lines) for status in (404, 401))
    assert "s3cr3tT0k3" not in read(access) + daemon.log


def test_access_log_redacts_requests_refused_by_the_parser(start_daemon, tmp_path):
    access = str(tmp_path / "access")
    daemon = start_daemon("--workers", "1", "--access-log", access)
    name = requests.post(daemon.url, data=b"x", headers={"Content-Type": "a/b"}, timeout=10).text.strip()
    with requests.Session() as session:
        session.headers = {"Referer": "http://h/token/s3cr3tT0k3/", "User-Agent": 'a"b'}
        for _ in range(20):
            assert b"x" == session.get(f"{daemon.url}files/{name}", timeout=10).content
    daemon.end()
    lines = [line for line in read(access).splitlines() if "GET /files/" in line]
    ending = f'"GET /files/{name} HTTP/1.1" 200 1 "http://h/token/***/" "a\\x22b"'
    assert [ending] * 20 == [line.partition("] ")[2].rsplit(" ", 2)[0] for line in lines]


def test_rotation_with_workers_loses_no_line(start_daemon):
    daemon = start_daemon("--workers", "2", "--access-log", "-", "--log-rotation", "4 KB")
    ask(daemon, "a{brace}", times=150)
    daemon.end()
    paths = glob.glob(os.path.join(daemon.directory, "log*"))
    assert any(path.endswith(".gz") for path in paths)
    whole = [path for path in paths if not (path.endswith(".part") or f"{path}.gz" in paths)]
    text = "".join(unpacked(path) if path.endswith(".gz") else read(path) for path in whole)
    assert 150 == text.count("GET /a%7Bbrace%7D ")


@WORKERS
def test_rotation_of_the_access_log_loses_no_line(start_daemon, tmp_path, workers):
    (tmp_path / "logs").mkdir()
    access = str(tmp_path / "logs" / "access.log")
    daemon = start_daemon("--workers", workers, "--access-log", access, "--log-rotation", "2 KB")
    for _ in range(4):
        ask(daemon, times=30)
        before = read(access)
        until(lambda before=before: read(access) != before, "the lines are written")
    daemon.end()
    paths = glob.glob(str(tmp_path / "logs" / "*"))
    assert len(paths) > 1
    whole = [path for path in paths if not (path.endswith(".part") or f"{path}.gz" in paths)]
    text = "".join(unpacked(path) if path.endswith(".gz") else read(path) for path in whole)
    assert 120 == text.count("GET /nothing ")


@WORKERS
def test_log_on_a_link_to_stderr_is_not_rotated(start_daemon, tmp_path, workers):
    os.symlink("/proc/self/fd/2", tmp_path / "link")
    options = ("--log", str(tmp_path / "link"), "--access-log", "-", "--log-rotation", "1 KB")
    daemon = start_daemon("--workers", workers, *options, log=False)
    ask(daemon, times=30)
    daemon.end()
    assert "/proc/self/fd/2" == os.readlink(tmp_path / "link")
    assert 30 == read(tmp_path / "stderr").count("GET /nothing ")
    assert 1 == read(tmp_path / "stderr").count("is not rotated")
    assert [] == glob.glob(str(tmp_path / "stderr.*"))


@WORKERS
def test_json_lines_of_requests_have_fields(start_daemon, tmp_path, workers):
    daemon = start_daemon("--workers", workers, "--log-json", "--access-log", "-")
    requests.post(daemon.url, data=b"hello", headers={"Content-Type": "a/b"}, timeout=10)
    ask(daemon, "imageapi/token/s3cr3tT0k3/get-image-list/?width=5")
    with requests.Session() as session:
        for _ in range(3):
            session.get(f"{daemon.url}files/{hashlib.sha256(b'hello').hexdigest()}", timeout=10)
    daemon.end()
    lines = [json.loads(line) for line in read(str(tmp_path / "log")).splitlines()]
    found = [line for line in lines if line["source"] == "access"]
    assert ["POST", "GET", "GET", "GET", "GET"] == [line["method"] for line in found]
    assert [200, 401, 200, 200, 200] == [line["status"] for line in found]
    assert [5, 5, 5] == [line["bytes"] for line in found[2:]]
    assert {"127.0.0.1"} == {line["client"] for line in found}
    assert "/imageapi/token/***/get-image-list/?width=5" == found[1]["path"]
    assert [float] * 5 == [type(line["duration"]) for line in found]
    assert all(line["duration"] >= 0 for line in found)
    assert '"POST / HTTP/1.1" 200 ' in found[0]["message"]


@WORKERS
def test_the_log_says_at_the_start_what_is_served_where(start_daemon, tmp_path, workers):
    daemon = start_daemon("--workers", workers, "--images", str(tmp_path / "i"), "--hash", "md5")
    until(lambda: "listening on" in daemon.log, "the start is logged")
    free = r"\(leaving [0-9]+ MiB free\)"
    assert re.search(
        f"listening on {daemon.url}, store {daemon.store} {free}, images {tmp_path}/i {free}, hash md5, "
        rf"workers {workers}, after \d+\.\d\d\d s\n",
        daemon.log,
    )


@WORKERS
def test_the_log_has_no_lines_of_twisted_about_its_start_and_stop(start_daemon, workers):
    daemon = start_daemon("--workers", workers)
    ask(daemon)
    daemon.end()
    sources = {line.split(" | ")[2].split()[1] for line in daemon.log.splitlines()}
    assert set() == {each for each in sources if each.startswith(("twisted", "log_legacy"))}


@pytest.mark.parametrize("json_option", [(), ("--log-json",)])
def test_lines_on_the_journal_have_a_priority(start_daemon, tmp_path, json_option):
    (tmp_path / "stderr").touch()
    found = os.stat(tmp_path / "stderr")
    daemon = start_daemon(
        *("--workers", "2", "--log-level", "debug", *json_option),
        log=False,
        environment={"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"},
    )
    os.kill(daemon.workers()[0], signal.SIGKILL)
    until(lambda: "has died" in daemon.log, "an error is logged")
    daemon.end()
    priorities = {line[:3]: line for line in daemon.log.splitlines()}
    assert {"<7>", "<6>", "<3>"} == set(priorities)
    assert "has died" in priorities["<3>"]


@pytest.mark.parametrize(
    "options", [("--workers", "no number"), ("--listen", "unix:/nowhere/at/all"), ("--store", "/dev/null")]
)
def test_reason_of_a_failed_start_has_the_priority_of_an_error_on_the_journal(tmp_path, options):
    with open(tmp_path / "stderr", "w+b") as stderr:
        found = os.fstat(stderr.fileno())
        environment = {**os.environ, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}", "PYTHONPATH": ROOT}
        words = ["-n", "--pidfile=", "filestored", *options]
        done = subprocess.run(
            [sys.executable, TWISTD, *words], cwd=tmp_path, env=environment, stderr=stderr, check=False
        )
    assert 1 == done.returncode
    assert [b"<3>filestored: "] == [line[:15] for line in (tmp_path / "stderr").read_bytes().splitlines()]


@WORKERS
def test_start_and_stop_are_logged_with_their_duration(start_daemon, tmp_path, workers):
    daemon = start_daemon("--workers", workers, "--log-json")
    daemon.end()
    lines = [json.loads(line) for line in read(str(tmp_path / "log")).splitlines()]
    for text in ("listening on ", "all requests have ended"):
        (found,) = (line for line in lines if line["message"].startswith(text))
        assert found["message"].endswith(f", after {found['duration']:.3f} s")
        assert found["duration"] >= 0


def test_stderr_that_is_not_the_journal_has_no_priorities(start_daemon):
    daemon = start_daemon("--workers", "1", log=False, environment={"JOURNAL_STREAM": "1:2"})
    daemon.end()
    assert "listening on" in daemon.log
    assert "<6>" not in daemon.log


def test_a_full_disk_under_the_logs_does_not_stop_the_service(start_daemon):
    daemon = start_daemon("--workers", "1", "--log", "/dev/full", "--access-log", "/dev/full", log=False)
    ask(daemon)
    answer = requests.post(daemon.url, data=b"x", headers={"Content-Type": "a/b"}, timeout=10)
    assert 200 == answer.status_code
    assert "No space left" in read(os.path.join(daemon.directory, "stderr"))


def test_log_level_filters_lines(start_daemon):
    daemon = start_daemon("--workers", "2", "--log-level", "ERROR")
    ask(daemon)
    daemon.end()
    assert "" == daemon.log


def test_watchdog_is_pinged_by_the_daemon(start_daemon):
    daemon = start_daemon("--workers", "2", environment={"WATCHDOG_USEC": "200000"})
    for pid in daemon.workers():
        assert "WATCHDOG" not in read(f"/proc/{pid}/environ")
        assert "NOTIFY" not in read(f"/proc/{pid}/environ")
    with daemon.notifications() as receiver:
        assert b"WATCHDOG=1" == receiver.recv(100)


def unpacked(path):
    with gzip.open(path, "rt") as file:
        return file.read()
