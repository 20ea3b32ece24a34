"""Messages of the program for operators and clients, read from its sources.

A message is a text with ``…`` for each part that varies. Fields of the log (``{reason}``) vary, too.
"""

import ast
import os
import re
from collections.abc import Iterator

from filestored import errors
from filestored.web.errors import STATUSES
from tests.daemon_process import ROOT
from tests.docs.pages import text

START_ERRORS = {
    *("exit_with", "CannotStart", "UsageError"),
    *("UnusableStore", "UnknownAlgorithm", "AccessFileError"),
}
"""Functions and classes whose first argument is a line for the operator at the start, or of a command."""

LOG_METHODS = {"warn", "error", "critical"}
"""Methods of a logger. Those of `failure` are defects, and log a traceback."""

VALUE_MODULES = ("filestored/settings.py", "filestored/daemon/")
"""Sources in which the text of a `ValueError` is about the value of an option."""


def start_messages() -> set[str]:
    """Return the messages at the start of the daemon, and of commands."""
    return {
        message
        for path, name, call in _calls()
        if name in START_ERRORS or (name == "ValueError" and path.startswith(VALUE_MODULES))
        if (message := _argument(call, 0))
    }


def log_messages() -> set[str]:
    """Return the messages of the daemon's log that tell about trouble."""
    return {message for _, name, call in _calls() if name in LOG_METHODS if (message := _argument(call, 0))}


def response_messages() -> set[str]:
    """Return the texts of responses with an error status."""
    texts = {message for _, name, call in _calls() if name == "HTTPError" if (message := _argument(call, 1))}
    return texts | {str(kind()) for kind in STATUSES if kind is not errors.MalformedDigest}


def texts() -> set[str]:
    """Return all texts of the sources, docstrings included; those of one expression are one text."""
    return {
        node.value
        for path in _modules()
        for node in ast.walk(ast.parse(text(path)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _modules() -> Iterator[str]:
    """Yield the paths of all modules of the package."""
    for directory, _, names in sorted(os.walk(os.path.join(ROOT, "filestored"))):
        for name in sorted(names):
            if name.endswith(".py"):
                yield os.path.relpath(os.path.join(directory, name), ROOT)


def _calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Yield each call in the sources, with the path of the module and the name that is called."""
    for path in _modules():
        for node in ast.walk(ast.parse(text(path))):
            if isinstance(node, ast.Call):
                yield path, _called(node), node


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _argument(call: ast.Call, number: int) -> str:
    """Return an argument as a message; empty if it is no text, or all of it varies."""
    written = _text(call.args[number]) if len(call.args) > number else ""
    message = re.sub(r"\{\w+(:[^}]*)?\}", "…", written)
    return re.sub("…+", "…", message) if re.search(r"\w{3}", message) else ""


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "…" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return f"{_text(node.left) or '…'}{_text(node.right) or '…'}"
    return ""
