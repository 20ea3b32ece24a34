"""Debian packages of filestored, built from this source and from that of an earlier version."""

import glob
import os
import shutil
import subprocess
from collections.abc import Mapping

from tests.daemon_process import ROOT

PREVIOUS = "34ab832"
"""The commit of version 0.6.0, which named an older version."""

FOLDERS = ("filestored", "twisted", "deploy")
FILES = ("setup.py", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE")


def copy_source(directory: str) -> str:
    """Copy what a package is built from; return the directory."""
    for name in FOLDERS:
        shutil.copytree(
            os.path.join(ROOT, name),
            os.path.join(directory, name),
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for name in FILES:
        shutil.copy(os.path.join(ROOT, name), directory)
    return directory


def previous_source(directory: str) -> str:
    """Write the source of version 0.6.0 with the packaging of this one; return the directory."""
    os.makedirs(directory)
    archive = subprocess.run(
        ["git", "archive", PREVIOUS, *FOLDERS, *FILES], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    subprocess.run(["tar", "-x", "-C", directory], input=archive.stdout, check=True)
    shutil.copytree(os.path.join(ROOT, "deploy"), os.path.join(directory, "deploy"), dirs_exist_ok=True)
    path = os.path.join(directory, "filestored", "__init__.py")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace('"0.3.1"', '"0.6.0"'))
    return directory


def build(source: str, output: str, environment: Mapping[str, str] | None = None) -> str:
    """Build the package of a source into an empty directory, without compression; return its path."""
    done = subprocess.run(
        [os.path.join(source, "deploy", "debian", "build-deb"), output],
        env={**os.environ, "DPKG_DEB_COMPRESSOR_TYPE": "none", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
    (path,) = glob.glob(os.path.join(output, "*.deb"))
    return path


def check(package: str) -> None:
    """Raise `AssertionError` if lintian finds an error or a warning; packages of tests are not compressed."""
    ignored = "uses-no-compression-for-control-tarball,uses-no-compression-for-data-tarball"
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on=error,warning", f"--suppress-tags={ignored}", package],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
