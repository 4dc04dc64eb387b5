"""What single calls took: exact counts by nanosecond, percentiles, a histogram and how far the slices differ.

Law: a percentile with fewer than ten calls beyond it is an accident, and is said to be one.
"""

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

# JSON key -> (rank, how it is shown).
RANKS: dict[str, tuple[float, str]] = {
    "p50": (0.5, "p50"),
    "p90": (0.9, "p90"),
    "p99": (0.99, "p99"),
    "p99_9": (0.999, "p99.9"),
    "p99_99": (0.9999, "p99.99"),
}
# From the lowest to the highest.
ASCENDING = tuple(RANKS)
BEYOND_MIN = 10
# Enough of a slice that its percentile says something.
SLICE_CALLS_MIN = {"p50": 20, "p99": 500}
BINS = 48
_CURVE = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99999)


def needed(rank: float) -> int:
    """How many calls a percentile of that rank needs."""
    return math.ceil(BEYOND_MIN / (1 - rank) - 1e-6)


class Samples:
    """Nanoseconds of the calls of one operation.

    Attributes:
        name: The operation.
        calls: How many were timed.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self._counts: Counter[int] = Counter()
        self._slices: dict[str, list[int]] = {key: [] for key in SLICE_CALLS_MIN}

    def fold(self, counts: Counter[int], *, less: int = 0) -> None:
        """Take one slice in.

        Args:
            counts: Nanoseconds -> how many calls took them.
            less: What reading the clock cost.
        """
        own: Counter[int] = Counter()
        for taken, count in counts.items():
            own[max(0, taken - less)] += count
        total = own.total()
        for key, least in SLICE_CALLS_MIN.items():
            if total >= least:
                self._slices[key].append(_at_ranks(own, [RANKS[key][0]])[0])
        self._counts.update(own)
        self.calls += total

    def to_dict(self) -> dict[str, Any]:
        """Percentiles in nanoseconds, which of them have too few calls, the curve, the histogram and the noise."""
        if not self.calls:
            return {"calls": 0, "noise": {}, "tooFew": list(RANKS)}
        values = _at_ranks(self._counts, [rank for rank, _ in RANKS.values()])
        ranks = [rank for rank in _CURVE if rank == 0 or needed(rank) <= self.calls]
        return {
            "calls": self.calls,
            "min": min(self._counts),
            **dict(zip(RANKS, values, strict=True)),
            "max": max(self._counts),
            "tooFew": [key for key, (rank, _) in RANKS.items() if needed(rank) > self.calls],
            "noise": {key: noise(found) for key, found in self._slices.items()},
            "curve": [[rank, value] for rank, value in zip(ranks, _at_ranks(self._counts, ranks), strict=True)],
            "histogram": list(self._histogram()),
        }

    def _histogram(self) -> Iterator[list[float]]:
        """Bins of equal width on a logarithmic axis: from, to, calls; the last one also holds what is beyond it."""
        low = max(1, _at_ranks(self._counts, [0.0005])[0])
        high = max(low + 1, _at_ranks(self._counts, [0.999 if self.calls >= 1000 else 1.0])[0])
        # Bins narrower than the clock's steps would show gaps that are not there.
        bins = max(4, min(BINS, high - low))
        edges = [low * (high / low) ** (place / bins) for place in range(bins + 1)]
        counts = [0] * bins
        for taken, count in self._counts.items():
            place = int(math.log(max(taken, 1) / low) / math.log(high / low) * bins) if taken > low else 0
            counts[min(place, bins - 1)] += count
        for place, count in enumerate(counts):
            yield [round(edges[place], 1), round(edges[place + 1], 1), count]


def _at_ranks(counts: Counter[int], ranks: list[float]) -> list[int]:
    """The values at ascending ranks."""
    last = counts.total() - 1
    found: list[int] = []
    passed = 0
    wanted = [round(last * rank) for rank in ranks]
    for value in sorted(counts):
        passed += counts[value]
        while len(found) < len(wanted) and wanted[len(found)] < passed:
            found.append(value)
        if len(found) == len(wanted):
            break
    return found


def noise(found: Sequence[float]) -> float | None:
    """How far the slices lie apart: the distance between their quartiles, as a part of their median."""
    if len(found) < 4 or not statistics.median(found):
        return None
    low, _, high = statistics.quantiles(found, n=4)
    return round((high - low) / statistics.median(found), 4)
