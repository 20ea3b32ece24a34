"""Eight processes race for names, ids and accounts on two daemons of one bucket: each has one winner."""

import os

from tests.balanced_daemons import balanced_daemons
from tests.deep.bench import Bench, Verdict
from tests.deep.engine import engine
from tests.engine_race import run_race


def prove(bench: Bench) -> Verdict:
    """Race for the seconds of the bench, through a balancer."""
    with (
        engine(bench, "nginx") as server,
        balanced_daemons(
            server.make_prefix(), os.path.join(bench.directory, "race"), "--workers", "1"
        ) as both,
    ):
        race = run_race(both, bench.seconds)
    figure = f"{race.requests} requests, {race.contested} contested, {len(race.faults)} faults"
    return Verdict(f"{figure}: {race.faults[:5]}" if race.faults else figure, not race.faults)
