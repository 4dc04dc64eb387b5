"""The timing machinery that `stigg-local bench` and the repository's benchmarks share.

Laws: rows are timed in interleaved, shuffled rounds, so that a drifting machine moves all of them alike; single
calls are net of what reading the clock costs; the order of everything follows from a seed.
"""

import gc
import os
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

SEED = 20_230_101
CLOCK_PAIRS = 1000
_MASK = (1 << 64) - 1


class Timing(NamedTuple):
    """Nanoseconds of one call over the rounds, net of the empty loop."""

    median: float
    minimum: float


class Spread(NamedTuple):
    """Percentiles of single calls, each timed by itself and net of the clock."""

    p50: float
    p99: float
    p999: float


class Draws:
    """Numbers that look drawn at random and are the same in every run (splitmix64).

    Args:
        seed: Another seed gives another series.
    """

    def __init__(self, seed: int = SEED) -> None:
        self._state = seed & _MASK

    def below(self, bound: int) -> int:
        """A number from 0 to below the bound."""
        self._state = state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((state ^ (state >> 31)) * bound) >> 64

    def shuffle(self, items: list[T]) -> None:
        """Bring a list into another order, in place."""
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]

    def choices(self, items: Sequence[T], count: int) -> list[T]:
        """So many of the items, each drawn from all of them."""
        return [items[self.below(len(items))] for _ in range(count)]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """So many different items, at most all of them."""
        count = min(count, len(items))
        taken: dict[int, None] = {}
        if count * 2 > len(items):
            order = list(range(len(items)))
            self.shuffle(order)
            return [items[place] for place in order[:count]]
        while len(taken) < count:
            taken[self.below(len(items))] = None
        return [items[place] for place in taken]


def measure(
    rows: Mapping[str, Callable[[], object]],
    *,
    calls: int,
    rounds: int,
    before: Callable[[], object] | None = None,
    is_warm: bool = False,
) -> dict[str, list[float]]:
    """Nanoseconds of one call, for each row and round.

    Args:
        rows: Each makes `calls` calls in a loop of its own.
        calls: How many.
        rounds: In each round every row runs once, in another order.
        before: Runs before every row, untimed.
        is_warm: Whether each row runs once untimed before it is timed, so that none finds the processor's caches full
            of the others' data.
    """
    draws = Draws()
    names = list(rows)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for row in rows.values():
        if before is not None:
            before()
        row()
    clock = perf_counter_ns
    for _ in range(rounds):
        draws.shuffle(names)
        for name in names:
            if before is not None:
                before()
            row = rows[name]
            if is_warm:
                row()
            start = clock()
            row()
            taken[name].append((clock() - start) / calls)
    return taken


def net(taken: Sequence[float], empty: Sequence[float] = (0.0,)) -> Timing:
    """Median and minimum, less those of the empty loop."""
    return Timing(statistics.median(taken) - statistics.median(empty), min(taken) - min(empty))


def clock_cost_ns() -> int:
    """What two readings of the clock take, which every call that is timed by itself pays."""
    clock = perf_counter_ns
    pairs = []
    for _ in range(CLOCK_PAIRS):
        start = clock()
        pairs.append(clock() - start)
    return int(statistics.median(pairs))


def spread(call: Callable[[Any], object], arguments: Iterable[Any]) -> Spread:
    """Time each call by itself."""
    clock = perf_counter_ns
    taken = []
    for argument in arguments:
        start = clock()
        call(argument)
        taken.append(clock() - start)
    return percentiles(taken, less=clock_cost_ns())


def percentiles(taken: Iterable[float], *, less: float = 0) -> Spread:
    """p50, p99 and p99.9 by rank."""
    ordered = sorted(taken)
    p50, p99, p999 = (max(0.0, at_rank(ordered, rank) - less) for rank in (0.5, 0.99, 0.999))
    return Spread(p50, p99, p999)


def at_rank(ordered: Sequence[float], rank: float) -> float:
    """The value that this part of the values does not exceed."""
    return ordered[round((len(ordered) - 1) * rank)]


def rss_mb() -> float:
    """What this process holds of the machine's memory, in MB."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        import resource

        # Only the highest value so far, in bytes: the best that macOS gives without a tool.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def settled_mb() -> float:
    """As `rss_mb`, after what is garbage was collected."""
    gc.collect()
    return rss_mb()


def clean_environment() -> dict[str, str]:
    """The environment for fresh processes: compiled modules are kept, as in an installed package."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
