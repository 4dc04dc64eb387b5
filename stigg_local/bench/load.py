"""Making the calls: in slices, each call timed by itself or, for throughput, whole blocks of them, from some threads.

Laws: nothing is computed between two calls but what the loop needs; what was taken is folded between slices.
"""

import gc
import statistics
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Barrier, Thread
from time import perf_counter_ns
from typing import NamedTuple

from stigg_local.bench.operations import Run
from stigg_local.bench.questions import Operation
from stigg_local.bench.samples import RANKS, Samples, needed, noise
from stigg_local.bench.timing import SEED, Draws, clock_cost_ns
from stigg_local.errors import InvalidInput

SLICES = 10
SLICE_S_MAX = 1.0
THREADS_MAX = 64
# In blocks the clock is looked at once for so many calls.
BLOCK = 50
# What is too slow for a p99 in its time gets up to so many times as much again.
EXTRA = 2.0
# A slice that is bounded by calls ends by itself.
_FOREVER_NS = 10**18
_ANY_NUMBER = 10**18


class Amount(NamedTuple):
    """How much of a run is made: so many seconds or, where stated, so many calls."""

    seconds: float
    calls: int | None = None


class Load:
    """One run under way.

    Args:
        run: What is measured together.
        operations: Those of the run, in its order.
        threads: How many threads make the calls.
        seed: Of the order of the calls.

    Attributes:
        samples: What single calls took, one for each operation.
        less_ns: What reading the clock takes, and every timed call is less by.
        collections: Runs of the garbage collector while calls were made, by generation.
    """

    def __init__(self, run: Run, operations: Sequence[Operation], *, threads: int, seed: int = SEED) -> None:
        self._operations = operations
        self._threads = threads
        weights = [weight for _, weight in run.weights]
        # A whole turn of the mix in a drawn order, and enough turns that arguments differ.
        turn = [place for place, weight in enumerate(weights) for _ in range(weight)]
        self._orders = [_ordered(turn, operations, Draws(seed + thread + 1)) for thread in range(threads)]
        self._at = [0] * threads
        self._made = [0] * threads
        self.less_ns = clock_cost_ns()
        self.samples = [Samples(operation.name) for operation in operations]
        self.collections = [0, 0, 0]
        self._rates: list[float] = []

    def measure(self, amount: Amount, told: Callable[[float], object]) -> None:
        """Make calls: half the time one by one and half of it in blocks, or that many calls each way."""
        for operation in self._operations:
            if operation.before is None and not operation.kind.is_write:
                for arguments in operation.arguments:
                    operation.call(*arguments)
        gc.collect()
        before = _collections()
        if amount.calls is None:
            count = max(SLICES, round(amount.seconds / SLICE_S_MAX))
            spans = [int(amount.seconds / count * 1e9) // 2] * count
            numbers = [_ANY_NUMBER] * count
        else:
            count = min(SLICES, amount.calls)
            spans = [_FOREVER_NS] * count
            numbers = _parts(amount.calls, count)
        for place, (span_ns, number) in enumerate(zip(spans, numbers, strict=True)):
            self._singly(span_ns, number)
            self._in_blocks(span_ns, number)
            told((place + 1) / count)
        if amount.calls is None:
            self._enough(int(amount.seconds * EXTRA * 1e9), spans[0])
        self.collections = [after - then for after, then in zip(_collections(), before, strict=True)]

    @property
    def per_second(self) -> float:
        """Calls a second of all threads together, without a clock around each: the median of the slices."""
        return statistics.median(self._rates)

    @property
    def rate_noise(self) -> float | None:
        """How far the slices' rates lie apart."""
        return noise(self._rates)

    def made(self, place: int) -> int:
        """How many calls were made of one of the operations, timed or not."""
        total = 0
        for order, made in zip(self._orders, self._made, strict=True):
            places = [step[0] for step in order]
            rounds, rest = divmod(made, len(places))
            total += rounds * places.count(place) + places[:rest].count(place)
        return total

    def _enough(self, budget_ns: int, span_ns: int) -> None:
        """Go on with an operation that is too slow for a p99 in its time, for some more of it."""
        end = perf_counter_ns() + budget_ns
        while min(samples.calls for samples in self.samples) < needed(RANKS["p99"][0]) and perf_counter_ns() < end:
            self._singly(span_ns, _ANY_NUMBER)

    def _singly(self, span_ns: int, number: int) -> None:
        taken = [[array("q") for _ in self._operations] for _ in range(self._threads)]
        shares = _parts(number, self._threads)

        def work(thread: int) -> None:
            self._moved(thread, _timed(self._orders[thread], self._at[thread], taken[thread], span_ns, shares[thread]))

        self._together(work)
        for place, samples in enumerate(self.samples):
            counts: Counter[int] = Counter()
            for own in taken:
                counts.update(own[place])
            samples.fold(counts, less=self.less_ns)

    def _in_blocks(self, span_ns: int, number: int) -> None:
        before = sum(self._made)
        shares = _parts(number, self._threads)

        def work(thread: int) -> None:
            self._moved(thread, _blocks(self._orders[thread], self._at[thread], span_ns, shares[thread]))

        wall_ns = self._together(work)
        self._rates.append((sum(self._made) - before) / wall_ns * 1e9)

    def _moved(self, thread: int, made: int) -> None:
        self._made[thread] += made
        self._at[thread] = (self._at[thread] + made) % len(self._orders[thread])

    def _together(self, work: Callable[[int], None]) -> int:
        """Run one slice in all threads; returns its nanoseconds."""
        if self._threads == 1:
            start = perf_counter_ns()
            work(0)
            return perf_counter_ns() - start
        barrier = Barrier(self._threads + 1)
        failures: list[BaseException] = []

        def begin(thread: int) -> None:
            barrier.wait()
            try:
                work(thread)
            except BaseException as error:
                failures.append(error)

        workers = [Thread(target=begin, args=(thread,), daemon=True) for thread in range(self._threads)]
        for worker in workers:
            worker.start()
        barrier.wait()
        start = perf_counter_ns()
        for worker in workers:
            worker.join()
        if failures:
            raise failures[0]
        return perf_counter_ns() - start


# Place of the operation, what is called, its arguments, and what runs before it.
_Step = tuple[int, Callable[..., object], tuple[object, ...], Callable[[str], object] | None]


def _ordered(turn: list[int], operations: Sequence[Operation], draws: Draws) -> list[_Step]:
    calls = max(len(operation.arguments) for operation in operations)
    order: list[int] = []
    while len(order) < calls:
        own = list(turn)
        draws.shuffle(own)
        order += own
    # Threads begin at different places, so that they do not ask the same at the same time.
    at = [draws.below(len(operation.arguments)) for operation in operations]
    steps: list[_Step] = []
    for place in order:
        operation = operations[place]
        steps.append((place, operation.call, operation.arguments[at[place]], operation.before))
        at[place] = (at[place] + 1) % len(operation.arguments)
    return steps


def _timed(steps: list[_Step], at: int, taken: list["array[int]"], span_ns: int, number: int) -> int:
    """Time single calls until the span is over or that many are made; returns how many were."""
    clock = perf_counter_ns
    end = clock() + span_ns
    appends = [own.append for own in taken]
    made = 0
    while made < number:
        for place, call, arguments, before in steps[at:] if at else steps:
            if before is not None:
                before(arguments[0])  # type: ignore[arg-type]
            start = clock()
            call(*arguments)
            now = clock()
            appends[place](now - start)
            made += 1
            if now >= end or made >= number:
                return made
        at = 0
    return made


def _blocks(steps: list[_Step], at: int, span_ns: int, number: int) -> int:
    """Make calls until the span is over or that many are made; returns how many were."""
    clock = perf_counter_ns
    end = clock() + span_ns
    made = 0
    while made < number and clock() < end:
        block = steps[at : at + min(BLOCK, number - made)]
        for _, call, arguments, before in block:
            if before is not None:
                before(arguments[0])  # type: ignore[arg-type]
            call(*arguments)
        made += len(block)
        at = (at + len(block)) % len(steps)
    return made


def _parts(total: int, count: int) -> list[int]:
    """A number in so many parts that are as equal as can be."""
    if total >= _ANY_NUMBER:
        return [total] * count
    each, rest = divmod(total, count)
    return [each + (place < rest) for place in range(count)]


def _collections() -> list[int]:
    return [generation["collections"] for generation in gc.get_stats()]


def check_threads(threads: int) -> int:
    """The number of threads, if so many can be asked for.

    Raises:
        InvalidInput: It is none or too many.
    """
    if not 1 <= threads <= THREADS_MAX:
        raise InvalidInput(f"`{threads}` threads cannot be used", hint=f"from 1 to {THREADS_MAX}")
    return threads
