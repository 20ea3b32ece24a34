"""logrotate with the configuration in deploy/: the daemon writes to a new log file after each rotation."""

import os
import signal
import subprocess

import pytest
import requests

from tests.daemon_process import ROOT, TIMEOUT, read, until
from tests.tools import find_tool


@pytest.mark.needs("logrotate")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_logs_go_on_in_new_files_after_a_rotation(start_daemon, tmp_path, workers):
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o750)
    log, access = str(logs / "filestored.log"), str(logs / "access.log")
    daemon = start_daemon("--workers", workers, "--log", log, "--access-log", access, log=False)
    configure(tmp_path, logs)
    for number in range(3):
        until(lambda number=number: logged(daemon, access, f"before{number}"), "a request is logged")
        rotate(tmp_path)
        until(lambda: os.path.exists(access) and os.path.exists(log), "both logs are made anew")
        assert f"before{number}" in read(f"{access}.1")
    assert f"before{number}" not in read(access)
    until(lambda: logged(daemon, access, "afterwards"), "the new access log gets lines")
    assert {"access.log.2.gz", "access.log.3.gz", "filestored.log.1"} <= set(os.listdir(logs))


@pytest.mark.needs("logrotate")
def test_rotation_signals_no_process_that_has_the_number_of_a_killed_daemon(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o750)
    (logs / "filestored.log").write_text("a line\n")
    configure(tmp_path, logs)
    with subprocess.Popen(["sleep", "60"]) as other:
        (tmp_path / "pid").write_text(f"{other.pid}\n\n")
        rotate(tmp_path)
        other.terminate()
        assert -signal.SIGTERM == other.wait()  # SIGUSR1 would have ended it before
    assert "a line\n" == read(logs / "filestored.log.1")


def configure(directory, logs):
    """Write the configuration in deploy/ with the paths of this test."""
    text = read(os.path.join(ROOT, "deploy", "logrotate"))
    for old, new in (("/var/log/filestored", str(logs)), ("/run/filestored.pid", str(directory / "pid"))):
        assert old in text
        text = text.replace(old, new)
    (directory / "logrotate").write_text(text)
    (directory / "logrotate").chmod(0o644)


def logged(daemon, access, path):
    """Ask for a path; return whether the access log has it. A worker may write to the old file yet."""
    assert 404 == requests.get(daemon.url + path, timeout=TIMEOUT).status_code
    return path in read(access)


def rotate(directory):
    """Rotate now, whatever the age of the logs."""
    words = [
        find_tool("logrotate"),
        "--force",
        "--state",
        str(directory / "state"),
        str(directory / "logrotate"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (0, "") == (done.returncode, done.stderr)
