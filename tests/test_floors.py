"""The house stands: no module imports from a floor above its own, and each keeps to its trade.

The checker reads sources, it imports nothing; its twin below shows that it finds what it looks for.
"""

import ast
import os
from collections.abc import Iterator

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGE = "filestored"

VALUES = {"__version__", "interfaces", "errors", "digest", "settings"}
ROOMS = {"storage": 1, "http": 1, "logs": 1, "images": 2, "web": 3, "daemon": 3, "assembly": 4}
"""The floors of the folders; `VALUES` are floor 0, every other module of the package is floor 5."""

FILE_MODULES = {"pathlib", "shutil", "tempfile", "io", "mmap", "glob"}
HTTP_MODULES = {"twisted.web", "httptools", "http", "multipart"}


def sources() -> Iterator[tuple[str, str]]:
    """Dotted name and text of each module."""
    for folder, _, names in os.walk(os.path.join(ROOT, PACKAGE)):
        for name in sorted(names):
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                dotted = os.path.relpath(path, ROOT)[: -len(".py")].replace(os.sep, ".")
                with open(path, encoding="utf-8") as file:
                    yield dotted.removesuffix(".__init__"), file.read()


def floor(module: str) -> int:
    """The floor of a module of the package."""
    room = [*module.split("."), ""][1]
    if not room or room in VALUES:
        return 0
    return ROOMS.get(room, 5)


def imported(tree: ast.AST) -> Iterator[str]:
    """The dotted names that a module imports, of modules and of what is taken from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(tree: ast.AST) -> Iterator[str]:
    """The names that a module calls, dotted as they are written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def within(name: str, packages: set[str]) -> bool:
    """Whether a dotted name is one of these packages, or inside one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def faults(module: str, text: str) -> list[str]:
    """What a module does that its floor does not allow."""
    tree = ast.parse(text)
    names, calls = set(imported(tree)), set(called(tree))
    return [*_upward(module, names), *_out_of_trade(module, names, calls)]


def _upward(module: str, names: set[str]) -> list[str]:
    mine = floor(module)
    found = []
    for name in sorted(names):
        if within(name, {PACKAGE}) and floor(name) > mine:
            found.append(f"{module} imports {name} from a floor above")
        elif (
            within(name, {PACKAGE})
            and floor(name) == mine in {1, 3}
            and name.split(".")[1] != module.split(".")[1]
        ):
            found.append(f"{module} imports {name} from the room beside")
    return found


def _out_of_trade(module: str, names: set[str], calls: set[str]) -> list[str]:
    if within(module, {f"{PACKAGE}.web"}):
        found = {name for name in names if within(name, FILE_MODULES)} | calls & {
            "open",
            "os.open",
            "os.fdopen",
        }
        return [f"{module} opens files: {name}" for name in sorted(found)]
    if within(module, {f"{PACKAGE}.storage"}):
        return [f"{module} knows HTTP: {name}" for name in sorted(names) if within(name, HTTP_MODULES)]
    if floor(module) == 0:
        return [f"{module} does I/O: {name}" for name in sorted(calls & {"open", "os.open"})]
    return []


def test_no_module_reaches_above_its_floor_or_out_of_its_trade():
    assert [] == [fault for module, text in sources() for fault in faults(module, text)]


def test_no_module_imports_the_reactor_as_it_is_loaded():
    """Whoever needs one is given it; a module that imports it decides for everybody which one it is."""
    found = []
    for module, text in sources():
        statements = [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
        if "twisted.internet.reactor" in set(imported(ast.Module(statements, []))):
            found.append(module)
    assert [] == found


PLANTED = {
    "storage imports the web": (
        "filestored.storage.disk.backend",
        "from filestored.web.site import make_site",
    ),
    "storage imports http": ("filestored.storage.disk.backend", "import filestored.http.factory"),
    "storage knows HTTP": ("filestored.storage.store", "from twisted.web import server"),
    "storage parses HTTP": ("filestored.storage.store", "import httptools"),
    "http imports storage": ("filestored.http.channel", "from filestored.storage.store import Store"),
    "a value imports a room": ("filestored.digest", "def f():\n    from filestored.storage import disk"),
    "the log imports the daemon": (
        "filestored.logs.pipe_sink",
        "from filestored.daemon.settings import Settings",
    ),
    "the daemon imports the composition root": (
        "filestored.daemon.shift",
        "from filestored.assembly import make_server",
    ),
    "the web imports the daemon": ("filestored.web.files", "from filestored import service"),
    "the web opens a file": ("filestored.web.files", "def f(name):\n    return open(name)"),
    "the web opens a descriptor": ("filestored.web.files", "import os\nos.open('x', os.O_RDONLY)"),
    "the web knows paths": ("filestored.web.files", "from pathlib import Path"),
}


@pytest.mark.parametrize("case", PLANTED)
def test_a_planted_fault_is_found(case):
    assert 1 == len(faults(*PLANTED[case]))


GOOD = {
    "the web uses http": ("filestored.web.download", "from filestored.http.body import Body"),
    "the daemon uses all": (
        "filestored.service",
        "from filestored.storage.disk.backend import DiskBackend\nopen('x')",
    ),
    "a room uses itself": (
        "filestored.storage.disk.backend",
        "from filestored.storage.disk.sink import Sink",
    ),
    "a name that only begins like it": (
        "filestored.storage.disk.backend",
        "import httptoolsx, twisted.webby",
    ),
    "a method called open": ("filestored.web.files", "def f(store, digest):\n    return store.open(digest)"),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_is_allowed_is_not_a_fault(case):
    assert [] == faults(*GOOD[case])
