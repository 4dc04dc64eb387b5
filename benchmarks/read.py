"""Reads: the hot getters, 100,000 customers at random, customers from the file, four threads.

Sketch: a hit is two dictionary lookups, a compare and at most one look at the clock: 100 ns and 160 ns where a
dictionary lookup is 15 ns. A miss is one statement over three tables, their digests and one evaluation: 25 µs.
"""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

from benchmarks.data import (
    BOOLEANS,
    CURRENCY,
    ENUMS,
    METERED,
    NUMERICS,
    RATED,
    customer_id,
    populated,
)
from benchmarks.harness import Parameters, Report, answers_hash, main, together
from stigg_local import Stigg
from stigg_local.bench.timing import SEED, measure, net, spread

# The hot customer is on the largest plan, has used two features and holds recurring credits.
HOT = customer_id(4)
# So that no row of this suite measures eviction; `memory.py` says what the default bound holds.
LIMIT_BYTES = 2_000_000_000
THREADS = 4
# The hot customer's limit leaves room for every request up to here.
GRANTED = 4000

_POINT = "SELECT snapshot FROM customer WHERE environment = ? AND slot = ? AND customer_id = ?"


def run(parameters: Parameters) -> Report:
    """All figures of the suite."""
    report = Report("read", parameters)
    rng = random.Random(SEED)
    with Stigg(data_dir=populated(parameters.customers), memory_limit_bytes=LIMIT_BYTES) as client:
        report.answers = answers_hash(_answers(client, parameters))
        _hot(report, client, rng)
        _threads(report, client, rng)
        _many(report, client, rng)
        _from_disk(report, client, rng)
        _after_preload(report, client, rng)
        if answers_hash(_answers(client, parameters)) != report.answers:
            raise AssertionError("answers differ after a preload")
    return report


def _answers(client: Stigg, parameters: Parameters) -> list[Any]:
    """Every feature of one customer of each plan, a few requests, and a customer who is not there."""
    found: list[Any] = []
    for index in range(min(10, parameters.customers)):
        found.append(client.get_entitlements_state(customer_id(index), include_credits=True))
    for usage in (1, 4996, 4997):
        found.append(client.get_metered_entitlement(HOT, METERED[0], requested_usage=usage))
        found.append(client.get_metered_entitlement(HOT, RATED[0], requested_usage=usage))
    found.append(client.get_boolean_entitlement("nobody", BOOLEANS[0]))
    return found


# ---------------------------------------------------------------------- hot


def _hot(report: Report, client: Stigg, rng: random.Random) -> None:
    calls, rounds = report.parameters.calls, report.parameters.rounds

    def choose(ids: Sequence[str]) -> list[str]:
        return rng.choices(ids, k=calls)

    table = {customer_id(index): (index,) for index in range(1000)}
    everything = [*BOOLEANS, *NUMERICS, *ENUMS, *METERED, *RATED]
    metered = choose(METERED)
    # Distinct from the request before it, whatever the feature.
    pairs = [(key, place % GRANTED + 1) for place, key in enumerate(metered)]
    refused = [(key, requested + 10 * GRANTED) for key, requested in pairs]
    rows: dict[str, Callable[[], None]] = {
        "empty": _empty(metered),
        "empty pair": _empty_pairs(pairs),
        "dict lookup": _lookup(table, choose(list(table))),
        "dict lookup, one key": _lookup(table, [HOT] * calls),
        "boolean": _one(client.get_boolean_entitlement, choose(BOOLEANS)),
        "numeric": _one(client.get_numeric_entitlement, choose(NUMERICS)),
        "enum": _one(client.get_enum_entitlement, choose(ENUMS)),
        "metered": _one(client.get_metered_entitlement, metered),
        "metered with a credit rate": _one(client.get_metered_entitlement, choose(RATED)),
        "credit": _one(client.get_credit_entitlement, [CURRENCY] * calls),
        "generic": _one(client.get_entitlement, choose(everything)),
        "keyword call": _keyword(client, metered),
        "repeated requested_usage": _repeated(client, metered),
        "new requested_usage": _new(client, pairs),
        "new requested_usage, refused": _new(client, refused),
    }
    taken = measure(rows, calls=calls, rounds=rounds)
    lookup = net(taken["dict lookup"], taken["empty"])
    report.add("dict lookup, a random key of 1,000", lookup.median, "ns", note=f"min {lookup.minimum:.1f}")
    same = net(taken["dict lookup, one key"], taken["empty"])
    report.add("dict lookup, always one key", same.median, "ns", note=f"min {same.minimum:.1f}")
    targets = {
        "boolean": 8,
        "numeric": 8,
        "enum": None,
        "metered": 13,
        "metered with a credit rate": 13,
        "credit": 13,
        "generic": None,
        "keyword call": 15,
        "repeated requested_usage": 13,
        "new requested_usage": 28,
        "new requested_usage, refused": None,
    }
    for name, target in targets.items():
        timing = net(taken[name], taken["empty pair" if name.startswith("new") else "empty"])
        note = (
            f"{timing.median:.0f} ns, min {timing.minimum:.0f} ns, by minima {timing.minimum / lookup.minimum:.1f} x"
        )
        report.add(name, timing.median / lookup.median, "x lookup", at_most=target, note=note)


def _empty(keys: Sequence[str]) -> Callable[[], None]:
    def run() -> None:
        for _ in keys:
            pass

    return run


def _empty_pairs(pairs: Sequence[tuple[str, int]]) -> Callable[[], None]:
    def run() -> None:
        for _, _ in pairs:
            pass

    return run


def _lookup(table: dict[str, Any], keys: Sequence[str]) -> Callable[[], None]:
    def run() -> None:
        for key in keys:
            table[key]

    return run


def _one(call: Callable[[str, str], object], keys: Sequence[str]) -> Callable[[], None]:
    def run() -> None:
        customer = HOT
        for key in keys:
            call(customer, key)

    return run


def _keyword(client: Stigg, keys: Sequence[str]) -> Callable[[], None]:
    call = client.get_metered_entitlement

    def run() -> None:
        customer = HOT
        for key in keys:
            call(customer_id=customer, feature_id=key)

    return run


def _repeated(client: Stigg, keys: Sequence[str]) -> Callable[[], None]:
    call = client.get_metered_entitlement

    def run() -> None:
        customer = HOT
        for key in keys:
            call(customer, key, None, 1)

    return run


def _new(client: Stigg, pairs: Sequence[tuple[str, int]]) -> Callable[[], None]:
    call = client.get_metered_entitlement

    def run() -> None:
        customer = HOT
        for key, requested in pairs:
            call(customer, key, None, requested)

    return run


# ---------------------------------------------------------------------- threads


def _threads(report: Report, client: Stigg, rng: random.Random) -> None:
    """Total calls a second of four threads, against one thread that makes as many."""
    calls = report.parameters.calls * 10
    for name, call, ids, target in (
        ("metered", client.get_metered_entitlement, METERED, 0.85),
        ("boolean", client.get_boolean_entitlement, BOOLEANS, 0.7),
    ):
        loop = _one(call, rng.choices(ids, k=calls))
        alone, threaded = [], []
        for _ in range(max(1, report.parameters.rounds // 3)):
            alone.append(_wall(loop, 1, THREADS))
            threaded.append(_wall(loop, THREADS, 1))
        ratio = statistics.median(alone) / statistics.median(threaded)
        report.add(f"4 threads against 1, {name}", ratio, "x", at_least=target)


def _wall(loop: Callable[[], None], threads: int, times: int) -> float:
    def work(_: int) -> None:
        for _ in range(times):
            loop()

    return together(threads, work)


# ---------------------------------------------------------------------- many customers


def _many(report: Report, client: Stigg, rng: random.Random) -> None:
    ids = [customer_id(index) for index in range(report.parameters.customers)]
    rng.shuffle(ids)
    metered, boolean = client.get_metered_entitlement, client.get_boolean_entitlement

    def read_metered() -> None:
        feature = METERED[0]
        for customer in ids:
            metered(customer, feature)

    def read_boolean() -> None:
        feature = BOOLEANS[0]
        for customer in ids:
            boolean(customer, feature)

    def empty() -> None:
        for _ in ids:
            pass

    rows = {"empty": empty, "metered": read_metered, "boolean": read_boolean}
    taken = measure(rows, calls=len(ids), rounds=max(1, report.parameters.rounds // 5))
    for name in ("metered", "boolean"):
        timing = net(taken[name], taken["empty"])
        note = f"min {timing.minimum / 1000:.2f}"
        report.add(f"all customers at random, warm, {name}", timing.median / 1000, "us", at_most=2, note=note)
    single = spread(lambda customer: metered(customer, METERED[0]), ids)
    report.add("  one call by itself, p50", single.p50 / 1000, "us", at_most=2)
    report.add("  one call by itself, p99", single.p99 / 1000, "us", at_most=5)


def _from_disk(report: Report, client: Stigg, rng: random.Random) -> None:
    embedded = client._embedded
    assert embedded is not None
    store = embedded.store
    ids = [customer_id(index) for index in rng.sample(range(report.parameters.customers), report.parameters.sample)]
    metered, boolean = client.get_metered_entitlement, client.get_boolean_entitlement
    store.load_customer(ids[0])
    # The store's own connection, so that both sides have the same settings and page cache.
    cursor = store._readers.of_thread().cursor
    assert cursor is not None
    execute = cursor.execute
    points = [(store.environment, crc32(customer.encode()) & 4095, customer) for customer in ids]

    def point() -> None:
        for bindings in points:
            execute(_POINT, bindings).fetchall()

    def load() -> None:
        for customer in ids:
            store.load_customer(customer)

    def read_metered() -> None:
        feature = METERED[0]
        for customer in ids:
            metered(customer, feature)

    def read_boolean() -> None:
        feature = BOOLEANS[0]
        for customer in ids:
            boolean(customer, feature)

    rows = {"point": point, "load": load, "metered": read_metered, "boolean": read_boolean}
    rounds = max(1, report.parameters.rounds // 2)
    taken = measure(rows, calls=len(ids), rounds=rounds, before=embedded.replica.drop)
    base = net(taken["point"])
    report.add("one-row point read", base.median / 1000, "us", note=f"min {base.minimum / 1000:.2f}")
    load_ratio = net(taken["load"]).median / base.median
    report.add("a customer's rows, read and verified", load_ratio, "x point")
    for name in ("metered", "boolean"):
        timing = net(taken[name])
        note = f"{timing.median / 1000:.1f} us, min {timing.minimum / 1000:.1f} us"
        report.add(f"customer from disk, {name}", timing.median / base.median, "x point", at_most=6, note=note)


def _after_preload(report: Report, client: Stigg, rng: random.Random) -> None:
    embedded = client._embedded
    assert embedded is not None
    embedded.replica.drop()
    client.preload()
    ids = [customer_id(index) for index in range(report.parameters.customers)]
    rng.shuffle(ids)
    call = client.get_metered_entitlement
    for name in ("first read of each", "second read of each"):
        start = time.perf_counter_ns()
        for customer in ids:
            call(customer, METERED[0])
        report.add(f"after preload, {name}", (time.perf_counter_ns() - start) / len(ids) / 1000, "us")


if __name__ == "__main__":
    main(run)
