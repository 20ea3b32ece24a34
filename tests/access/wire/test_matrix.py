"""The access matrix over the wire of a real daemon."""

from tests.access.wire.matrix import ACCESS_TEXT, BASIC, BEARER, PLACES, UNKNOWN_PLACES, Matrix
from tests.access.wire.model import Credential

ACCESS = ACCESS_TEXT

MIN_REQUESTS = 10_000


def test_matrix_with_basic_credentials_holds_for_a_daemon(ask):
    check(ask, BASIC)


def check(ask, credentials: list[Credential]) -> None:
    """Run the matrix; fail with the first differences, and how many there are."""
    matrix = Matrix(ask)
    matrix.run(credentials, PLACES)
    matrix.run(at_unknown_places(credentials), UNKNOWN_PLACES)
    assert [] == matrix.differences[:20], f"{len(matrix.differences)} differences in {matrix.count} requests"
    assert MIN_REQUESTS < matrix.count


def at_unknown_places(credentials: list[Credential]) -> list[Credential]:
    """Return the credentials that are tried at addresses without a bucket."""
    names = ("none", "subset-rwdl-", "elsewhere", "star", "stranger", "malformed", "link of star")
    return [each for each in credentials if each.name in names]
