"""Durable usage reports: beside the raw commit of one row, from threads, and from eight processes.

Sketch: a report is one commit with a sync, so as many a second as the disk syncs; threads share commits, so more
of them; processes wait in line for each other. Everything is in units of the raw commit of the same minute.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from apsw import SQLITE_CHECKPOINT_RESTART

from benchmarks.data import METERED, PLANS, catalog, customer_id
from benchmarks.harness import Parameters, Report, answers_hash, main, together
from stigg_local import Stigg
from stigg_local.bench.timing import clean_environment, percentiles
from stigg_local.store.connection import connect, create_file, use_wal

CUSTOMERS = 16
_ROW = bytes(200)


def run(parameters: Parameters) -> Report:
    """All figures of the suite."""
    report = Report("commit", parameters)
    directory = Path(tempfile.mkdtemp(prefix="stigg-local-commit-"))
    try:
        raw = Raw(directory / "raw.db")
        with Stigg(catalog=catalog(), data_dir=directory / "data") as client:
            for index in range(CUSTOMERS):
                customer = customer_id(index)
                client.provision_customer(customer, subscription_params={"plan_id": PLANS[index % len(PLANS)]})
            told = _alone(report, client, raw)
            told += _threads(report, client, raw)
        told += _processes(report, directory / "data", raw)
        _reused(report, raw)
        raw.close()
        with Stigg(data_dir=directory / "data") as client:
            states = [client.get_metered_entitlement(customer_id(index), METERED[0]) for index in range(CUSTOMERS)]
            counted = sum(state.current_usage for state in states)
            if counted != told:
                raise AssertionError(f"{told} units were acknowledged and {counted} are there")
            # Who reported how often is a matter of time; what the customers are entitled to is not.
            kept = [client.get_metered_entitlement(customer_id(index), METERED[1]) for index in range(CUSTOMERS)]
            report.answers = answers_hash(kept)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return report


class Raw:
    """A file of its own on the same disk: one row of 200 bytes for each commit, with a sync.

    Its log is never reused, because a commit that makes the log longer costs up to twice as much as one that does
    not, and a unit must not change on the way.
    """

    def __init__(self, path: Path) -> None:
        create_file(str(path))
        self._connection = connect(str(path))
        use_wal(self._connection)
        self._connection.execute("CREATE TABLE raw (customer INTEGER PRIMARY KEY, body BLOB NOT NULL)")

    def commits(self, count: int) -> list[float]:
        """Seconds of each of so many commits."""
        cursor = self._connection.cursor()
        taken = []
        for _ in range(count):
            start = time.perf_counter()
            cursor.execute("INSERT INTO raw (body) VALUES (?)", (_ROW,))
            taken.append(time.perf_counter() - start)
        return taken

    def reuse(self) -> None:
        """Empty the log, which keeps its size, so that the next commits overwrite it."""
        self._connection.wal_checkpoint(mode=SQLITE_CHECKPOINT_RESTART)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _alone(report: Report, client: Stigg, raw: Raw) -> int:
    """One thread, in turns with raw commits."""
    block = max(1, report.parameters.reports // 20)
    commits: list[float] = []
    reports: list[float] = []
    while len(reports) < report.parameters.reports:
        commits += raw.commits(block)
        for index in range(block):
            start = time.perf_counter()
            client.report_usage(customer_id(index % CUSTOMERS), METERED[0], 1)
            reports.append(time.perf_counter() - start)
    commit, ours = percentiles(commits), percentiles(reports)
    report.add("raw commit of one row", commit.p50 * 1e6, "us", note=f"p99 {commit.p99 * 1e6:.0f}")
    ratio = commit.p50 / ours.p50
    report.add("durable report, 1 thread, of the raw rate", ratio, "x", at_least=0.7, note=f"{ours.p50 * 1e6:.0f} us")
    return len(reports)


def _reused(report: Report, raw: Raw) -> None:
    """What the same commit costs where the log has its size already: the floor of a report that meets that."""
    count = report.parameters.reports // 2
    growing = percentiles(raw.commits(count)).p50
    raw.reuse()
    reused = percentiles(raw.commits(count)).p50
    note = f"{reused * 1e6:.0f} us against {growing * 1e6:.0f} us"
    report.add("raw commit into a log that is reused", reused / growing, "commits", note=note)


def _threads(report: Report, client: Stigg, raw: Raw) -> int:
    told = 0
    for threads, target in ((1, None), (4, None), (16, 2.5)):
        rates, latencies, commits = [], [], []
        for _ in range(max(1, report.parameters.rounds // 7)):
            commits += raw.commits(report.parameters.reports // 2)
            taken, wall = _report_from(client, threads, report.parameters.reports)
            latencies += taken
            rates.append(len(taken) / wall)
            commits += raw.commits(report.parameters.reports // 2)
        told += len(latencies)
        base = percentiles(commits).p50
        rate = statistics.median(rates)
        note = f"{rate:,.0f}/s"
        report.add(f"{threads} threads reporting, of the raw rate", rate * base, "x", at_least=target, note=note)
        at_most = 15 if threads == 16 else None
        p99 = percentiles(latencies).p99
        report.add(f"  p99 of a report, {threads} threads", p99 / base, "commits", at_most=at_most)
    return told


def _report_from(client: Stigg, threads: int, count: int) -> tuple[list[float], float]:
    taken: list[float] = []
    each = max(1, count // threads)

    def work(place: int) -> None:
        own = []
        for index in range(each):
            start = time.perf_counter()
            client.report_usage(customer_id((place + index) % CUSTOMERS), METERED[0], 1)
            own.append(time.perf_counter() - start)
        taken.extend(own)

    return taken, together(threads, work)


def _processes(report: Report, directory: Path, raw: Raw) -> int:
    """So many processes, each as fast as it can, in rounds with raw commits in between."""
    count, each = report.parameters.processes, max(2, report.parameters.reports // 4)
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.commit", "--child", os.fspath(directory), str(place), str(each)],
            cwd=Path(__file__).parents[1],
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for place in range(count)
    ]
    latencies: list[float] = []
    wall = 0.0
    commits = raw.commits(each)
    try:
        for worker in workers:
            _line(worker)
        for _ in range(max(1, report.parameters.rounds // 4)):
            start = time.perf_counter()
            for worker in workers:
                assert worker.stdin is not None
                worker.stdin.write("go\n")
                worker.stdin.flush()
            for worker in workers:
                latencies += json.loads(_line(worker))
            wall += time.perf_counter() - start
            commits += raw.commits(each)
        for worker in workers:
            worker.communicate()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    base = percentiles(commits).p50
    found = percentiles(latencies)
    rate = len(latencies) / wall
    report.add(f"{count} processes reporting, of the raw rate", rate * base, "x", note=f"{rate:,.0f}/s")
    report.add(f"  p50 of a report, {count} processes", found.p50 / base, "commits")
    report.add(f"  p99 of a report, {count} processes", found.p99 / base, "commits")
    report.add(f"  p99.9 of a report, {count} processes", found.p999 / base, "commits", at_most=50)
    report.add(f"  the longest report, {count} processes", max(latencies) / base, "commits")
    return len(latencies)


def _line(worker: "subprocess.Popen[str]") -> str:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError("a reporting process ended early")
    return line


def child(arguments: list[str]) -> Any:
    """One reporting process: for each line of its input, the seconds of each of a round of reports."""
    directory, place, count = arguments[0], int(arguments[1]), int(arguments[2])
    with Stigg(data_dir=directory) as client:
        client.get_metered_entitlement(customer_id(0), METERED[0])
        print("ready", flush=True)
        for _ in sys.stdin:
            taken = []
            for index in range(count):
                start = time.perf_counter()
                client.report_usage(customer_id((place + index) % CUSTOMERS), METERED[0], 1)
                taken.append(time.perf_counter() - start)
            print(json.dumps(taken), flush=True)
    return None


if __name__ == "__main__":
    main(run, child)
