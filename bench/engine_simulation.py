"""Discrete-event simulation: N daemons on an object store with published latencies and request limits.

``python -m bench.engine_simulation`` prints throughput, latency and busy threads for numbers of daemons and
threads. It takes seconds, needs no server, and prints the same each time.

The model: requests arrive at random (Poisson) and go to a random worker. Each waits there for a thread of its
pool, then for the worker's core; then its thread calls the engine and is blocked until the answer. An upload
is one conditional PUT, a download one GET, both of small files. A partition of the engine begins so many
calls a second, and the others wait. A real service refuses them instead (503), and clients repeat them later.

Rejected: SimPy, a dependency for three kinds of events.
"""

import argparse
import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.published_engines import ENGINES, READ, WRITE, Engine
from bench.tables import number, table
from filestored.storage.threads import MAX_REMOTE_THREADS

WARM_UP = 0.4
"""Share of the simulated time that is not counted: the pools are filling."""

SATURATED = 0.98
"""Ratio of answers to requests a second, below which latency grows as long as the load lasts."""

REQUESTS = 120_000
"""Requests of each simulated run."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """Daemons, worker processes of each, their threads and seconds of CPU time a request by kind."""

    daemons: int
    workers: int
    threads: tuple[int, int]
    cpu: tuple[float, float]

    @property
    def pools(self) -> int:
        """Number of worker processes of all daemons."""
        return self.daemons * self.workers


@dataclass(frozen=True, slots=True)
class Load:
    """Requests a second, of which a share are downloads."""

    rate: float
    reads: float = 0.9

    def share(self, kind: int) -> float:
        """Return the share of one kind of request."""
        return self.reads if kind == READ else 1 - self.reads


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result: answers a second, latencies in ascending order, mean threads busy and mean requests inside."""

    offered: float
    throughput: float
    latencies: Sequence[float]
    busy: float
    inside: float

    def quantile(self, share: float) -> float:
        """Return the latency that this share of the requests does not exceed; infinite without answers."""
        if not self.latencies:
            return math.inf
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]

    @property
    def mean(self) -> float:
        """Mean latency."""
        return sum(self.latencies) / len(self.latencies)

    @property
    def saturated(self) -> bool:
        """True if requests arrive faster than they are answered."""
        return self.throughput < SATURATED * self.offered


@dataclass(slots=True)
class _Request:
    kind: int
    worker: int
    arrived: float


@dataclass(slots=True)
class _Pool:
    """The threads of one worker for one kind of request; all waiting requests are in one queue."""

    free: int
    waiting: deque[_Request] = field(default_factory=deque)


@dataclass(slots=True)
class _Gauge:
    """Mean of a number over the time from `start` on."""

    start: float
    value: int = 0
    area: float = 0.0
    changed: float = 0.0

    def add(self, now: float, change: int) -> None:
        """Change the number at a time, which never goes back."""
        self.area += self.value * (max(now, self.start) - max(self.changed, self.start))
        self.value += change
        self.changed = now

    def mean(self, end: float) -> float:
        """Return the mean until `end`."""
        self.add(end, 0)
        return self.area / (end - self.start)


class Simulation:
    """One run. `seed` makes it repeatable."""

    def __init__(
        self, engine: Engine, deployment: Deployment, load: Load, requests: int = REQUESTS, seed: int = 1
    ) -> None:
        self._engine, self._deployment, self._load = engine, deployment, load
        self._random = random.Random(seed)
        self._left = requests
        self._end = requests / load.rate
        start = WARM_UP * self._end
        self._busy, self._inside = _Gauge(start), _Gauge(start)
        self._answered: list[float] = []
        self._pools = [
            tuple(_Pool(threads) for threads in deployment.threads) for _ in range(deployment.pools)
        ]
        self._core_free = [0.0] * deployment.pools
        self._partition_free = [[0.0, 0.0] for _ in range(engine.partitions)]
        self._events: list[tuple[float, int, Callable[[float, _Request], None], _Request]] = []
        self._numbers = 0

    def run(self) -> Outcome:
        """Simulate until the last arrival."""
        self._schedule_arrival(0.0)
        while self._events and self._events[0][0] <= self._end:
            now, _, step, request = heapq.heappop(self._events)
            step(now, request)
        window = self._end * (1 - WARM_UP)
        return Outcome(
            self._load.rate,
            len(self._answered) / window,
            sorted(self._answered),
            self._busy.mean(self._end),
            self._inside.mean(self._end),
        )

    def _schedule(self, time: float, step: Callable[[float, _Request], None], request: _Request) -> None:
        self._numbers += 1
        heapq.heappush(self._events, (time, self._numbers, step, request))

    def _schedule_arrival(self, now: float) -> None:
        kind = READ if self._random.random() < self._load.reads else WRITE
        time = now + self._random.expovariate(self._load.rate)
        worker = self._random.randrange(self._deployment.pools)
        self._schedule(time, self._arrive, _Request(kind, worker, time))

    def _arrive(self, now: float, request: _Request) -> None:
        self._schedule_arrival(now)
        self._inside.add(now, 1)
        pool = self._pools[request.worker][request.kind]
        if pool.free:
            pool.free -= 1
            self._begin(now, request)
        else:
            pool.waiting.append(request)

    def _begin(self, now: float, request: _Request) -> None:
        """Occupy a thread: wait for the worker's core, use it, then call the engine."""
        self._busy.add(now, 1)
        done = max(now, self._core_free[request.worker]) + self._deployment.cpu[request.kind]
        self._core_free[request.worker] = done
        self._schedule(done, self._call, request)

    def _call(self, now: float, request: _Request) -> None:
        """Call the engine, as soon as the partition of a random file may begin one more call."""
        partition = self._partition_free[self._random.randrange(self._engine.partitions)]
        begun = max(now, partition[request.kind])
        partition[request.kind] = begun + 1 / self._engine.limits[request.kind]
        self._schedule(begun + self._engine.latencies[request.kind].draw(self._random), self._answer, request)

    def _answer(self, now: float, request: _Request) -> None:
        self._busy.add(now, -1)
        self._inside.add(now, -1)
        if now >= WARM_UP * self._end:
            self._answered.append(now - request.arrived)
        pool = self._pools[request.worker][request.kind]
        if pool.waiting:
            self._begin(now, pool.waiting.popleft())
        else:
            pool.free += 1


DAEMONS = (1, 10, 30, 100)
WORKERS = 8
THREADS = MAX_REMOTE_THREADS["read"], MAX_REMOTE_THREADS["commit"]
CPU = (300e-6, 510e-6)
"""Seconds of CPU time of filestored for a download and an upload of 4 KiB; ``python -m bench --engine``."""


def limits(engine: Engine, deployment: Deployment, load: Load) -> dict[str, float]:
    """Return the maximum rate of a load that each resource can bear, by closed formulas."""
    shares = {kind: load.share(kind) for kind in (READ, WRITE) if load.share(kind)}
    cpu = sum(share * deployment.cpu[kind] for kind, share in shares.items())
    threads = [deployment.pools * count for count in deployment.threads]
    held = {kind: engine.latencies[kind].mean + deployment.cpu[kind] for kind in shares}
    return {
        "threads": min(threads[kind] / held[kind] / share for kind, share in shares.items()),
        "cores": deployment.pools / cpu if cpu else math.inf,
        "partitions": min(engine.partitions * engine.limits[kind] / share for kind, share in shares.items()),
    }


def row(engine: Engine, deployment: Deployment, load: Load, outcome: Outcome) -> list[str]:
    """Return the cells of one run."""
    threads = deployment.pools * sum(deployment.threads)
    maxima = limits(engine, deployment, load)
    lowest = min(maxima, key=lambda name: maxima[name])
    quantiles = (outcome.quantile(share) for share in (0.5, 0.99))
    return [
        engine.name,
        f"{deployment.daemons:,}",
        number(outcome.throughput),
        *("grows" if outcome.saturated else f"{seconds * 1000:,.1f} ms" for seconds in quantiles),
        f"{outcome.busy:,.0f} of {threads:,}",
        f"{lowest}, {maxima[lowest]:,.0f}/s",
    ]


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.engine_simulation", description=__doc__.partition("\n")[0]
    )
    add = parser.add_argument
    add("--rate", type=float, default=100_000.0, help="requests a second (100000)")
    add("--reads", type=float, default=0.9, help="share of downloads (0.9)")
    add("--daemons", type=int, nargs="+", default=DAEMONS, help="numbers of daemons (1 10 30 100)")
    add("--workers", type=int, default=WORKERS, help="worker processes of each (8)")
    add("--threads", type=int, nargs=2, default=THREADS, help="threads for downloads, for uploads (64 32)")
    add("--requests", type=int, default=REQUESTS, help="requests of each run (120000)")
    add("--cpu", type=float, nargs=2, default=CPU, help="seconds of CPU time of a download, of an upload")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Print the table."""
    chosen = arguments(words)
    load, threads = Load(chosen.rate, chosen.reads), tuple(chosen.threads)
    head = ["engine", "daemons", "answered/s", "p50", "p99", "busy threads", "limit"]
    rows = []
    for engine in ENGINES:
        for daemons in chosen.daemons:
            deployment = Deployment(daemons, chosen.workers, threads, tuple(chosen.cpu))
            outcome = Simulation(engine, deployment, load, chosen.requests).run()
            rows.append(row(engine, deployment, load, outcome))
    sentences = (
        f"{load.rate:,.0f} requests/s, {load.reads:.0%} of them downloads.",
        f"A daemon has {chosen.workers} workers, each with {threads[READ]} threads for downloads",
        f"and {threads[WRITE]} for uploads.",
    )
    print(f"{' '.join(sentences)}\n\n{table(head, rows)}")


if __name__ == "__main__":
    main()
