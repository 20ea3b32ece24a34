"""Interleaved rounds: each round runs a workload once on every server, so that drift affects all alike.

The order is the same in each round but begins with another server, because the run after a heavy one may
suffer from it. A server that fails is left out of the workload, and the report says why. No server is warmed
up: the median of the rounds drops what a first run costs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.cpu_affinity import Cores, on
from bench.servers.base import Server
from bench.statistics import Sample
from bench.workloads import Workload

Log = Callable[[str], None]
"""Writes a line of progress."""


@dataclass
class Result:
    """Result of a workload: samples by server, and the reasons of failures."""

    workload: Workload
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def run_rounds(
    workload: Workload, servers: Mapping[str, Server], cores: Cores, *, rounds: int, seconds: float, log: Log
) -> Result:
    """Run all rounds of a workload."""
    result = Result(workload)
    present = [servers[name] for name in workload.servers if name in servers]
    with on(cores.for_client(workload.workers)):
        for number in range(rounds):
            start = number % len(present) if present else 0
            for server in present[start:] + present[:start]:
                _run_once(result, server, seconds)
            log(f"  {workload.name}: round {number + 1} of {rounds}")
    return result


def _run_once(result: Result, server: Server, seconds: float) -> None:
    if server.name in result.failures:
        return
    try:
        sample = result.workload.run(server, seconds)
    except (OSError, RuntimeError) as error:
        result.failures[server.name] = str(error)
        result.samples.pop(server.name, None)
        return
    result.samples.setdefault(server.name, []).append(sample)
