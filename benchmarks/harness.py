"""The timer and the report that all suites share.

Rows are timed in interleaved, shuffled rounds and net of the empty loop, so that a drifting machine moves all of
them alike: compare ratios, never nanoseconds. Every suite prints a hash of its answers.
"""

import argparse
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

SEED = 20_230_101
# What depends on when the customers were written, and so differs between two equal runs.
_INSTANTS = frozenset(
    ("asOf", "validUntil", "usagePeriodAnchor", "usagePeriodStart", "usagePeriodEnd", "nextResetDate")
)


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


FULL = Parameters(customers=100_000, calls=20_000, rounds=21, sample=5000, processes=8, repeats=9, reports=400)
SMOKE = Parameters(customers=300, calls=500, rounds=3, sample=100, processes=2, repeats=1, reports=5)


class Timing(NamedTuple):
    """Nanoseconds of one call over the rounds, net of the empty loop."""

    median: float
    minimum: float


class Spread(NamedTuple):
    """Percentiles of single calls, each timed by itself and net of the clock."""

    p50: float
    p99: float
    p999: float


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


def measure(
    rows: Mapping[str, Callable[[], object]], *, calls: int, rounds: int, before: Callable[[], object] | None = None
) -> dict[str, list[float]]:
    """Nanoseconds of one call, for each row and round.

    Args:
        rows: Each makes `calls` calls in a loop of its own.
        calls: How many.
        rounds: In each round every row runs once, in another order.
        before: Runs before every row, untimed.
    """
    order = random.Random(SEED)
    names = list(rows)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for row in rows.values():
        if before is not None:
            before()
        row()
    clock = time.perf_counter_ns
    for _ in range(rounds):
        order.shuffle(names)
        for name in names:
            if before is not None:
                before()
            row = rows[name]
            start = clock()
            row()
            taken[name].append((clock() - start) / calls)
    return taken


def net(taken: Sequence[float], empty: Sequence[float] = (0.0,)) -> Timing:
    """Median and minimum, less those of the empty loop."""
    return Timing(statistics.median(taken) - statistics.median(empty), min(taken) - min(empty))


def spread(call: Callable[[Any], object], arguments: Iterable[Any]) -> Spread:
    """Time each call by itself."""
    clock = time.perf_counter_ns
    taken = []
    for argument in arguments:
        start = clock()
        call(argument)
        taken.append(clock() - start)
    pairs = []
    for _ in range(1000):
        start = clock()
        pairs.append(clock() - start)
    return percentiles(taken, less=statistics.median(pairs))


def percentiles(taken: Iterable[float], *, less: float = 0) -> Spread:
    """p50, p99 and p99.9 by rank."""
    ordered = sorted(taken)
    last = len(ordered) - 1
    p50, p99, p999 = (max(0.0, ordered[round(last * rank)] - less) for rank in (0.5, 0.99, 0.999))
    return Spread(p50, p99, p999)


def answers_hash(answers: Iterable[Any]) -> str:
    """A hash of answers without their instants: a faster wrong answer shows."""
    digest = blake2b(digest_size=8)
    for answer in answers:
        digest.update(json.dumps(_without_instants(answer.to_dict()), sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _without_instants(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_instants(item) for key, item in value.items() if key not in _INSTANTS}
    return [_without_instants(item) for item in value] if isinstance(value, list) else value


def rss_mb() -> float:
    """What this process holds of the machine's memory, in MB."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        import resource

        # Only the highest value so far, in bytes: the best that macOS gives without a tool.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def clean_environment() -> dict[str, str]:
    """The environment for fresh processes: compiled modules are kept, as in an installed package."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


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
