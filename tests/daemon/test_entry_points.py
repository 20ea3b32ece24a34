"""Both doors into the daemon, in the foreground and daemonised, with a real twistd."""

import hashlib
import json
import os
import signal
import socket
import stat
import sys

import pytest
import requests

from tests.daemon_process import ROOT, read, run, until

BOTH = pytest.mark.parametrize("tac", [False, True], ids=["plugin", "tac"])


@BOTH
def test_uploaded_file_is_downloaded(start_daemon, tac):
    daemon = start_daemon("--workers", "1", tac=tac)
    answer = requests.post(daemon.url, data=b"hello", headers={"Content-Type": "text/plain"}, timeout=10)
    digest = hashlib.sha256(b"hello").hexdigest()
    assert (200, digest) == (answer.status_code, answer.text)
    assert b"hello" == requests.get(f"{daemon.url}files/{digest}", timeout=10).content
    assert b"hello" == open_bytes(os.path.join(daemon.store, digest[:2], digest))
    assert 0o700 == stat.S_IMODE(os.stat(daemon.store).st_mode)


@BOTH
def test_daemonised_it_has_a_pidfile_and_ends_on_sigterm(start_daemon, tac):
    daemon = start_daemon("--workers", "2", tac=tac, twistd=())
    assert daemon.pid == int(read(os.path.join(daemon.directory, "pid")))
    assert daemon.pid != daemon.process.pid
    assert 404 == requests.get(f"{daemon.url}files/{'0' * 64}", timeout=10).status_code
    workers = daemon.workers()
    daemon.kill(signal.SIGTERM)
    until(daemon.ended, "the daemon ends")
    assert not os.path.exists(os.path.join(daemon.directory, "pid"))
    assert [] == [pid for pid in workers if os.path.exists(f"/proc/{pid}")]
    assert 0 == daemon.process.wait()


@BOTH
def test_no_log_line_is_lost_across_the_fork(start_daemon, tac):
    daemon = start_daemon("--workers", "1", "--log-level", "debug", tac=tac, twistd=())
    daemon.end()
    log = read(os.path.join(daemon.directory, "log"))
    for text in ("starting up.", "reactor class:", "filestored 0.", "listening on", "Server Shut Down."):
        assert 1 == log.count(text), text
    assert log.index("starting up.") < log.index("listening on") < log.index("Server Shut Down.")


def test_daemonised_without_a_log_it_logs_in_its_working_directory(start_daemon):
    daemon = start_daemon("--workers", "1", twistd=(), log=False)
    path = os.path.join(daemon.directory, "filestored.log")
    until(lambda: "listening on" in read(path), "it logs there")


def test_in_the_foreground_it_logs_to_stderr(start_daemon):
    daemon = start_daemon("--workers", "2", log=False)
    until(lambda: "listening on" in read(os.path.join(daemon.directory, "stderr")), "it logs there")
    assert not os.path.exists(os.path.join(daemon.directory, "filestored.log"))


def test_paths_are_relative_to_the_rundir(start_daemon, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    start_daemon("--workers", "1", "--store", "s", twistd=("-n", "--rundir", str(tmp_path / "elsewhere")))
    assert ["FORMAT"] == [name for name in os.listdir(tmp_path / "elsewhere" / "s") if name == "FORMAT"]


def test_json_lines_of_all_processes_are_objects(start_daemon):
    daemon = start_daemon("--workers", "2", "--log-json", "--log-level", "debug", "--access-log", "-")
    requests.get(f"{daemon.url}imageapi/token/s3cr3t0000/x/", timeout=10)
    until(lambda: '"access"' in daemon.log, "the request is logged")
    daemon.end()
    lines = [json.loads(line) for line in read(os.path.join(daemon.directory, "log")).splitlines()]
    assert len({line["process"] for line in lines}) >= 2
    assert "s3cr3t0000" not in daemon.log


@pytest.mark.parametrize("twistd", [(), ("-n",)], ids=["daemonised", "foreground"])
def test_used_port_is_reported_on_the_terminal(tmp_path, twistd):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(*twistd, "filestored", "--listen", f"tcp:{port}:interface=127.0.0.1", cwd=str(tmp_path))
    assert 1 == done.returncode
    assert f"tcp:{port}:interface=127.0.0.1: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert not os.path.exists(tmp_path / "twistd.pid")


def test_store_that_cannot_be_created_is_reported_on_the_terminal(tmp_path):
    done = run(
        *("-n", "filestored", "--workers", "1", "--listen", "tcp:0:interface=127.0.0.1"),
        *("--store", str(tmp_path / "no" / "such" / "store")),
        cwd=str(tmp_path),
    )
    assert 1 == done.returncode
    assert "no/such/store" in done.stderr.splitlines()[-1]


def test_a_bad_option_in_the_environment_of_the_tac_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("FILESTORED_OPTIONS", "--max-size lots")
    done = run("-n", "-y", os.path.join(ROOT, "filestored.tac"), cwd=str(tmp_path))
    assert (1, 1) == (done.returncode, done.stderr.count("\n")), done.stderr
    assert "--max-size: 'lots' is not a size" in done.stderr


def open_bytes(path):
    with open(path, "rb") as file:
        return file.read()


WITHOUT_FREE_SPACE = """
import runpy, sys
from filestored.daemon import lifecycle

def refuse(*args):
    raise OSError(5, "Input/output error")

lifecycle.reserved_bytes = refuse
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_daemon_is_ready_when_the_free_space_cannot_be_read(start_daemon, workers):
    daemon = start_daemon("--workers", workers, wrap=(sys.executable, "-c", WITHOUT_FREE_SPACE))
    assert 404 == requests.get(f"{daemon.url}nothing", timeout=30).status_code
    until(lambda: f"store {daemon.store}, images" in daemon.log, "the start is logged")
    daemon.end()
    assert "Traceback" not in daemon.log
