"""Runs of the command ``filestored``."""

import os
import subprocess
import sys

from tests.daemon_process import ROOT, TIMEOUT

_AS_ANOTHER_USER = """
import os, sys
from importlib import import_module
from filestored.cli import COMMANDS, main
import_module(f"filestored.commands.{COMMANDS[sys.argv[1]]}")  # which that user may be unable to read
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(1), os.setuid(1)
sys.exit(main(sys.argv[1:]))
"""


def run_filestored(
    *words: str, wrap=(), environment=(), program=("-m", "filestored.cli"), **how
) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end; `wrap` is a command that runs it, `environment` has more variables."""
    return subprocess.run(
        [*wrap, sys.executable, *program, *words],
        env={**os.environ, "PYTHONPATH": ROOT, **dict(environment)},
        check=False,
        **{"capture_output": True, "text": True, "timeout": TIMEOUT, **how},
    )


def run_as_another_user(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run the command as another user if this process may do that, which is root."""
    return run_filestored(*words, program=("-c", _AS_ANOTHER_USER))
