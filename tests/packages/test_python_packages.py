"""Wheel and source distribution: their files, their metadata, and what the checkers of PyPI say."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser

import pytest

from filestored import __version__
from tests.daemon_process import ROOT

LEFT_OUT = (".git", ".venv", "*_cache", ".hypothesis", "__pycache__", "node_modules", "*.egg-info")
FOLDERS = (".ci", ".github", "bench", "deploy", "docs", "filestored", "tests", "twisted")
EXTRAS = {"tls", "blake3", "images", "heic", "cli", "s3", "metrics"}


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Build both in a copy of the source, the wheel from the source distribution; return their paths."""
    top = tmp_path_factory.mktemp("source")
    source, output = top / "source", top / "packages"
    shutil.copytree(ROOT, source, ignore=_left_out)
    done = subprocess.run(
        [sys.executable, "-m", "build", "-o", str(output), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
    yield sorted(map(str, output.iterdir()))
    shutil.rmtree(top)


def _left_out(folder, names):
    """Return the names that are not of the source: of this machine, and of the top of the project only."""
    top = {"build", "dist", "store", "images"} if folder == ROOT else set()
    return top | shutil.ignore_patterns(*LEFT_OUT)(folder, names)


def files(*folders):
    """Return the files of folders of the project."""
    return {
        os.path.relpath(os.path.join(folder, name), ROOT)
        for top in folders
        for folder, _, names in os.walk(os.path.join(ROOT, top))
        for name in names
        if not {"__pycache__", "node_modules"} & set(folder.split(os.sep)) and name != "dropin.cache"
    }


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"filestored-{__version__}.dist-info/METADATA").decode()
    return HeaderParser().parsestr(text)


def test_wheel_has_the_files_of_the_package_and_the_plugin(packages):
    wheel, _ = packages
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert files("filestored", "twisted") == names
    assert {
        "filestored/web/openapi.json",
        "filestored/py.typed",
        "twisted/plugins/filestored_plugin.py",
    } < names


def test_source_distribution_has_all_that_the_tests_read(packages):
    _, source = packages
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert set() == files(*FOLDERS) - names
    top = {name for name in os.listdir(ROOT) if name.endswith((".md", ".toml", ".tac", ".py"))}
    assert set() == top - names
    assert set() == {name for name in names if name.split("/")[0] in {".git", ".venv", "store", "images"}}


def test_checkers_of_pypi_accept_both(packages):
    program = os.path.dirname(sys.executable)
    for words in (["twine", "check", "--strict", *packages], ["check-wheel-contents", packages[0]]):
        words[0] = os.path.join(program, words[0])
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stdout + done.stderr


def test_metadata_is_complete(packages):
    found = metadata(packages[0])
    assert __version__ == found["Version"]
    assert "MIT" == found["License-Expression"]
    assert ">=3.11" == found["Requires-Python"]
    assert set() == EXTRAS - set(found.get_all("Provides-Extra"))
    assert {"Author", "Keywords", "Summary", "License-File"} <= set(found.keys())
    assert found["Description-Content-Type"] == "text/markdown"
