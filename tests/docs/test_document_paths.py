"""Documents: the paths, links, promise numbers and proofs that they name exist."""

import os
import re
from collections.abc import Iterator

import pytest

from tests.deep.__main__ import NAMES as PROOFS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODULE_DOCUMENTS = ("docs/architecture.md", "CONTRIBUTING.md")
FOLDERS = (".github", "bench", "deploy", "docs", "filestored", "tests")

_TREE = re.compile(r"^    filestored/\n((?: {4}.*\n|\n)+)", re.MULTILINE)
_TREE_ENTRY = re.compile(r"( +)(\w+(?:/|\.py))")
_LINK = re.compile(r"""(?:\]\(|src="|href="|srcset=")([^)\s"]+)""")


def text(path: str) -> str:
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def markdown_files() -> list[str]:
    found = [name for name in os.listdir(ROOT) if name.endswith(".md")]
    for folder in FOLDERS:
        for directory, folders, names in os.walk(os.path.join(ROOT, folder)):
            folders[:] = [name for name in folders if name != "node_modules"]  # of others, see tests/clients
            found += [
                os.path.relpath(os.path.join(directory, name), ROOT) for name in names if name.endswith(".md")
            ]
    return sorted(found)


def tree_of_modules(document: str) -> Iterator[str]:
    """Yield the path of each module in the indented list that begins with ``filestored/``."""
    folders: list[tuple[int, str]] = []
    for line in _TREE.findall(document)[0].splitlines():
        entry = _TREE_ENTRY.match(line)
        if entry is None:
            continue
        indentation, name = len(entry[1]), entry[2]
        folders = [folder for folder in folders if folder[0] < indentation]
        if name.endswith("/"):
            folders.append((indentation, name))
        else:
            yield "filestored/" + "".join(folder for _, folder in folders) + name


def named_modules(document: str) -> set[str]:
    """Return the paths with a folder, and the files of `filestored/`, that a document names in backticks."""
    return set(re.findall(r"`([\w./-]+\.py)`", document))


def exists(path: str) -> bool:
    """Return whether a path leads from the project's directory, or from `filestored/`, to a file."""
    return any(os.path.exists(os.path.join(ROOT, start, path)) for start in ("", "filestored"))


def slugs(document: str) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(document: str) -> list[str]:
    """Return the relative links of a Markdown file that lead to no file or no heading."""
    broken = []
    for link in _LINK.findall(text(document)):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = os.path.normpath(os.path.join(os.path.dirname(document), path)) if path else document
        if not os.path.exists(os.path.join(ROOT, target)) or (anchor and anchor not in slugs(text(target))):
            broken.append(link)
    return broken


def test_modules_in_the_tree_of_the_architecture_exist():
    modules = list(tree_of_modules(text("docs/architecture.md")))
    assert len(modules) > 100
    assert [] == [module for module in modules if not os.path.exists(os.path.join(ROOT, module))]


def test_all_modules_are_in_the_tree_of_the_architecture():
    modules = {
        os.path.relpath(os.path.join(directory, name), ROOT)
        for directory, _, names in os.walk(os.path.join(ROOT, "filestored"))
        for name in names
        if name.endswith(".py") and name != "__init__.py"
    }
    assert set() == modules - set(tree_of_modules(text("docs/architecture.md")))


@pytest.mark.parametrize("document", MODULE_DOCUMENTS)
def test_modules_named_in_a_document_exist(document):
    modules = named_modules(text(document))
    assert modules
    assert [] == sorted(module for module in modules if not exists(module))


@pytest.mark.parametrize("document", markdown_files())
def test_relative_links_lead_to_a_file_and_a_heading(document):
    assert [] == broken_links(document)


@pytest.mark.parametrize("document", [*MODULE_DOCUMENTS, "docs/promises.md", "docs/protocol.md"])
def test_test_folders_named_in_a_document_exist(document):
    folders = set(re.findall(r"\btests/\w+", text(document)))
    assert [] == sorted(
        each for each in folders - {"tests/NAME"} if not os.path.isdir(os.path.join(ROOT, each))
    )


@pytest.mark.parametrize("document", [*MODULE_DOCUMENTS, "docs/promises.md"])
def test_proofs_named_in_a_document_exist(document):
    runs = re.findall(r"`python -m tests\.deep((?: \w[\w-]*)*)", text(document))
    assert set() == {name for run in runs for name in run.split()} - {*PROOFS, "NAME"}


def test_each_proof_shows_a_promise():
    runs = re.findall(r"`python -m tests\.deep((?: \w[\w-]*)*)", text("docs/promises.md"))
    assert set(PROOFS) == {name for run in runs for name in run.split()} - {"NAME"}


def test_promises_that_proofs_cite_exist():
    promises = set(re.findall(r"^\| (P\d+) ", text("docs/promises.md"), re.MULTILINE))
    directory = os.path.join(ROOT, "tests", "deep")
    modules = [name for name in os.listdir(directory) if name.endswith(".py")]
    cited = {number for name in modules for number in re.findall(r"\bP\d+\b", text(f"tests/deep/{name}"))}
    assert cited
    assert set() == cited - promises
