"""`consume` and `reserve` beside the raw conditional update: one hot customer and many, at `disk` and at `os`.

Sketch: the raw form is one UPDATE of one row with the limit in its WHERE, committed alone: no log, no key, no digest,
no windows. A consume writes the counter, its measurement, its key and the customer's seal, so at `disk` it is about
one sync as well, and at `os` a small part of the raw rate. A refusal writes nothing.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.data import CURRENCY, METERED, RATED
from benchmarks.harness import Parameters, Report, answers_hash, main, together
from stigg_local import Stigg
from stigg_local.bench.timing import percentiles
from stigg_local.store.connection import connect, create_file, use_wal

CUSTOMERS = 16
LEVELS = ("disk", "os")
_ENOUGH = 10**9
_FULL, _WALLET, _LIMITED = "customer-full", "customer-wallet", "feature-limited"
CATALOG: dict[str, Any] = {
    "schema": 1,
    "features": [
        {"id": name, "featureType": "Numeric", "meterType": "Incremental"} for name in (METERED[0], RATED[0], _LIMITED)
    ],
    "creditCurrencies": [{"id": CURRENCY}],
    "products": [{"id": "product"}],
    "plans": [
        {
            "id": "plan",
            "productId": "product",
            "pricingType": "FREE",
            "entitlements": [
                {"featureId": METERED[0], "usageLimit": _ENOUGH, "resetPeriod": "MONTH"},
                {"featureId": RATED[0], "isUnlimited": True, "creditRate": {"currencyId": CURRENCY, "amount": 2}},
                {"featureId": _LIMITED, "usageLimit": 1},
            ],
        }
    ],
}


def run(parameters: Parameters) -> Report:
    """All figures of the suite."""
    report = Report("consume", parameters)
    directory = Path(tempfile.mkdtemp(prefix="stigg-local-consume-"))
    try:
        raws = {level: Raw(directory / f"raw-{level}.db", level) for level in LEVELS}
        with Stigg(catalog=CATALOG, data_dir=directory / "data") as client:
            hot = [f"customer-{number}" for number in range(CUSTOMERS)]
            for customer in (*hot, _FULL, _WALLET):
                client.provision_customer(customer, subscription_params={"plan_id": "plan"})
            client.consume(_FULL, _LIMITED)
            client.grant_credits(_WALLET, CURRENCY, _ENOUGH)
            told = 0
            for level, raw in raws.items():
                told += _alone(report, client, raw, level)
                told += _threads(report, client, raw, level, hot[:1], "one hot customer")
                told += _threads(report, client, raw, level, hot, f"{CUSTOMERS} customers")
            states = [client.get_metered_entitlement(customer, METERED[0]) for customer in hot]
            counted = sum(state.current_usage for state in states)
            if counted != told:
                raise AssertionError(f"{told} units were admitted and {counted} are there")
            report.answers = answers_hash([client.get_metered_entitlement(_FULL, _LIMITED)])
        for raw in raws.values():
            raw.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return report


class Raw:
    """A file of its own on the same disk: one conditional update for each commit."""

    def __init__(self, path: Path, level: str) -> None:
        create_file(str(path))
        self._connection = connect(str(path))
        use_wal(self._connection)
        self._connection.pragma("synchronous", "full" if level == "disk" else "normal")
        self._connection.execute("CREATE TABLE raw (id INTEGER PRIMARY KEY, used INTEGER NOT NULL, most INTEGER)")
        self._connection.execute("INSERT INTO raw VALUES (1, 0, ?)", (_ENOUGH,))

    def updates(self, count: int) -> list[float]:
        """Seconds of each of so many updates."""
        cursor = self._connection.cursor()
        taken = []
        for _ in range(count):
            start = time.perf_counter()
            cursor.execute("UPDATE raw SET used = used + 1 WHERE id = 1 AND used + 1 <= most")
            taken.append(time.perf_counter() - start)
        return taken

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _alone(report: Report, client: Stigg, raw: Raw, level: str) -> int:
    """One thread, each kind of call in turns with raw updates."""

    def consume() -> None:
        assert client.consume("customer-0", METERED[0], durability=level).allowed

    def rated() -> None:
        assert client.consume(_WALLET, RATED[0], durability=level).allowed

    def refused() -> None:
        assert not client.consume(_FULL, _LIMITED, durability=level).allowed

    def held() -> None:
        hold = client.reserve(_WALLET, METERED[0], 1, durability=level)
        hold.settle(1, durability=level)

    def told() -> None:
        client.report_usage(_WALLET, METERED[0], 1, durability=level)

    calls: dict[str, Callable[[], None]] = {
        "consume of a limit": consume,
        "consume of a limit and credits": rated,
        "reserve and settle": held,
        "refused consume": refused,
        "report, for comparison": told,
    }
    block = max(1, report.parameters.reports // 20)
    updates: list[float] = []
    taken: dict[str, list[float]] = {name: [] for name in calls}
    while len(updates) < report.parameters.reports:
        updates += raw.updates(block)
        for name, call in calls.items():
            for _ in range(block):
                start = time.perf_counter()
                call()
                taken[name].append(time.perf_counter() - start)
    base = percentiles(updates)
    report.add(f"{level}: raw conditional update", base.p50 * 1e6, "us", note=f"p99 {base.p99 * 1e6:.0f}")
    for name, seconds in taken.items():
        found = percentiles(seconds)
        note = f"{found.p50 * 1e6:.0f} us, p99 {found.p99 * 1e6:.0f}"
        report.add(f"{level}: {name}, of the raw rate", base.p50 / found.p50, "x", note=note)
    return len(taken["consume of a limit"])


def _threads(report: Report, client: Stigg, raw: Raw, level: str, customers: list[str], what: str) -> int:
    told = 0
    for threads in (1, 4, 16):
        rates: list[float] = []
        updates: list[float] = []
        for _ in range(max(1, report.parameters.rounds // 7)):
            updates += raw.updates(report.parameters.reports // 2)
            count, wall = _consume_from(client, threads, report.parameters.reports, customers, level)
            told += count
            rates.append(count / wall)
        rate = statistics.median(rates)
        value = rate * percentiles(updates).p50
        report.add(f"{level}: {what}, {threads} threads, of the raw rate", value, "x", note=f"{rate:,.0f}/s")
    return told


def _consume_from(client: Stigg, threads: int, count: int, customers: list[str], level: str) -> tuple[int, float]:
    each = max(1, count // threads)

    def work(place: int) -> None:
        for index in range(each):
            client.consume(customers[(place + index) % len(customers)], METERED[0], durability=level)

    return each * threads, together(threads, work)


if __name__ == "__main__":
    main(run)
