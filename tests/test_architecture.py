"""Architecture rules: floors, import circles, trades of the folders, sizes of folders and functions.

The checkers read sources and import nothing of them. Each has a table of planted faults that it must find.
"""

import ast
import os
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGE = "filestored"

FLOORS = {
    "": 0,  # the package's own __init__
    "interfaces": 0,
    "errors": 0,
    "digest": 0,
    "settings": 0,
    "bounded_cache": 0,
    "metrics": 0,
    "request_context": 0,
    "access": 1,
    "client": 1,
    "storage": 1,
    "http": 1,
    "logs": 1,
    "images": 2,
    "web": 3,
    "daemon": 3,
    "stores": 3,
    "assembly": 4,
    "service": 5,
    "worker": 5,
    "cli": 5,
    "__main__": 5,
    "commands": 5,
    "account_admin": 5,
}
"""The floor of each module and folder at the top of the package. A newcomer has none and is a fault."""

FOLDERS = {"metrics", "access", "client", "commands", "storage", "http", "logs", "images", "web", "daemon"}
"""Folders. Those of one floor do not import each other."""

FILE_MODULES = {"pathlib", "shutil", "tempfile", "io", "mmap", "glob"}
HTTP_MODULES = {"twisted.web", "httptools", "http", "multipart"}

MAX_FILES = 16
"""Python files in one folder, `__init__.py` counted."""

MAX_LINES = 30
"""Lines of one function from ``def`` to its end, without docstring, comments and blank lines."""

Sources = Mapping[str, str]
"""Texts of modules by their dotted names."""


def paths(top: str) -> Iterator[str]:
    """Yield the Python files below a folder of the project, relative to its root."""
    for folder, _, names in os.walk(os.path.join(ROOT, top)):
        for name in sorted(names):
            if name.endswith(".py"):
                yield os.path.relpath(os.path.join(folder, name), ROOT)


def read(path: str) -> str:
    """Return the text of a file of the project."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def sources() -> dict[str, str]:
    """Return the modules of the package."""
    return {
        path.removesuffix(".py").replace(os.sep, ".").removesuffix(".__init__"): read(path)
        for path in paths(PACKAGE)
    }


def top_name(name: str) -> str:
    """Return the second part of a dotted name, which is the module or folder at the top of the package."""
    return [*name.split("."), ""][1]


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names of imported modules and of imported names, also inside functions."""
    for node in ast.walk(tree):
        yield from _names(node)


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def imported_at_runtime(tree: ast.AST, in_functions: bool) -> Iterator[str]:
    """Yield the dotted names that a module imports outside ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not in_functions:
            continue
        yield from _names(node)
        yield from imported_at_runtime(node, in_functions)


def called(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a module calls, dotted as they are written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def within(name: str, packages: set[str]) -> bool:
    """Return whether a dotted name is one of these packages, or inside one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


# --- floors and trades --------------------------------------------------------------------------------------


def faults(module: str, text: str) -> list[str]:
    """Return the faults of one module against its floor and its trade."""
    tree = ast.parse(text)
    names, calls = set(imported(tree)), set(called(tree))
    if top_name(module) not in FLOORS:
        return [f"{module} has no floor"]
    return [*_upward(module, names), *_out_of_trade(module, names, calls)]


def _upward(module: str, names: set[str]) -> Iterator[str]:
    folder = top_name(module)
    floor = FLOORS[folder]
    for name in sorted(names):
        if name.startswith("."):
            yield f"{module} imports {name} by a relative name"
        if not within(name, {PACKAGE}):
            continue
        other = top_name(name)
        if FLOORS.get(other, 0) > floor:
            yield f"{module} imports {name} from a floor above"
        elif {folder, other} <= FOLDERS and folder != other and FLOORS[other] == floor:
            yield f"{module} imports {name} from a folder of the same floor"


def _out_of_trade(module: str, names: set[str], calls: set[str]) -> list[str]:
    if within(module, {f"{PACKAGE}.web"}):
        found = {name for name in names if within(name, FILE_MODULES)} | calls & {
            "open",
            "os.open",
            "os.fdopen",
        }
        return [f"{module} opens files: {name}" for name in sorted(found)]
    if within(module, {f"{PACKAGE}.storage", f"{PACKAGE}.images", f"{PACKAGE}.access"}):
        found = {name for name in names if within(name, HTTP_MODULES)}
        if found:
            return [f"{module} uses HTTP: {name}" for name in sorted(found)]
    if FLOORS[top_name(module)] == 0 or _is_pure(module):
        return [f"{module} does I/O: {name}" for name in sorted(calls & {"open", "os.open"})]
    return []


def _is_pure(module: str) -> bool:
    """Return whether a module of `access/` has to be pure; one of them reads and writes its file."""
    return within(module, {f"{PACKAGE}.access"}) and module != f"{PACKAGE}.access.access_file"


def test_modules_keep_to_their_floor_and_trade():
    assert [] == [fault for module, text in sources().items() for fault in faults(module, text)]


def test_no_module_imports_the_reactor_at_its_top_level():
    """An importer would decide for the whole process which reactor is installed."""
    found = [
        module
        for module, text in sources().items()
        if "twisted.internet.reactor" in set(imported_at_runtime(ast.parse(text), in_functions=False))
    ]
    assert [] == found


PLANTED = {
    "storage imports the web": (
        "filestored.storage.disk.backend",
        "from filestored.web.site import make_site",
    ),
    "storage imports http": ("filestored.storage.disk.backend", "import filestored.http.factory"),
    "storage knows HTTP": ("filestored.storage.store", "from twisted.web import server"),
    "storage parses HTTP": ("filestored.storage.store", "import httptools"),
    "images know HTTP": ("filestored.images.gallery", "from http import HTTPStatus"),
    "http imports storage": ("filestored.http.channel", "from filestored.storage.store import Store"),
    "access imports storage": ("filestored.access.rules", "from filestored.storage.store import Store"),
    "access knows HTTP": ("filestored.access.decisions", "from twisted.web import http"),
    "access opens a file elsewhere": ("filestored.access.rules", "def f(name):\n    return open(name)"),
    "the client imports access": ("filestored.client.server", "from filestored.access.tokens import key_id"),
    "the client imports commands": ("filestored.client.upload", "from filestored.commands import output"),
    "storage imports logs": ("filestored.storage.store", "from filestored.logs.writers import write_all"),
    "logs import settings of the daemon": (
        "filestored.logs.loguru_sink",
        "from filestored.daemon.settings import LogSettings",
    ),
    "the daemon imports the composition root": (
        "filestored.daemon.worker",
        "from filestored.assembly import make_server",
    ),
    "the composition root imports its user": (
        "filestored.assembly",
        "def f():\n    from filestored.worker import main",
    ),
    "a value imports storage in a function": (
        "filestored.digest",
        "def f():\n    from filestored.storage import disk",
    ),
    "a value imports storage for its types": (
        "filestored.digest",
        "if TYPE_CHECKING:\n    from filestored.storage.store import Store",
    ),
    "a value does I/O": ("filestored.settings", "def f(name):\n    return open(name)"),
    "the web imports the daemon": ("filestored.web.files", "from filestored.daemon.server import Server"),
    "the daemon imports the web": ("filestored.daemon.server", "from filestored.web import site"),
    "the web imports the service": ("filestored.web.files", "from filestored import service"),
    "the web opens a file": ("filestored.web.files", "def f(name):\n    return open(name)"),
    "the web opens a descriptor": ("filestored.web.files", "import os\nos.open('x', os.O_RDONLY)"),
    "the web uses paths": ("filestored.web.files", "from pathlib import Path"),
    "a relative import": ("filestored.web.files", "from . import site"),
    "a module without a floor": ("filestored.newcomer", "import os"),
    "a folder without a floor": ("filestored.newcomers.one", "import os"),
}


@pytest.mark.parametrize("case", PLANTED)
def test_planted_fault_of_a_module_is_found(case):
    assert 1 == len(faults(*PLANTED[case]))


GOOD = {
    "the web uses http": ("filestored.web.download", "from filestored.http.body import RequestBody"),
    "assembly uses all": (
        "filestored.assembly",
        "from filestored.storage.disk.backend import DiskBackend\nfrom filestored.web.site import make_site\n"
        "open('x')",
    ),
    "a folder uses itself": (
        "filestored.storage.disk.backend",
        "from filestored.storage.disk.sink import DiskSink",
    ),
    "a folder uses its subfolder": ("filestored.storage.store", "from filestored.storage.disk import sink"),
    "values use each other": ("filestored.interfaces", "from filestored.digest import Digest"),
    "main functions use each other": ("filestored.cli", "from filestored.account_admin import main"),
    "the version of the package": ("filestored.storage.store", "from filestored import __version__"),
    "a name that only begins like it": ("filestored.storage.store", "import httptoolsx, twisted.webby"),
    "a method called open": ("filestored.web.files", "def f(store, digest):\n    return store.open(digest)"),
}


@pytest.mark.parametrize("case", GOOD)
def test_allowed_import_is_no_fault(case):
    assert [] == faults(*GOOD[case])


# --- circles ------------------------------------------------------------------------------------------------


def circle(modules: Sources, in_functions: bool) -> list[str]:
    """Return the modules of one import circle, or an empty list. `in_functions` counts imports there, too."""
    graph: dict[str, set[str]] = {}
    for module, text in modules.items():
        names = imported_at_runtime(ast.parse(text), in_functions)
        graph[module] = {target for name in names if (target := _module_of(name, modules))} - {module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _module_of(name: str, modules: Sources) -> str | None:
    """Return the module that an imported name is, or is in."""
    return next((each for each in (name, name.rpartition(".")[0]) if each in modules), None)


@pytest.mark.parametrize("in_functions", [False, True])
def test_no_modules_import_each_other_in_a_circle(in_functions):
    assert [] == circle(sources(), in_functions)


PLANTED_CIRCLES = {
    "of two": ({"a.x": "import a.y", "a.y": "from a.x import f"}, False),
    "of three": ({"a.x": "import a.y", "a.y": "from a import z", "a.z": "from a.x import f"}, False),
    "under a condition": ({"a.x": "if 1:\n    import a.y", "a.y": "from a.x import f"}, False),
    "in a function": ({"a.x": "def f():\n    import a.y", "a.y": "from a.x import f"}, True),
}


@pytest.mark.parametrize("case", PLANTED_CIRCLES)
def test_planted_circle_is_found(case):
    assert {"a.x", "a.y"} <= set(circle(*PLANTED_CIRCLES[case]))


GOOD_IMPORTS = {
    "a triangle": ({"a.x": "import a.y, a.z", "a.y": "from a import z", "a.z": ""}, True),
    "for types only": ({"a.x": "if TYPE_CHECKING:\n    import a.y", "a.y": "from a.x import f"}, True),
    "in a function, which is not counted": (
        {"a.x": "def f():\n    import a.y", "a.y": "from a.x import f"},
        False,
    ),
}


@pytest.mark.parametrize("case", GOOD_IMPORTS)
def test_imports_in_one_direction_are_no_circle(case):
    assert [] == circle(*GOOD_IMPORTS[case])


# --- sizes --------------------------------------------------------------------------------------------------


def crowded(files: Iterable[str]) -> list[str]:
    """Return the folders with more than `MAX_FILES` of these files."""
    count: dict[str, int] = {}
    for path in files:
        folder = os.path.dirname(path)
        count[folder] = count.get(folder, 0) + 1
    return [f"{folder}: {number} files" for folder, number in sorted(count.items()) if number > MAX_FILES]


def test_no_folder_has_more_than_16_files():
    assert [] == crowded(paths(PACKAGE))


def test_planted_folder_of_17_files_is_found():
    full = [f"a/full/{number}.py" for number in range(16)]
    over = [f"a/over/{number}.py" for number in range(17)]
    assert ["a/over: 17 files"] == crowded([*full, *over])


def long_functions(path: str, text: str) -> list[str]:
    """Return the functions of a module with more than `MAX_LINES` lines of code."""
    lines = text.split("\n")
    return [
        f"{path}:{node.lineno}: {node.name} has {size} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (size := _code_lines(node, lines)) > MAX_LINES
    ]


def _code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    docstring = range(0)
    if ast.get_docstring(node) is not None:
        docstring = range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    return sum(
        bool(lines[number - 1].strip()) and not lines[number - 1].lstrip().startswith("#")
        for number in range(node.lineno, (node.end_lineno or 0) + 1)
        if number not in docstring
    )


@pytest.mark.parametrize("top", [PACKAGE, "bench"])
def test_no_function_has_more_than_30_lines(top):
    assert [] == [found for path in paths(top) for found in long_functions(path, read(path))]


LONG = {
    "31 statements": ("def f():\n" + "    f()\n" * 30, 1),
    "30 lines": ("def f():\n" + "    f()\n" * 29, 0),
    "one statement of 31 lines": ("def f():\n    return (\n" + "        f,\n" * 28 + "    )", 1),
    "docstring, comments and blank lines": (
        'def f():\n    """Return.\n\n    More.\n    """\n' + "    f()\n\n    # so\n" * 29,
        0,
    ),
    "a coroutine in a class": ("class C:\n    async def f():\n" + "        f()\n" * 30, 1),
}


@pytest.mark.parametrize("case", LONG)
def test_long_function_is_found_by_its_lines_of_code(case):
    text, expected = LONG[case]
    assert expected == len(long_functions("m.py", text))
