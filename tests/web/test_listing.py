"""Lists of files are made in several steps, so that other requests are served between them."""

import json

import pytest
from twisted.internet.defer import maybeDeferred

from filestored.storage.memory import MemoryBackend
from filestored.storage.store import Store
from filestored.web.listing import FileList
from tests.http_clients.in_memory import InMemoryClient
from tests.storage.contract import MD5, digest_of, put

CONTENTS = [b"%d" % number for number in range(5)]
NAMES = sorted(digest_of(content).hex for content in CONTENTS)


@pytest.fixture
def steps():
    """The limit of each job that lists files."""
    return []


@pytest.fixture
def ask(steps, monkeypatch):
    """A function that requests a list of five files, of which two are listed at once."""
    backend = MemoryBackend(MD5)
    for content in CONTENTS:
        put(backend, content)

    def run(function, /, *args, **kwargs):
        steps.append(args[-1])
        return maybeDeferred(function, *args, **kwargs)

    monkeypatch.setattr(Store, "max_listed_files", 2)
    client = InMemoryClient(FileList(Store(backend, MD5, run)))

    return lambda query="", **fields: client.ask("GET", f"/{query}", **fields).body


@pytest.mark.parametrize(
    ("limit", "expected"), [(1, [1]), (2, [2]), (3, [2, 1]), (4, [2, 2]), (5, [2, 2, 1]), (9, [2, 2, 2])]
)
def test_page_is_listed_in_steps(ask, steps, limit, expected):
    page = json.loads(ask(f"?limit={limit}"))
    assert expected == steps
    assert NAMES[:limit] == [each["hash"] for each in page["files"]]
    assert (NAMES[limit - 1] if limit <= 5 else None) == page["next"]


@pytest.mark.parametrize(("query", "expected"), [("", [2, 2, 2]), ("?limit=3", [2, 1]), ("?limit=4", [2, 2])])
def test_lines_are_listed_in_steps(ask, steps, query, expected):
    lines = ask(query, accept="application/x-ndjson").splitlines()
    assert expected == steps
    assert NAMES[: min(5, sum(expected))] == [json.loads(line)["hash"] for line in lines]
