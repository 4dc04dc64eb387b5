"""One measurement from beginning to end: the data, the runs, the fresh processes, and one result as JSON holds it."""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from time import perf_counter
from typing import Any, NamedTuple

from stigg_local.bench import child
from stigg_local.bench.answers import answers_hash, differing
from stigg_local.bench.load import BLOCK, Amount, Load, check_threads
from stigg_local.bench.machine import environment
from stigg_local.bench.operations import CALLED, HOT, KINDS, Run
from stigg_local.bench.questions import CALLS, WORKING_SET, Call, Data, Operation, Usage, asked
from stigg_local.bench.samples import BEYOND_MIN, Samples, noise
from stigg_local.bench.source import Progress, Source, prepared
from stigg_local.bench.timing import SEED, Draws, clock_cost_ns, measure
from stigg_local.client import Stigg
from stigg_local.clock import SystemClock, wall_ms
from stigg_local.errors import InvalidInput

SCHEMA = 1
SECONDS_MAX = 3600.0
CALLS_MAX = 1_000_000_000
SEED_MAX = 2**63
ROUNDS = 51
OPENS_MIN, OPENS_MAX = 21, 200
LOOKUPS = 1000
QUESTIONS, PASSES = 500, 2


class Request(NamedTuple):
    """What is asked for; see `stigg-local bench --help`."""

    runs: Sequence[Run]
    seconds: float = 10.0
    iterations: int | None = None
    threads: int = 1
    seed: int = SEED
    data_dir: str | None = None
    catalog: str | None = None
    customers: int = 100_000
    features: int = 50


def bench(request: Request, progress: Progress) -> dict[str, Any]:
    """Measure what is asked for.

    Args:
        request: What.
        progress: Hears how far it is, between slices of the measurement only.

    Returns:
        The result as JSON holds it: nanoseconds, bytes, calls a second.

    Raises:
        InvalidInput: An argument is out of range, or an operation cannot be measured on this data.
        StoreError: The directory cannot be read or copied.
    """
    check_threads(request.threads)
    if not 0 < request.seconds <= SECONDS_MAX:
        raise InvalidInput(f"`{request.seconds:g}` seconds cannot be measured", hint=f"up to {SECONDS_MAX:g}")
    if request.iterations is not None and not 1 <= request.iterations <= CALLS_MAX:
        raise InvalidInput(f"`{request.iterations}` calls cannot be made", hint=f"from 1 to {CALLS_MAX:,}")
    if not 0 <= request.seed < SEED_MAX:
        raise InvalidInput(f"`{request.seed}` is no seed", hint="a whole number from 0")
    with prepared(
        data_dir=request.data_dir,
        catalog=request.catalog,
        customers=request.customers,
        features=request.features,
        progress=progress,
    ) as source:
        session = _Session(request, source, progress)
        with Stigg(data_dir=source.path) as client:
            session.in_process(client)
        session.in_fresh_processes()
        return session.result()


class _Session:
    def __init__(self, request: Request, source: Source, progress: Progress) -> None:
        self._request = request
        self._source = source
        self._progress = progress
        self._started_ms = wall_ms(SystemClock())
        self._environment = environment(str(source.path))
        self._operations: list[dict[str, Any]] = []
        self._mix: dict[str, Any] | None = None
        self._memory: dict[str, Any] | None = None
        self._skipped: list[dict[str, str]] = []
        self._lookup: float | None = None
        self._ratios: dict[str, float] = {}
        self._ratio_noise: dict[str, float] = {}
        self._answers: dict[str, str] = {}
        self._wrong: list[str] = []
        self._features = 0
        self._question: tuple[str, ...] = ("", "", "")
        shares = sum(len(run.weights) for run in request.runs if run.weights[0][0] != "memory")
        self._share_s = request.seconds / max(1, shares)

    def in_process(self, client: Stigg) -> None:
        """Everything that is made of calls."""
        embedded = client._embedded
        assert embedded is not None
        self._features = len(embedded.catalog().features)
        found = embedded.store.read(lambda tx: tx.run("SELECT sqlite_version()", ()))
        self._environment["sqlite"] = str(found[0][0])
        self._progress("asking what customers are entitled to", 0, 1)
        data = Data(client, self._source.customers, self._request.seed)
        ready: dict[str, Operation] = {}
        # Reports last: they change what the others are answered.
        names = {name: None for run in self._request.runs for name, _ in run.weights if name in CALLED}
        for name in sorted(names, key=lambda name: KINDS[name].is_write):
            operation = self._operation(data, name)
            if operation is not None:
                ready[name] = operation
        some = data.operation("generic").arguments
        self._question = (*some[0], "")[:3]
        runs = []
        for run in self._request.runs:
            wanted = [name for name, _ in run.weights if name in CALLED]
            # A mix without one of its operations would be another mix.
            if wanted and all(name in ready for name in wanted):
                runs.append((run, [ready[name] for name in wanted]))
            elif run.is_mix:
                self._skipped.append({"name": "mix", "why": "one of its operations cannot be measured"})
        self._beside_lookups([item for run, operations in runs if not run.is_mix for item in operations])
        for run, operations in runs:
            self._run(run, operations, data)

    def _operation(self, data: Data, name: str) -> Operation | None:
        why = data.missing(name)
        if why is not None:
            self._skipped.append({"name": name, "why": why})
            return None
        operation = data.operation(name)
        if not operation.kind.is_write:
            self._answers[name] = _answers(operation)
        return operation

    def _beside_lookups(self, operations: Sequence[Operation]) -> None:
        """Each hot operation beside a dictionary lookup, in loops that take turns."""
        hot = [item for item in operations if item.name in HOT]
        draws = Draws(self._request.seed)
        table = {f"customer-{index:07}": (index,) for index in range(LOOKUPS)}
        keys = [(key, "") for key in draws.choices(list(table), QUESTIONS)] * PASSES
        rows = {"empty": _empty(keys), "lookup": _lookups(table, keys)}
        rows |= {item.name: _calls(item.call, item.arguments[:QUESTIONS] * PASSES) for item in hot}
        self._progress("measuring dictionary lookups", 0, 1)
        taken = measure(rows, calls=QUESTIONS * PASSES, rounds=ROUNDS, is_warm=True)
        # The lower quartile: on a busy machine half of the longer rows are interrupted, and few of the short ones.
        at = {name: statistics.quantiles(found, n=4)[0] for name, found in taken.items()}
        # Nothing takes less than a tenth of a nanosecond; a clock may have stood still.
        lookup = max(0.1, at["lookup"] - at["empty"])
        self._lookup = round(lookup, 1)
        unsure = noise(taken["lookup"]) or 0.0
        for item in hot:
            self._ratios[item.name] = round((at[item.name] - at["empty"]) / lookup, 2)
            self._ratio_noise[item.name] = round((noise(taken[item.name]) or 0.0) + unsure, 4)

    def _run(self, run: Run, operations: Sequence[Operation], data: Data) -> None:
        names = " and ".join(item.name for item in operations)
        what = f"measuring {names if len(names) < 40 else f'a mix of {len(operations)}'}"
        load = Load(run, operations, threads=self._request.threads, seed=self._request.seed)
        amount = Amount(self._share_s * len(operations), self._request.iterations)
        usage = [data.usage(item) if item.kind.is_write else None for item in operations]
        self._progress(what, 0, 1)
        load.measure(amount, lambda done: self._progress(what, done, 1))
        for place, before in enumerate(usage):
            if before is not None:
                self._counted(operations[place], load.made(place), before, data.usage(operations[place]))
        weights = [weight for _, weight in run.weights]
        for weight, samples in zip(weights, load.samples, strict=True):
            rate = load.per_second * weight / sum(weights)
            row = {"name": samples.name, "run": "mix" if run.is_mix else "alone", **samples.to_dict()}
            row["throughput"] = round(rate, 1)
            row["noise"] |= {"throughput": load.rate_noise, "ratio": self._ratio_noise.get(samples.name)}
            row["ratio"] = None if run.is_mix else self._ratios.get(samples.name)
            row["weight"] = weight if run.is_mix else None
            row["answers"] = self._answers.get(samples.name)
            row["clock"], row["collections"] = load.less_ns, load.collections
            self._operations.append(row)
        if run.is_mix:
            self._mix = {"weights": dict(run.weights), "throughput": round(load.per_second, 1)}
        for item in operations:
            if not item.kind.is_write:
                self._same(item, data)

    def _same(self, operation: Operation, data: Data) -> None:
        """Hold the answers that a million calls got against those that are derived afresh."""
        began_ms = wall_ms(SystemClock())
        held = [operation.call(*arguments) for arguments in asked(operation)]
        data.forget()
        fresh = [operation.call(*arguments) for arguments in asked(operation)]
        wrong = differing(held, fresh, between_ms=(began_ms, wall_ms(SystemClock())))
        if wrong:
            text = f"{wrong:,} of {len(held):,} answers of `{operation.name}` from memory are not those derived afresh"
            self._wrong.append(text)

    def _counted(self, operation: Operation, made: int, before: Usage, after: Usage) -> None:
        """Hold the counters against the calls, where no window ended in between."""
        counted = after.counted - before.counted
        if before.windows == after.windows and abs(counted - made) > made * 1e-9:
            self._wrong.append(f"`{operation.name}` was called {made:,} times and counted {counted:,.0f}")

    def in_fresh_processes(self) -> None:
        """Opening and memory; the client is closed by now."""
        names = [run.weights[0][0] for run in self._request.runs if not run.is_mix]
        if "open" in names:
            self._open()
        if "memory" in names:
            self._progress("measuring memory", 0, 1)
            found = child.fresh("memory", str(self._source.path), *self._question)
            self._memory = {
                "name": "memory",
                "customers": found["customers"],
                "preloaded": found["preloaded_bytes"],
                "held": found["held_bytes"],
                "preload_time": found["preload_ns"],
            }
            self._progress("measuring memory", 1, 1)

    def _open(self) -> None:
        samples = Samples("open")
        path = str(self._source.path)
        # Not measured: it compiles what has changed since the last run.
        child.fresh("open", path, *self._question)
        end = perf_counter() + self._share_s
        asked = self._request.iterations
        least, most = (OPENS_MIN, OPENS_MAX) if asked is None else (min(asked, OPENS_MAX),) * 2
        while samples.calls < least or (samples.calls < most and perf_counter() < end):
            samples.fold(Counter([child.fresh("open", path, *self._question)["taken"]]))
            self._progress("measuring open", min(samples.calls, least), least)
        item = {"name": "open", "run": "alone", **samples.to_dict(), "throughput": None, "ratio": None}
        self._operations.append(item | {"weight": None, "answers": None, "clock": 0, "collections": None})

    def result(self) -> dict[str, Any]:
        """Everything that was found."""
        request = self._request
        return {
            "schema": SCHEMA,
            "startedAt": datetime.fromtimestamp(self._started_ms // 1000, UTC).isoformat(),
            "environment": self._environment,
            "data": {
                "source": self._source.text,
                "customers": len(self._source.customers),
                "features": self._features,
                "bytes": self._source.bytes,
                "workingSet": min(WORKING_SET, len(self._source.customers)),
            },
            "settings": {
                "threads": request.threads,
                "seconds": request.seconds,
                "iterations": request.iterations,
                "seed": request.seed,
                "operations": [[list(pair) for pair in run.weights] for run in request.runs],
            },
            "method": _method(request),
            "answers": self._all_answers(),
            "lookup": self._lookup,
            "operations": self._operations,
            "mix": self._mix,
            "memory": self._memory,
            "skipped": self._skipped,
            "wrong": self._wrong,
        }

    def _all_answers(self) -> str | None:
        """One hash of the answers of all operations."""
        if not self._answers:
            return None
        told = " ".join(f"{name} {self._answers[name]}" for name in sorted(self._answers))
        return blake2b(told.encode(), digest_size=8).hexdigest()


def _method(request: Request) -> dict[str, str]:
    """How it was measured, in words for a reader of the result."""
    amount = f"{request.seconds:g} seconds" if request.iterations is None else f"{request.iterations:,} calls each"
    return {
        "latency": f"each call timed by itself, less what a pair of clock readings takes ({clock_cost_ns()} ns now)",
        "throughput": f"calls in blocks of {BLOCK} with one look at the clock for each; the median of the slices",
        "amount": f"{amount}, half of it for latency and half for throughput; more for what is too slow for a p99"
        if request.iterations is None
        else f"{amount} for latency and as many for throughput; open: as many processes, up to {OPENS_MAX}",
        "percentiles": f"by rank; only where at least {BEYOND_MIN} calls lie beyond",
        "lookups": f"{QUESTIONS} questions {PASSES} times over and as many lookups in a dictionary in turns, {ROUNDS} "
        "rounds, lower quartile, net of the empty loop",
        "garbage": "the collector stays on, as in an application; one full collection before each operation",
        "warm-up": f"each of {CALLS:,} drawn questions is asked once before an operation from memory is timed",
        "disk": "the customer is dropped from memory before each call, untimed; the file stays in the page cache",
        "open": "a fresh interpreter each time; the package is imported before the clock starts",
        "answers": "hashed before the calls, without instants; after them held against answers derived afresh",
    }


def _answers(operation: Operation) -> str:
    return answers_hash(operation.call(*arguments) for arguments in asked(operation))


def _empty(pairs: Sequence[tuple[str, str]]) -> Callable[[], None]:
    def run() -> None:
        for _, _ in pairs:
            pass

    return run


def _lookups(table: dict[str, Any], pairs: Sequence[tuple[str, str]]) -> Callable[[], None]:
    def run() -> None:
        for key, _ in pairs:
            table[key]

    return run


def _calls(call: Call, questions: Sequence[tuple[Any, ...]]) -> Callable[[], None]:
    lengths = {len(question) for question in questions}
    if lengths == {4}:

        def run_requested() -> None:
            for customer_id, feature_id, resource_id, requested in questions:
                call(customer_id, feature_id, resource_id, requested)

        return run_requested
    if lengths != {2}:

        def run_any() -> None:
            for question in questions:
                call(*question)

        return run_any

    def run() -> None:
        for customer_id, feature_id in questions:
            call(customer_id, feature_id)

    return run
