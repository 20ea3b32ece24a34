"""Vocabulary rules: banned words in names, docstrings and comments.

The checker reads sources and imports nothing of them. One test per folder lists ``file:line: word``; to work
through one folder, run ``pytest tests/test_names.py -k "folder[filestored/http]"``.
"""

import ast
import io
import os
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOPS = ("filestored", "bench", "tests", "twisted")


def _words(text: str) -> set[str]:
    return set(text.split())


BANNED_IN_NAMES = _words(
    """
    apart ashore bury chamber clerk crowd darkroom deluge endings family gulp hearsay house hub luggage outlet
    papers patience polite portions premises presence puller pulling rotten scratch shelves shift tenancy twin
    workshop
    """
)
"""Metaphors, as parts of the names of modules, classes, functions, constants and attributes."""

BANNED_MODULES_AND_CLASSES = _words("answers arrival doors folders intake roles room turn")
"""Words of the names of modules and classes only; in other names they may be plain."""

BANNED_METHODS = _words("take give hear tell say rest enter gone settle judge go_on")
"""Names of functions and methods, without leading underscores."""

OPENERS = _words("what who how where when whose which may whether why")
"""First words of docstrings. A docstring begins with a noun phrase or a verb."""

BANNED_IN_PROSE = _words(
    """
    somebody nobody whoever anybody everybody someone anyone whomever we us our ours ourselves
    ashore bury buries buried chamber clerk darkroom deluge gulp hearsay house luggage outlet polite politely
    premises tenancy
    """
)
"""Words of docstrings and comments: persons in the place of types, and metaphors."""

ALLOWED_FILES = {"test_names.py": "lists the words"}
"""Files that are not read, with the reason."""

ALLOWED_NAMES = {"family": "the address family of a socket"}
"""Names that keep a banned word, such as a method that Twisted prescribes, with the reason."""

ALLOWED_IN_PROSE = {"US": "the country, as in US-ASCII"}
"""Words of docstrings and comments as they are written, with the reason."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A banned word, its file and line, and the kind of place."""

    path: str
    line: int
    word: str
    place: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word} ({self.place})"


def parts(name: str) -> list[str]:
    """Return the words of a snake_case or CamelCase name in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def findings(path: str, text: str) -> list[Finding]:
    """Return the banned words of one file, in order of lines."""
    if os.path.basename(path) in ALLOWED_FILES:
        return []
    tree = ast.parse(text)
    found = [*_in_path(path), *_in_names(path, tree), *_in_docstrings(path, tree), *_in_comments(path, text)]
    return sorted(found, key=lambda each: (each.line, each.word))


def _in_path(path: str) -> Iterator[Finding]:
    module = os.path.splitext(os.path.basename(path))[0]
    if module == "__init__":
        module = os.path.basename(os.path.dirname(path))
    banned = BANNED_IN_NAMES if module.startswith("test_") else BANNED_IN_NAMES | BANNED_MODULES_AND_CLASSES
    yield from _in_name(path, 1, module, banned)


def _in_names(path: str, tree: ast.AST) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from _in_name(path, node.lineno, node.name, BANNED_IN_NAMES | BANNED_MODULES_AND_CLASSES)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            plain = node.name if node.name.endswith("__") else node.name.lstrip("_")
            if plain in BANNED_METHODS and node.name not in ALLOWED_NAMES:
                yield Finding(path, node.lineno, node.name, "name of a function")
            yield from _in_name(path, node.lineno, node.name, BANNED_IN_NAMES)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield from _in_name(path, node.lineno, node.attr, BANNED_IN_NAMES)
    for body in _bodies(tree):
        for target in (target for node in body for target in _targets(node)):
            yield from _in_name(path, target.lineno, target.id, BANNED_IN_NAMES)


def _in_name(path: str, line: int, name: str, banned: set[str]) -> Iterator[Finding]:
    if name not in ALLOWED_NAMES:
        yield from (Finding(path, line, word, f"name {name}") for word in parts(name) if word in banned)


def _bodies(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield the statements of the module and of its classes: constants and attributes, no local variables."""
    yield from (node.body for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef))


def _targets(node: ast.stmt) -> Iterator[ast.Name]:
    targets: list[ast.AST] = []
    if isinstance(node, ast.Assign):
        targets = [each for target in node.targets for each in ast.walk(target)]
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    yield from (target for target in targets if isinstance(target, ast.Name))


def _in_docstrings(path: str, tree: ast.AST) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            if docstring is not None:
                yield from _in_docstring(path, node.body[0].lineno, docstring)
    for body in _bodies(tree):
        for before, after in pairwise(body):
            if isinstance(before, ast.Assign | ast.AnnAssign) and (text := _string(after)) is not None:
                yield from _in_docstring(path, after.lineno, text)


def _string(node: ast.stmt) -> str | None:
    """Return the text of a statement that is only a string, as below a constant; otherwise None."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return node.value.value if isinstance(node.value.value, str) else None
    return None


def _in_docstring(path: str, line: int, text: str) -> Iterator[Finding]:
    opener = re.match(r"\W*([A-Za-z]+)", text)
    if opener and opener[1].lower() in OPENERS:
        yield Finding(path, line, opener[1], "opener of a docstring")
    yield from _in_prose(path, line, text, "docstring")


def _in_comments(path: str, text: str) -> Iterator[Finding]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield from _in_prose(path, token.start[0], token.string, "comment")


def _in_prose(path: str, line: int, text: str, place: str) -> Iterator[Finding]:
    """Yield the banned words outside backquotes, which hold code. ``us`` after a number is microseconds."""
    for number, each in enumerate(text.split("\n")):
        for word in re.findall(r"[A-Za-z]+", re.sub(r"`+[^`]*`+|[0-9] us\b", " ", each)):
            if word.lower() in BANNED_IN_PROSE and word not in ALLOWED_IN_PROSE:
                yield Finding(path, line + number, word, place)


# --- the project --------------------------------------------------------------------------------------------


def files_of(folder: str) -> list[str]:
    """Return the Python files of a folder, relative to the root, without those of its subfolders."""
    names = sorted(os.listdir(os.path.join(ROOT, folder)))
    return [os.path.normpath(os.path.join(folder, name)) for name in names if name.endswith((".py", ".tac"))]


def folders() -> list[str]:
    """Return the folders of the project that hold Python files; ``.`` is its root, which holds the .tac."""
    below = [os.path.relpath(found, ROOT) for top in TOPS for found, _, _ in os.walk(os.path.join(ROOT, top))]
    return sorted(folder for folder in [*below, "."] if files_of(folder))


def report(folder: str) -> list[str]:
    """Return the findings in one folder as lines of text."""
    found = []
    for path in files_of(folder):
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            found += [str(each) for each in findings(path, file.read())]
    return found


@pytest.mark.parametrize("folder", folders())
def test_no_banned_word_in_folder(folder):
    found = report(folder)
    if found:
        pytest.fail(f"{len(found)} banned words in {folder}\n" + "\n".join(found), pytrace=False)


def test_package_and_tests_are_among_the_folders():
    assert {".", "filestored", "filestored/http", "bench", "tests", "twisted/plugins"} <= set(folders())


# --- planted faults -----------------------------------------------------------------------------------------

PLANTED = {
    "name of a module": ("filestored/images/darkroom.py", "", "darkroom"),
    "part of the name of a module": ("filestored/http/socket_outlet.py", "", "outlet"),
    "name of a package": ("filestored/hub/__init__.py", "", "hub"),
    "name of a module only": ("filestored/storage/turn.py", "", "turn"),
    "name of a class": ("filestored/m.py", "class ImageChamber: ...", "chamber"),
    "name of a class only": ("filestored/m.py", "class Turn: ...", "turn"),
    "name of a function": ("filestored/m.py", "def _lose_patience(): ...", "patience"),
    "name of a constant": ("filestored/m.py", "MAX_PORTIONS = 1", "portions"),
    "name of an attribute": ("filestored/m.py", "class C:\n    hub: int = 1", "hub"),
    "name of an attribute of self": ("filestored/m.py", "def f(self):\n    self._hub = 1", "hub"),
    "name of a constant among others": ("filestored/m.py", "A, SHIFT = 1, 2", "shift"),
    "name of a method": ("filestored/m.py", "class C:\n    def take(self): ...", "take"),
    "name of a private method": ("filestored/m.py", "class C:\n    def _go_on(self): ...", "_go_on"),
    "name of a coroutine": ("filestored/m.py", "async def settle(): ...", "settle"),
    "opener of a module": ("filestored/m.py", '"""How long a request takes."""', "How"),
    "opener of a class": ("filestored/m.py", 'class C:\n    """What it is."""', "What"),
    "opener of a function": ("filestored/m.py", 'def f():\n    """Whether it is so."""', "Whether"),
    "opener below a constant": ("filestored/m.py", 'A = 1\n"""Where it is."""', "Where"),
    "opener below an attribute": ("filestored/m.py", 'class C:\n    a = 1\n    """Who it is."""', "Who"),
    "person in a later line": ("filestored/m.py", '"""Queue.\n\nFor whoever waits.\n"""', "whoever"),
    "person in a comment": ("filestored/m.py", "a = 1  # nobody reads it", "nobody"),
    "first person": ("filestored/m.py", "# Our own copy.\n", "Our"),
    "metaphor in a docstring": ("filestored/m.py", '"""TLS, which stays ashore."""', "ashore"),
    "name of a test": ("tests/m.py", "def test_darkroom_is_closed(): ...", "darkroom"),
}


@pytest.mark.parametrize("case", PLANTED)
def test_planted_word_is_found(case):
    path, text, word = PLANTED[case]
    assert [word] == [each.word for each in findings(path, text)]


def test_finding_names_file_line_and_word():
    text = '"""Queue.\n\nLimits, as nobody waits.\n"""'
    assert ["filestored/m.py:3: nobody (docstring)"] == [
        str(each) for each in findings("filestored/m.py", text)
    ]


GOOD = {
    "word inside a word": ("filestored/shifted.py", "class Hubris: ...\nMISTAKE = 1\ndef housed(): ..."),
    "method with a longer name": ("filestored/m.py", "def take_snapshot(): ...\ndef undertake(): ..."),
    "microseconds": ("filestored/m.py", "# It takes 10 us.\n"),
    "magic method": ("filestored/m.py", "class C:\n    def __enter__(self): ..."),
    "local variable": ("filestored/m.py", "def f():\n    hub = 1"),
    "question word in the middle": ("filestored/m.py", '"""Return True when it is so."""'),
    "verb that begins like a question word": ("filestored/m.py", 'def f():\n    """Whitelist a name."""'),
    "code in backquotes": ("filestored/m.py", '"""Writes ``whoever`` and `nobody`."""'),
    "string that is no docstring": ("filestored/m.py", 'a = f("nobody")'),
    "country": ("filestored/m.py", "# ASCII is of the US.\n"),
    "name on the allow-list": ("filestored/m.py", "class C:\n    family: int"),
    "turn in the name of a function": ("filestored/m.py", "def return_it(): ...\ndef each_turn(): ..."),
}


@pytest.mark.parametrize("case", GOOD)
def test_allowed_word_is_not_found(case):
    assert [] == findings(*GOOD[case])
