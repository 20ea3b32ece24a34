"""Run of planted tests, in a pytest of their own, with the fixtures of this suite."""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run_planted(tmp_path: os.PathLike[str], source: str) -> str:
    """Run tests from source code; return what pytest printed."""
    path = os.path.join(tmp_path, "test_planted.py")
    with open(path, "w") as file:
        file.write(source)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"),
            *("-c", os.devnull, path),
        ],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "250"},  # reasons of failures stay whole
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.stdout
