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
    kinds = {kind for kind in _kinds(errors.FilestoredError) if issubclass(kind, tuple(STATUSES))}
    places = {
        **dict.fromkeys((kind.__name__ for kind in kinds), 0),
        "HTTPError": 1,
        "BadRequest": 1,
        "cls": 0,
    }
    own = {
        message
        for path, name, call in _calls()
        if name in places and (name != "cls" or path == "filestored/errors.py")
        if (message := _argument(call, places[name]))
    }
    of_log_only = (errors.EngineError, errors.MalformedDigest)
    return own | {str(kind()) for kind in STATUSES if not issubclass(kind, of_log_only)}


def _kinds(base: type) -> Iterator[type]:
    """Yield a class and all below it."""
    yield base
    for kind in base.__subclasses__():
        yield from _kinds(kind)


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
        module = ast.parse(text(path))
        constants = {
            target.id: node.value
            for node in module.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(module):
            if isinstance(node, ast.Call):
                arguments = [
                    constants.get(each.id, each) if isinstance(each, ast.Name) else each for each in node.args
                ]
                yield path, _called(node), ast.Call(node.func, arguments, node.keywords)


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
