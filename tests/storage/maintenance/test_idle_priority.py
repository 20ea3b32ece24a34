"""Idle priority of a process: scheduler, nice value, class of the disk."""

import subprocess
import sys

import pytest

from tests.daemon_process import ROOT, TIMEOUT

PROGRAM = """
import os, subprocess
from filestored.storage.maintenance.idle_priority import use_idle_priority
use_idle_priority()
use_idle_priority()
print(os.sched_getscheduler(0) == os.SCHED_IDLE, os.getpriority(os.PRIO_PROCESS, 0))
"""


def printed(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ROOT},
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT,
        check=True,
    ).stdout


def test_process_has_the_idle_class_of_the_scheduler_and_the_lowest_nice_value():
    assert "True 19\n" == printed(PROGRAM)


@pytest.mark.needs("ionice")
def test_process_and_its_children_have_the_idle_class_of_the_disk():
    program = f"{PROGRAM}\nsubprocess.run(['ionice', '-p', str(os.getpid())], check=True)"
    assert "idle\n" in printed(f"{program}\nsubprocess.run(['ionice'], check=True)")
    assert 2 == printed(f"{program}\nsubprocess.run(['ionice'], check=True)").count("idle\n")
