"""Runs of the command ``filestored``."""

import os
import subprocess
import sys

from tests.daemon_process import ROOT, TIMEOUT


def run_filestored(*words: str, wrap=(), environment=(), **how) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end; `wrap` is a command that runs it, `environment` has more variables."""
    return subprocess.run(
        [*wrap, sys.executable, "-m", "filestored.cli", *words],
        env={**os.environ, "PYTHONPATH": ROOT, **dict(environment)},
        timeout=TIMEOUT,
        check=False,
        **{"capture_output": True, "text": True, **how},
    )
