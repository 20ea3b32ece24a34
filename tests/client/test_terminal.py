"""Bars on a terminal, silence elsewhere, and SIGINT."""

import hashlib
import os
import pty
import signal
import subprocess
import sys

import pytest

from tests.client.cutting_proxy import CuttingProxy, Fault
from tests.daemon_process import ROOT, TIMEOUT, until

SIZE = 8 << 20
WITH_RICH = "import sys; from filestored.cli import main; sys.exit(main())"
WITHOUT_RICH = f"import sys; sys.modules['rich.console'] = None; {WITH_RICH}"
INTERRUPTED = b"filestored: interrupted; run the same command again to continue\n"


def command(program, *words, **how):
    environment = {**os.environ, "PYTHONPATH": ROOT, "TERM": "xterm", "COLUMNS": "120"}
    return subprocess.Popen([sys.executable, "-c", program, *words], env=environment, **how)


def run_on_terminal(program, *words, stdout=None):
    """Run a command whose stderr, and stdout unless it is given, are a terminal; return status and output."""
    leader, terminal = pty.openpty()
    process = command(program, *words, stdout=terminal if stdout is None else stdout, stderr=terminal)
    os.close(terminal)
    shown = bytearray()
    try:
        while data := os.read(leader, 65536):
            shown += data
    except OSError:  # EIO: all processes have closed the terminal
        pass
    finally:
        os.close(leader)
    return process.wait(TIMEOUT), shown.decode()


@pytest.fixture
def files(server):
    names = ["one [bold]", "two"]
    for name in names:
        with open(name, "wb") as file:
            file.write(os.urandom(SIZE))
    return names


def lines(names):
    found = []
    for name in names:
        with open(name, "rb") as file:
            found.append(f"{hashlib.sha256(file.read()).hexdigest()}  {name}")
    return found


def test_bars_on_a_terminal_show_names_sizes_and_speeds(server, files):
    status, shown = run_on_terminal(WITH_RICH, "put", *files)
    assert 0 == status
    for text in ("2 files", "one [bold]", "16.0/16.0 MiB", "MB/s", "0:00:0"):
        assert text in shown, text
    for line in lines(files):
        assert line in shown


def test_bars_of_a_download_continue_after_the_part(server, files):
    (line, _) = lines(files)
    run_on_terminal(WITH_RICH, "put", files[0])
    status, shown = run_on_terminal(WITH_RICH, "get", line[:64], "-o", "copy")
    assert 0 == status
    assert "copy" in shown
    assert "8.0/8.0 MiB" in shown


def test_lines_go_to_the_pipe_while_bars_are_on_the_terminal(server, files, tmp_path):
    with open(tmp_path / "out", "wb") as out:
        status, shown = run_on_terminal(WITH_RICH, "put", *files, "nothing", stdout=out)
    assert 1 == status
    assert "".join(f"{line}\n" for line in lines(files)) == (tmp_path / "out").read_text()
    assert "filestored: nothing: No such file or directory" in shown
    assert lines(files)[0] not in shown


def test_without_rich_a_terminal_has_the_lines_only(server, files):
    status, shown = run_on_terminal(WITHOUT_RICH, "put", *files)
    assert (0, lines(files)) == (status, shown.splitlines())


def test_control_characters_of_a_name_do_not_reach_the_terminal(server):
    name = "evil\x1b[2J"
    with open(name, "wb") as file:
        file.write(bytes(SIZE))
    status, shown = run_on_terminal(WITH_RICH, "put", name)
    assert 0 == status
    assert "evil?[2J" in shown
    assert "evil\x1b" not in shown


@pytest.mark.parametrize("words", [("put", "two"), ("get", "0" * 64)])
def test_sigint_ends_with_one_line_and_status_130(server, files, words):
    with CuttingProxy(server.port, Fault(silent=True)) as proxy:
        process = command(WITH_RICH, *words, "--server", proxy.url, stderr=subprocess.PIPE)
        until(lambda: proxy.received, "it is connected")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT)
    assert (130, INTERRUPTED) == (process.returncode, err)


def test_sigint_ends_an_upload_whose_input_is_idle(server):
    with CuttingProxy(server.port) as proxy:
        words = ("put", "-", "--server", proxy.url)
        process = command(WITH_RICH, *words, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdin.write(b"first")
        process.stdin.flush()
        until(lambda: any(b"first" in each for each in proxy.received), "it is sent")
        process.send_signal(signal.SIGINT)
        assert 130 == process.wait(TIMEOUT)
        assert INTERRUPTED == process.stderr.read()
        process.stdin.close()
        process.stderr.close()


def test_sigint_ends_all_uploads(server, files):
    faults = [Fault(), *[Fault(silent=True)] * 2]
    with CuttingProxy(server.port, *faults) as proxy:
        process = command(WITH_RICH, "put", *files, "--server", proxy.url, stderr=subprocess.PIPE)
        until(lambda: len(proxy.received) == 2, "both are sent")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT)
    assert (130, INTERRUPTED) == (process.returncode, err)
