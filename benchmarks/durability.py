"""The levels of durability: what a call costs at each, a burst of queued reports, and how many a second last.

Sketch: at `disk` a report waits for the disk, at `os` for the processor, queued for neither; what is queued is
stored in batches, so it lasts nearly as long as bare rows in batches do. There is a bare row for each report, its
digest included, put into a table with the schema of `measurement` by prepared statements: what no program that stores
a row for each report can beat.
"""

import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.commit import CUSTOMERS
from benchmarks.data import METERED, PLANS, catalog, customer_id
from benchmarks.harness import FULL, Parameters, Report, answers_hash, main
from stigg_local import Stigg
from stigg_local.bench.timing import percentiles
from stigg_local.core.period import FOREVER_MS
from stigg_local.store.connection import connect, create_file, use_wal
from stigg_local.store.digest import MEASUREMENT, row_digest
from stigg_local.store.queued import SIZE_DEFAULT, TOGETHER_MAX
from stigg_local.store.schema import OBJECTS_V1

BATCHES = (1000, TOGETHER_MAX)


def run(parameters: Parameters) -> Report:
    """All figures of the suite."""
    report = Report("durability", parameters)
    rounds = max(1, parameters.rounds // 3)
    directory = Path(tempfile.mkdtemp(prefix="stigg-local-durability-"))
    try:
        with Stigg(catalog=catalog(), data_dir=directory / "data", queue_wait_seconds=60) as client:
            ids = [customer_id(index) for index in range(CUSTOMERS)]
            for index, customer in enumerate(ids):
                client.provision_customer(customer, subscription_params={"plan_id": PLANS[index % len(PLANS)]})
            told = _levels(report, client, ids)
            told += _burst(report, client, ids, rounds)
            told += _sustained(report, client, ids, directory, rounds)
            counted = sum(client.get_metered_entitlement(customer, METERED[0]).current_usage for customer in ids)
            if counted != told:
                raise AssertionError(f"{told} units were acknowledged and {counted} are there")
            report.answers = answers_hash(client.get_metered_entitlement(customer, METERED[1]) for customer in ids)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return report


def _levels(report: Report, client: Stigg, ids: list[str]) -> int:
    taken: dict[str, list[float]] = {"disk": [], "os": [], "queued": []}
    count = report.parameters.reports
    for block in range(10):
        for level, times in taken.items():
            for index in range(max(1, count // 10)):
                start = time.perf_counter()
                client.report_usage(ids[(block + index) % len(ids)], METERED[0], 1, durability=level)
                times.append(time.perf_counter() - start)
            client.flush()
    disk = percentiles(taken["disk"]).p50
    for level, times in taken.items():
        found = percentiles(times)
        note = f"p50 {found.p50 * 1e6:.1f} us, p99 {found.p99 * 1e6:.1f}"
        report.add(f"a report at {level}, of one at disk", found.p50 / disk, "x", note=note)
    return sum(len(times) for times in taken.values())


def _burst(report: Report, client: Stigg, ids: list[str], rounds: int) -> int:
    """As many reports as the queue takes, one after another, into an empty queue."""
    size = SIZE_DEFAULT - len(ids) if report.parameters.reports >= FULL.reports else 100
    each, own = [], []
    for _ in range(rounds):
        # The first report of a customer looks the customer up.
        for customer in ids:
            client.report_usage(customer, METERED[0], 1, durability="queued")
        client.flush()
        for customer in ids:
            client.report_usage(customer, METERED[0], 1, durability="queued")
        start, processor = time.perf_counter(), time.thread_time()
        for index in range(size):
            client.report_usage(ids[index % CUSTOMERS], METERED[0], 1, durability="queued")
        each.append((time.perf_counter() - start) / size)
        own.append((time.thread_time() - processor) / size)
        client.flush()
    found = statistics.median(each)
    note = f"best {min(each) * 1e6:.2f} us; {statistics.median(own) * 1e6:.2f} us of processor"
    report.add(f"a queued report, burst of {size:,}", found * 1e6, "us", at_most=3, note=note)
    return rounds * (size + 2 * len(ids))


def _sustained(report: Report, client: Stigg, ids: list[str], directory: Path, rounds: int) -> int:
    count = 100_000 if report.parameters.reports >= FULL.reports else 1000
    rows: list[Any] = []
    rates: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    ours: list[float] = []
    for number in range(rounds):
        start = time.perf_counter()
        for index in range(count):
            client.report_usage(ids[index % CUSTOMERS], METERED[0], 1, durability="queued")
        client.flush()
        ours.append(count / (time.perf_counter() - start))
        rows = rows or _rows(client, ids)[-count:]
        for batch in BATCHES:
            rates[batch].append(_raw(directory / f"raw-{number}-{batch}.db", rows, batch))
    rate = statistics.median(ours)
    for batch in BATCHES:
        ratio = statistics.median([one / raw for one, raw in zip(ours, rates[batch], strict=True)])
        note = f"{rate:,.0f}/s against {statistics.median(rates[batch]):,.0f}/s"
        at_least = 0.7 if batch == 1000 else None
        report.add(f"sustained, of the raw rate, {batch:,} a commit", ratio, "x", at_least=at_least, note=note)
    return rounds * count


def _rows(client: Stigg, ids: list[str]) -> list[Any]:
    """What was reported, in the order in which it was stored: a row of `measurement` for each report."""
    assert client._embedded is not None
    store, feature_id = client._embedded.store, METERED[0]
    found = []
    for customer in ids:
        for report in store.read(lambda tx, asked=customer: tx.measurements(asked, "", feature_id, 0, FOREVER_MS)):  # type: ignore[misc]
            digest = row_digest(store.environment, customer, (MEASUREMENT, "", feature_id, *report))
            found.append((store.environment, customer, "", feature_id, *report, digest))
    found.sort(key=lambda row: row[4:6])
    return found


def _raw(path: Path, rows: list[Any], batch: int) -> float:
    """Rows a second into a new file, committed with a sync in batches."""
    create_file(str(path))
    connection = connect(str(path))
    use_wal(connection)
    connection.execute(OBJECTS_V1["measurement"])
    statement = f"INSERT INTO measurement VALUES ({', '.join('?' * len(rows[0]))})"
    start = time.perf_counter()
    for place in range(0, len(rows), batch):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(statement, rows[place : place + batch])
        connection.execute("COMMIT")
    taken = time.perf_counter() - start
    connection.close()
    path.unlink()
    return len(rows) / taken


if __name__ == "__main__":
    main(run)
