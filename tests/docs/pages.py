"""Pages of the documentation: their texts, their code blocks, and a shell that runs these beside a daemon."""

import os
import re
import subprocess
import sys

from tests.daemon_process import ROOT, Running, read


def text(*names: str) -> str:
    """Return the text of a file of the project."""
    return read(os.path.join(ROOT, *names))


def code(page: str, language: str) -> list[str]:
    """Return the code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    """Return the shell commands of a page in blocks, without comments."""
    return [re.sub(r"^#.*\n", "", block, flags=re.MULTILINE) for block in code(page, "sh")]


def run(script: str, daemon: Running) -> str:
    """Run commands of a page in the daemon's directory; return what they have printed."""
    script = script.replace("http://localhost:9000/", daemon.url).replace(
        "http://localhost:9000", daemon.url[:-1]
    )
    return run_in(daemon.directory, script)


def run_in(directory: str, script: str) -> str:
    """Run commands of a page in a directory; return what they have printed."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        ["sh", "-exc", script.replace(".venv/bin/", "")],
        cwd=directory,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout
