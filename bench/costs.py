"""Cost of an option: CPU time per request of daemons with and without it, in interleaved rounds.

Each server is a daemon of its own over the same store.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.environment import Environment
from bench.rounds import Log, Result, run_rounds
from bench.servers.base import Server
from bench.workloads import Workload


@dataclass(frozen=True, slots=True)
class Costs:
    """Daemons of these `kinds`, and the rows of the report in their order.

    `max_ratios` are the goals for the CPU time, as a multiple of that of a daemon without the option.
    """

    kinds: Sequence[type[Server]]
    workloads: Sequence[Workload]
    max_ratios: Mapping[str, float] = field(default_factory=dict)

    def compare(self, environment: Environment, *, rounds: int, seconds: float, log: Log) -> list[Result]:
        """Run all rows in interleaved rounds. Raises `RuntimeError` when a daemon does not start."""
        environment.create_store()
        kinds = [(kind, 1) for kind in self.kinds]
        absent = environment.start_servers([kind.name for kind in self.kinds], kinds)
        if absent:
            raise RuntimeError(absent[0])
        results = []
        for workload in self.workloads:
            log(workload.title)
            results.append(
                run_rounds(
                    workload, environment.running, environment.cores, rounds=rounds, seconds=seconds, log=log
                )
            )
        return results
