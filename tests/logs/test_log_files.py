"""The files of logs, with real processes: moved away, rotated, full."""

import glob
import gzip
import os
import signal

import pytest
import requests

from tests.daemon_process import read, until

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
    until(lambda: "log files are open anew" in read(log), "the log is open anew")
    until(lambda: os.path.exists(access), "the access log is open anew")
    until(lambda: read(f"{access}.1").count("/before") == 8, "what came before is in the old file")
    ask(daemon, "after", times=8)
    until(lambda: (read(access) + read(f"{access}.1")).count("/after") == 8, "no line is lost")
    daemon.end()
    assert "starting up." in read(f"{log}.1")
    assert "Server Shut Down." in read(log)


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
    assert [ending] * 20 == [line.partition("] ")[2] for line in lines]


def test_rotation_with_workers_loses_no_line(start_daemon):
    daemon = start_daemon("--workers", "2", "--access-log", "-", "--log-rotation", "4 KB")
    ask(daemon, "a{brace}", times=150)
    daemon.end()
    paths = glob.glob(os.path.join(daemon.directory, "log*"))
    assert any(path.endswith(".gz") for path in paths)
    whole = [path for path in paths if not (path.endswith(".part") or f"{path}.gz" in paths)]
    text = "".join(unpacked(path) if path.endswith(".gz") else read(path) for path in whole)
    assert 150 == text.count("GET /a%7Bbrace%7D ")


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
