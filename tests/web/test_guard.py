"""Guard: decisions are cached until the rules change or the token expires."""

import pytest
from twisted.internet.defer import maybeDeferred

from filestored.access.rules import AccessRules, Right, Token
from filestored.access.tokens import make_secret, sha256_of
from filestored.digest import algorithm
from filestored.storage.memory import MemoryBackend
from filestored.storage.store import Store
from filestored.web.guard import Guard
from filestored.web.site import make_site
from tests.http_clients.in_memory import InMemoryClient

SECRET = make_secret()
FILE = f"/files/{'0' * 64}"
BEARER = f"Bearer {SECRET}"


def rules(*rights, expires=None):
    return AccessRules({"t": Token("t", sha256_of(SECRET), expires, {"default": frozenset(rights)})}, {})


@pytest.fixture
def now():
    return [1000.0]


@pytest.fixture
def guard(now):
    return Guard(now=lambda: now[0])


@pytest.fixture
def client(guard):
    sha256 = algorithm("sha256")
    return InMemoryClient(make_site(Store(MemoryBackend(sha256), sha256, maybeDeferred), guard=guard))


def statuses(client, **fields):
    """The statuses of two equal requests for a file that is not stored."""
    return [client.ask("GET", FILE, **fields).status for _ in range(2)]


def test_repeated_decision_is_the_same(client, guard):
    guard.rules = rules(Right.READ)
    assert [404, 404] == statuses(client, Authorization=BEARER)
    guard.rules = rules(Right.WRITE)
    assert [403, 403] == statuses(client, Authorization=BEARER)


def test_decision_of_former_rules_is_forgotten(client, guard):
    guard.rules = rules(Right.READ)
    assert [404, 404] == statuses(client, Authorization=BEARER)
    guard.rules = AccessRules({}, {})
    assert [401, 401] == statuses(client, Authorization=BEARER)
    guard.rules = rules(Right.READ)
    assert [404, 404] == statuses(client, Authorization=BEARER)


def test_decision_ends_with_the_token(client, guard, now):
    guard.rules = rules(Right.READ, expires=1001.0)
    assert [404, 404] == statuses(client, Authorization=BEARER)
    now[0] = 1001.0
    assert [401, 401] == statuses(client, Authorization=BEARER)


def test_decision_is_that_of_one_right(client, guard):
    guard.rules = rules(Right.READ)
    assert [404, 404] == statuses(client, Authorization=BEARER)
    assert 403 == client.ask("DELETE", FILE, Authorization=BEARER).status


def test_decision_is_that_of_one_secret(client, guard):
    guard.rules = rules(Right.READ)
    assert [404, 404] == statuses(client, Authorization=BEARER)
    assert [401, 401] == statuses(client, Authorization=f"Bearer {make_secret()}")
    assert [401, 401] == statuses(client)


def test_link_beside_a_token_is_decided_each_time(client, guard):
    guard.rules = rules(Right.WRITE)
    for _ in range(2):
        answer = client.ask("GET", f"{FILE}?key=0&expires=1&signature=2", Authorization=BEARER)
        assert 403 == answer.status
        assert b"link" in answer.body
