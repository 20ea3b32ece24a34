"""Race for names, ids and accounts of images, on two daemons of one object store; see `tests.engine_race`."""

import pytest

from tests.balanced_daemons import BALANCED
from tests.engine_race import run_race

SECONDS = 3.0


@pytest.mark.parametrize("start_server", [BALANCED], indirect=True)
def test_each_name_and_each_account_has_one_winner(start_server):
    race = run_race(start_server(), SECONDS)
    assert [] == race.faults
    assert race.contested >= 3
