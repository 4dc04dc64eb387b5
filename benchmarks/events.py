"""Raw events through a UNIQUE and a SUM meter: events per second, bytes on disk, and whether the log's size matters.

Batches of 1,000 at level `os`, keys and users at random, one customer who gets half of the events and others who share
the rest. Beside it the same rows put into one table by bare SQLite, in batches of the same size.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from benchmarks.harness import Parameters, Report, answers_hash, main
from stigg_local import Stigg

BATCH = 1000
PARTS = 10
CUSTOMERS = 100
FEATURES = ("feature-users", "feature-tokens")
_LOGIN = [{"conditions": [{"field": "eventName", "operation": "EQUALS", "value": "request"}]}]

CATALOG: dict[str, Any] = {
    "schema": 1,
    "features": [
        {
            "id": FEATURES[0],
            "featureType": "Numeric",
            "meterType": "Incremental",
            "meter": {"function": "UNIQUE", "field": "user_id", "filters": _LOGIN},
        },
        {
            "id": FEATURES[1],
            "featureType": "Numeric",
            "meterType": "Incremental",
            "meter": {"function": "SUM", "field": "tokens", "filters": _LOGIN},
        },
    ],
    "products": [{"id": "product"}],
    "plans": [
        {
            "id": "plan",
            "productId": "product",
            "pricingType": "FREE",
            "entitlements": [
                {"featureId": feature, "isUnlimited": True, "resetPeriod": "MONTH"} for feature in FEATURES
            ],
        }
    ],
}


def run(parameters: Parameters) -> Report:
    """All figures of the suite."""
    report = Report("events", parameters)
    count = parameters.events
    with tempfile.TemporaryDirectory(prefix="benchmark-events-") as directory:
        path = Path(directory) / "state"
        client = Stigg(catalog=CATALOG, data_dir=path)
        try:
            for number in range(CUSTOMERS):
                client.provision_customer(_customer(number), subscription_params={"plan_id": "plan"})
            client.tick()
            before = _size(path)
            seconds, raw_s = _report(client, count, Path(directory) / "raw.db")
            client.tick()
            grown = _size(path) - before
            single_us = _single(client, parameters.reports)
            asked = (_customer(number) for number in range(CUSTOMERS))
            answers = [client.get_metered_entitlement(item, feature) for item in asked for feature in FEATURES]
        finally:
            client.close()
    report.answers = answers_hash(answers)
    total, busy = (sum(column) for column in zip(*seconds, strict=True))
    report.add("events per second", count / total, "1/s", note="level os, batches of 1,000")
    report.add("  of the raw rate of the same rows", raw_s / total, "x")
    report.add("bytes per event on disk", grown / count, "B", note="log, keys and the set of the UNIQUE meter")
    share = max(1, len(seconds) // PARTS)
    first, last = (
        statistics.median(cpu for _, cpu in part) for part in (seconds[share : 2 * share], seconds[-share:])
    )
    report.add("processor time of one event", busy / count * 1e6, "us", at_most=60)
    report.add("  in a batch at the end over one near the beginning", last / first, "x", at_most=1.5)
    report.add("one event in a call of its own, median", single_us, "us", note="level os")
    return report


def _report(client: Stigg, count: int, raw: Path) -> tuple[list[tuple[float, float]], float]:
    """(seconds, seconds of this thread's processor time) of each batch; the second does not see a busy machine.

    And the seconds that bare SQLite takes for the same rows in one table under their keys, batch by batch in between.
    """
    connection = apsw.Connection(str(raw))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "NORMAL")
    connection.execute(
        "CREATE TABLE event (customer, name, key, body, PRIMARY KEY (customer, name, key)) WITHOUT ROWID"
    )
    seconds, raw_s = [], 0.0
    for events in _batches(count):
        start, busy = time.perf_counter(), time.thread_time()
        client.report_event(events, durability="os")
        seconds.append((time.perf_counter() - start, time.thread_time() - busy))
        rows = [(item["customer_id"], item["event_name"], item["idempotency_key"], b"x" * 40) for item in events]
        start = time.perf_counter()
        with connection:
            connection.executemany("INSERT INTO event VALUES (?, ?, ?, ?)", rows)
        raw_s += time.perf_counter() - start
    connection.close()
    return seconds, raw_s


def _batches(count: int) -> Iterator[list[dict[str, Any]]]:
    source = random.Random(1)
    for start in range(0, count, BATCH):
        yield [_event(source) for _ in range(min(BATCH, count - start))]


def _event(source: random.Random) -> dict[str, Any]:
    number = 0 if source.random() < 0.5 else source.randrange(1, CUSTOMERS)
    return {
        "customer_id": _customer(number),
        "event_name": "request",
        "idempotency_key": f"{source.getrandbits(128):032x}",
        "dimensions": {"user_id": f"user-{source.randrange(100_000):06d}", "tokens": source.randrange(1, 2000)},
    }


def _single(client: Stigg, count: int) -> float:
    source = random.Random(2)
    found = []
    for _ in range(count):
        event = _event(source)
        start = time.perf_counter()
        client.report_event(event, durability="os")
        found.append(time.perf_counter() - start)
    return statistics.median(found) * 1e6


def _size(path: Path) -> int:
    return (path / "authority.db").stat().st_size


def _customer(number: int) -> str:
    return f"customer-{number:04d}"


if __name__ == "__main__":
    main(run)
