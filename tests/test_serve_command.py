"""``filestored serve``, and ``filestored`` without a command."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest
import requests

from filestored import __version__
from tests.command_line import run_filestored
from tests.daemon_process import ROOT, TIMEOUT, assert_one_line, read


@pytest.mark.parametrize(("workers", "number"), [("1", signal.SIGINT), ("2", signal.SIGTERM)])
def test_process_that_was_started_serves_files_and_ends_by_a_signal(start_daemon, workers, number):
    daemon = start_daemon("--workers", workers, serve=True)
    digest = requests.post(daemon.url, data=b"hello", timeout=TIMEOUT).text
    assert b"hello" == requests.get(f"{daemon.url}files/{digest}", timeout=TIMEOUT).content
    with open(f"/proc/{daemon.process.pid}/cmdline", "rb") as file:
        assert [b"filestored.commands.serve", b"-n", b"filestored"] == file.read().split(b"\0")[2:5]
    assert ["images", "log", "stderr", "store"] == sorted(os.listdir(daemon.directory))
    daemon.kill(number)
    assert -number == daemon.process.wait(TIMEOUT)  # as twistd, which repeats the signal after the stop


def test_daemon_imports_no_other_command(start_daemon):
    daemon = start_daemon("--workers", "1", serve=True, environment={"PYTHONPROFILEIMPORTTIME": "1"})
    daemon.end()
    behind = read(os.path.join(daemon.directory, "stderr")).rpartition("| filestored.cli\n")[2]
    assert "filestored.service" in behind
    assert [] == [name for name in ("rich", "argparse", "filestored.cli") if f"| {name}\n" in behind]


def test_module_in_the_working_directory_is_not_imported(tmp_path):
    (tmp_path / "twisted.py").write_text("raise SystemExit('imported')")
    done = _run("-P", "-m", "filestored", "serve", "--version", cwd=tmp_path)
    assert (0, f"filestored {__version__}\n", "") == (done.returncode, done.stdout, done.stderr)


def test_wrong_option_of_the_daemon_is_one_line(tmp_path):
    assert_one_line(
        run_filestored("serve", "--max-size", "lots", cwd=tmp_path), "--max-size: 'lots' is not a size"
    )


def test_used_port_is_reported_with_status_1(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run_filestored("serve", "--listen", address, cwd=tmp_path)
    assert 1 == done.returncode
    assert "Address already in use" in done.stderr


def test_help_is_that_of_the_daemon():
    assert "--log-rotation" in run_filestored("serve", "--help").stdout


def test_help_of_the_daemon_has_no_gaps_within_its_sentences():
    lines = run_filestored("serve", "--help", environment={"COLUMNS": "110"}).stdout.splitlines()
    assert [] == [line for line in lines if re.search(r"[a-z,;:.\]]  +[A-Za-z\[]", line[26:])]


@pytest.mark.parametrize("module", ["filestored", "filestored.cli"])
def test_no_command_prints_usage_with_the_start_of_the_daemon(module):
    done = _run("-m", module)
    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("usage: filestored [-h]")
    assert "\n  filestored serve\n" in done.stderr
    assert "\n    link " in done.stderr


def _run(*words, **how):
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        **how,
    )
