"""Customers with subscriptions, provisioned through the public API: how many a second, and whether that stays.

Sketch: a command is one commit with a sync and some milliseconds' work of rules, so alone it is a part of the raw
rate, and threads that share commits are bound by the work. What it costs must not grow with the customers that are
there: each touches rows of its own by their keys. Everything is in units of the raw commit of the same minute.
"""

import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.commit import Raw
from benchmarks.data import BOOLEANS, METERED, PLANS, catalog, customer_id
from benchmarks.harness import Parameters, Report, answers_hash, main
from stigg_local import Stigg
from stigg_local.bench.timing import percentiles

THREADS = 16
# Customers between two looks at the clock.
BLOCK = 50


def run(parameters: Parameters) -> Report:
    """All figures of the suite."""
    report = Report("provision", parameters)
    directory = Path(tempfile.mkdtemp(prefix="stigg-local-provision-"))
    try:
        raw = Raw(directory / "raw.db")
        with (
            Stigg(catalog=catalog(), data_dir=directory / "data") as client,
            Stigg(catalog=catalog(), data_dir=directory / "small") as small,
        ):
            sizes = [max(1, parameters.customers // share) for share in (100, 10, 1)]
            there = 0
            with _Bar(parameters.customers) as bar:
                for size in sizes:
                    _many(report, client, raw, there, size, bar)
                    _alone(report, client, raw, size)
                    there = size
            for index in range(sizes[0]):
                _provision(small, index)
            _grown(report, small, client, sizes)
            _check(client, sizes[-1])
            sampled = range(0, sizes[-1], max(1, sizes[-1] // parameters.sample))
            report.answers = answers_hash(
                client.get_metered_entitlement(customer_id(index), METERED[0]) for index in sampled
            )
        raw.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return report


def _provision(client: Stigg, index: int) -> None:
    customer = customer_id(index)
    client.provision_customer(
        customer,
        name=f"Customer {index}",
        email=f"{customer}@example.com",
        subscription_params={"plan_id": PLANS[index % len(PLANS)], "metadata": {"tier": str(index % 7)}},
    )


def _many(report: Report, client: Stigg, raw: Raw, there: int, size: int, bar: "_Bar") -> None:
    """Provision until so many customers are there, from threads that share commits."""
    taken, commits = 0.0, []
    for start in range(there, size, BLOCK * THREADS):
        end = min(size, start + BLOCK * THREADS)
        begun = time.perf_counter()
        workers = [
            threading.Thread(target=_share, args=(client, range(start + place, end, THREADS), bar))
            for place in range(THREADS)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        taken += time.perf_counter() - begun
        commits += raw.commits(max(1, report.parameters.reports // 40))
    base = statistics.median(commits)
    rate = (size - there) / taken
    note = f"{rate:,.0f}/s, raw {1 / base:,.0f}/s"
    report.add(f"{THREADS} threads provisioning to {size:,}, of the raw rate", rate * base, "x", note=note)


def _share(client: Stigg, indexes: range, bar: "_Bar") -> None:
    for index in indexes:
        _provision(client, index)
        bar.advance()


def _alone(report: Report, client: Stigg, raw: Raw, size: int) -> None:
    """One thread with so many customers there, in turns with raw commits."""
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    commits: list[float] = []
    for index in range(report.parameters.reports):
        commits += raw.commits(len(COMMANDS))
        for name, call in _commands(client, f"alone-{size}-{index}").items():
            start = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - start)
    base = percentiles(commits).p50
    for name in COMMANDS:
        found = percentiles(taken[name])
        note = f"{1 / found.p50:,.0f}/s, p99 {found.p99 / base:.1f}"
        report.add(f"  {name}, {size:,} customers", found.p50 / base, "commits", note=note)


def _grown(report: Report, small: Stigg, large: Stigg, sizes: list[int]) -> None:
    """The same commands in turns on a small and on a large directory: what more customers make them cost."""
    taken: dict[str, list[list[float]]] = {name: [[], []] for name in COMMANDS}
    worked: dict[str, list[list[float]]] = {name: [[], []] for name in COMMANDS}
    for index in range(report.parameters.reports):
        calls = [_commands(client, f"grown-{index}") for client in (small, large)]
        for name in COMMANDS:
            # Whoever comes second finds the processor's caches as the first left them.
            for place in (0, 1) if index % 2 else (1, 0):
                start, begun = time.perf_counter(), time.thread_time()
                calls[place][name]()
                worked[name][place].append(time.thread_time() - begun)
                taken[name][place].append(time.perf_counter() - start)
    for name in COMMANDS:
        before, after = (statistics.median(found) for found in worked[name])
        first, second = (statistics.median(found) for found in taken[name])
        note = (
            f"{sizes[-1]:,} customers against {sizes[0]:,}; {after * 1e3:.2f} ms, {second / first:.2f} x by the clock"
        )
        report.add(f"growth of {name}, processor time", after / before, "x", at_most=1.5, note=note)


COMMANDS = ("provision_customer", "provision_subscription", "update_customer", "get_customer")


def _commands(client: Stigg, customer: str) -> dict[str, Callable[[], object]]:
    """A new customer with a subscription, another plan, a patch, and reading the customer back."""
    calls: tuple[Callable[[], object], ...] = (
        lambda: client.provision_customer(customer, subscription_params={"plan_id": PLANS[0]}),
        lambda: client.provision_subscription(customer, PLANS[1]),
        lambda: client.update_customer(customer, name="Another"),
        lambda: client.get_customer(customer),
    )
    return dict(zip(COMMANDS, calls, strict=True))


def _check(client: Stigg, size: int) -> None:
    """Every customer is there, with what the plan gives."""
    missing = [
        index
        for index in range(size)
        if not client.get_boolean_entitlement(customer_id(index), BOOLEANS[0]).has_access
        and not client.get_metered_entitlement(customer_id(index), METERED[0]).has_access
    ]
    if missing:
        raise AssertionError(f"{len(missing)} customers of {size} have no subscription, {missing[:5]} among them")


class _Bar:
    """A progress bar on standard error where a person looks, for what takes minutes."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("provisioning"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}/s"),
            TimeRemainingColumn(),
            console=console,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("provisioning", total=total, rate="")
        self._start = time.perf_counter()
        self._done = 0
        self._lock = threading.Lock()

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self) -> None:
        """One more customer is there."""
        with self._lock:
            self._done += 1
            if self._done % BLOCK:
                return
            rate = self._done / (time.perf_counter() - self._start)
            self._progress.update(self._task, completed=self._done, rate=f"{rate:,.0f}")


if __name__ == "__main__":
    main(run)
