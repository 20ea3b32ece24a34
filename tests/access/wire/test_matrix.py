"""The access matrix over the wire: in memory, and of a real daemon."""

import pytest

from filestored.access.decisions import Credentials, Decision, Outcome, decide
from tests.access.wire.access_files import write_access
from tests.access.wire.clients import access_path
from tests.access.wire.in_memory import InMemorySite
from tests.access.wire.kept_connection import KeptConnection
from tests.access.wire.matrix import ACCESS_TEXT, BASIC, BEARER, PLACES, UNKNOWN_PLACES, Matrix
from tests.access.wire.model import Credential
from tests.balanced_daemons import start_on_engine
from tests.seaweedfs import NEEDS

ACCESS = ACCESS_TEXT

MIN_REQUESTS = 10_000

MANY = ("none", "subset-r-", "subset-w-", "subset-d-", "subset-l-", "subset-rwdl-", "elsewhere", "star-but")
MANY_CREDENTIALS = [
    *(each for each in BASIC if each.name in MANY),
    *(each for each in BASIC if each.name in ("expired-moment", "stranger", "malformed")),
    *(each for each in BASIC if each.name in ("link of subset-r-", "link of subset-w-", "link of star")),
]
SOME_CREDENTIALS = [
    each for each in BASIC if each.name in ("none", "subset-rwdl-", "subset-w-", "elsewhere", "link of star")
]


def test_matrix_with_bearer_credentials_holds_in_memory():
    check(InMemorySite(ACCESS), BEARER, MIN_REQUESTS)


def test_matrix_of_many_credentials_holds_for_a_daemon(served):
    """The one with all credentials is part of ``python -m tests.deep access``."""
    with KeptConnection(served.port) as ask:
        check(ask, MANY_CREDENTIALS, MIN_REQUESTS // 4)


@NEEDS
def test_matrix_of_some_credentials_holds_for_a_daemon_on_an_object_store(tmp_path, prefix):
    path = write_access(access_path(str(tmp_path)), ACCESS)
    running = start_on_engine(prefix, str(tmp_path), [], "--workers", "1", "--access", path)
    with KeptConnection(running.port) as ask:
        matrix = Matrix(ask)
        matrix.run(SOME_CREDENTIALS, PLACES[:1] + PLACES[2:4])
        matrix.run(SOME_CREDENTIALS, UNKNOWN_PLACES[:1])
    running.end()
    assert [] == matrix.differences[:20], f"{len(matrix.differences)} differences in {matrix.count} requests"


def check(ask, credentials: list[Credential], min_requests: int) -> None:
    """Run the matrix; fail with the first differences, and how many there are."""
    matrix = Matrix(ask)
    matrix.run_everywhere(credentials)
    assert [] == matrix.differences[:20], f"{len(matrix.differences)} differences in {matrix.count} requests"
    assert min_requests < matrix.count


# --- planted faults ----------------------------------------------------------------------------------------

FEW_CREDENTIALS = [each for each in BEARER if each.name in ("none", "subset-r-", "elsewhere", "stranger")]
FEW_PLACES = [PLACES[2], PLACES[3], UNKNOWN_PLACES[0]]


def allow_all(rules, credentials, bucket, right, now):
    return Decision(Outcome.ALLOWED, private=True)


def tell_forbidden_from_unknown(rules, credentials, bucket, right, now):
    found = decide(rules, credentials, bucket, right, now)
    known = bucket in rules.buckets and found.outcome is Outcome.UNKNOWN_BUCKET
    return found._replace(outcome=Outcome.FORBIDDEN) if known else found


def take_wrong_credentials_for_none(rules, credentials, bucket, right, now):
    found = decide(rules, credentials, bucket, right, now)
    return found if found.outcome is Outcome.ALLOWED else decide(rules, Credentials(), bucket, right, now)


def let_caches_share(rules, credentials, bucket, right, now):
    return decide(rules, credentials, bucket, right, now)._replace(private=False)


FAULTS = [allow_all, tell_forbidden_from_unknown, take_wrong_credentials_for_none, let_caches_share]


@pytest.mark.parametrize("fault", FAULTS)
def test_matrix_finds_a_planted_fault(monkeypatch, fault):
    monkeypatch.setattr("filestored.web.guard.decide", fault)
    matrix = Matrix(InMemorySite(ACCESS))
    matrix.run(FEW_CREDENTIALS, FEW_PLACES[:2])
    assert [] != matrix.differences


def test_matrix_finds_none_without_a_planted_fault():
    matrix = Matrix(InMemorySite(ACCESS))
    matrix.run(FEW_CREDENTIALS, FEW_PLACES)
    assert [] == matrix.differences
