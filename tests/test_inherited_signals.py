"""Tests run under nohup, and as a background job of a script, which ignores SIGINT."""

import json
import signal
import subprocess
import sys

from tests.daemon_process import ROOT

PROGRAM = """
import json, os, signal, subprocess, sys
from tests.inherited_signals import restore_signals
restore_signals()
child = "import json, signal; print(json.dumps([" \
    "[int(n) for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN]," \
    "[int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])]]))"
for number in (signal.SIGINT, signal.SIGHUP):
    os.kill(os.getpid(), number)
print(subprocess.run([sys.executable, "-c", child], capture_output=True, check=True, text=True).stdout)
"""
IGNORED = {signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1}


def ignore_and_block():
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)


def test_signals_ignored_by_the_starter_of_the_tests_are_ignored_by_no_program_under_test():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        preexec_fn=ignore_and_block,
        capture_output=True,
        text=True,
        check=True,
    )
    ignored, blocked = json.loads(done.stdout)
    assert [] == sorted({*ignored} - {signal.SIGPIPE, signal.SIGXFSZ})
    assert [] == blocked
