"""Taking turns: every round goes through all servers of a work, so that each has neighbours in time.

The order is the same in each round, but begins with another server, for the server after a heavy
one. A server that fails at a work is left out of it, and the report says why. No server is warmed up:
what a first turn costs, the median of the rounds forgets.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.cpu_affinity import Cores, on
from bench.servers.base import Server
from bench.statistics import Sample
from bench.workloads import Workload

Say = Callable[[str], None]
"""Tells the person who waits what is going on."""


@dataclass
class Result:
    """Result of a workload: samples by server, and the reasons of failures."""

    work: Workload
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def take_turns(
    work: Workload, servers: Mapping[str, Server], cores: Cores, *, rounds: int, seconds: float, say: Say
) -> Result:
    """All rounds of one work."""
    result = Result(work)
    present = [servers[name] for name in work.who if name in servers]
    with on(cores.clients(work.workers)):
        for number in range(rounds):
            start = number % len(present) if present else 0
            for server in present[start:] + present[:start]:
                _turn(result, server, seconds)
            say(f"  {work.name}: round {number + 1} of {rounds}")
    return result


def _turn(result: Result, server: Server, seconds: float) -> None:
    if server.name in result.failures:
        return
    try:
        sample = result.work.turn(server, seconds)
    except (OSError, RuntimeError) as error:
        result.failures[server.name] = str(error)
        result.samples.pop(server.name, None)
        return
    result.samples.setdefault(server.name, []).append(sample)
