"""The report that all suites share; the timer is the one of `stigg-local bench`.

Rows are timed in interleaved, shuffled rounds and net of the empty loop, so that a drifting machine moves all of
them alike: compare ratios, never nanoseconds. Every suite prints a hash of its answers.
"""

import argparse
import gc
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from stigg_local.bench.answers import answers_hash
from stigg_local.bench.timing import clean_environment

__all__ = ["FULL", "SMOKE", "Figure", "Parameters", "Report", "answers_hash", "fresh", "main", "together"]


@dataclass(frozen=True)
class Parameters:
    """How much is measured; the smoke values run every line in about a second."""

    customers: int
    calls: int
    rounds: int
    sample: int
    processes: int
    repeats: int
    reports: int
    events: int


FULL = Parameters(
    customers=100_000, calls=20_000, rounds=21, sample=5000, processes=8, repeats=9, reports=400, events=1_000_000
)
SMOKE = Parameters(customers=300, calls=500, rounds=3, sample=100, processes=2, repeats=1, reports=5, events=3000)


class Figure(NamedTuple):
    """One line of a report; `target` is met where the value is at most, or at least, that much."""

    name: str
    value: float
    unit: str
    target: float | None
    is_floor: bool
    note: str

    @property
    def verdict(self) -> str:
        """`ok`, `MISSED`, or nothing where there is no target."""
        if self.target is None:
            return ""
        met = self.value >= self.target if self.is_floor else self.value <= self.target
        return "ok" if met else "MISSED"


@dataclass
class Report:
    """The figures of one suite, with the parameters that they were measured with."""

    suite: str
    parameters: Parameters
    figures: list[Figure] = field(default_factory=list)
    answers: str = ""

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
        note: str = "",
    ) -> None:
        """Add one figure beside its target."""
        target = at_most if at_least is None else at_least
        self.figures.append(Figure(name, value, unit, target, at_least is not None, note))

    def value(self, name: str) -> float:
        """The figure of that name."""
        return next(figure.value for figure in self.figures if figure.name == name)

    def print(self) -> None:
        """Write the table."""
        print(f"\n{self.suite}: {_shown(vars(self.parameters))}")
        for figure in self.figures:
            target = ""
            if figure.target is not None:
                target = f"{'>=' if figure.is_floor else '<='} {figure.target:g}"
            line = f"  {figure.name:<52} {figure.value:>10.2f} {figure.unit:<10} {target:>9} {figure.verdict:<7}"
            print(f"{line} {figure.note}".rstrip())
        print(f"  answers {self.answers}")

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        return {
            "suite": self.suite,
            "python": sys.version.split()[0],
            "parameters": vars(self.parameters),
            "answers": self.answers,
            "figures": [figure._asdict() | {"verdict": figure.verdict} for figure in self.figures],
        }


def fresh(module: str, *arguments: str) -> dict[str, Any]:
    """What `python -m benchmarks.<module> --child <arguments>` prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", "--child", *arguments],
        cwd=Path(__file__).parents[1],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"benchmarks.{module} {arguments} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def together(threads: int, work: Callable[[int], object]) -> float:
    """How many seconds so many threads take that begin at once; each is told its place among them."""
    barrier = threading.Barrier(threads + 1)

    def run(place: int) -> None:
        barrier.wait()
        work(place)

    workers = [threading.Thread(target=run, args=(place,)) for place in range(threads)]
    for worker in workers:
        worker.start()
    barrier.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    return time.perf_counter() - start


def main(run: Callable[[Parameters], Report], child: Callable[[list[str]], Any] | None = None) -> None:
    """The command line of a suite: `[--smoke] [--json FILE]`."""
    if child is not None and sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(sys.argv[2:])))
        return
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--smoke", action="store_true", help="run every line once, in about a second")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    arguments = parser.parse_args()
    gc.collect()
    report = run(SMOKE if arguments.smoke else FULL)
    report.print()
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report.to_dict(), indent=1) + "\n", "utf-8")


def _shown(parameters: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items())
