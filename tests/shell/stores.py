"""What the store tests share: a clock moved by hand, a store to open, commands to run, worker processes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stigg_local.clock import SystemClock
from stigg_local.store import Store, Tx

ROOT = Path(__file__).parents[2]
ENVIRONMENT = "production"


class HandClock:
    """Wall and monotonic time that only a test moves."""

    def __init__(self, wall_s: float = 1_700_000_000.0) -> None:
        self.wall_s = wall_s
        self.monotonic_s = 1000.0
        self.boot = "boot-1"

    def time(self) -> float:
        return self.wall_s

    def monotonic(self) -> float:
        return self.monotonic_s

    def boot_id(self) -> str:
        return self.boot

    def advance(self, seconds: float) -> None:
        self.wall_s += seconds
        self.monotonic_s += seconds


@contextmanager
def opened(data_dir: Path, clock: Any = None, environment: str = ENVIRONMENT) -> Iterator[Store]:
    store = Store.open(data_dir, environment=environment, clock=clock or SystemClock())
    try:
        yield store
    finally:
        store.close()


def add(store: Store, key: str, customer_id: str = "customer-1", value: int = 1, durability: str = "disk") -> int:
    """The life of a usage report: look the key up, measure, count, remember the reply."""

    def command(tx: Tx) -> int:
        stored = tx.idempotency("add", key)
        if stored is not None:
            return int(stored[1])
        if tx.customer_snapshot(customer_id) is None:
            tx.put_customer(customer_id, b"snapshot")
        total = (tx.counter(customer_id, "", "feature-1", 0, 1000) or 0) + value
        tx.put_counter(customer_id, "", "feature-1", 0, 1000, total)
        tx.append_measurement(customer_id, "", "feature-1", key, "DELTA", value, 5)
        tx.put_idempotency("add", key, customer_id, b"fingerprint", str(total).encode())
        return total

    return store.write(command, operation="add", key=key, durability=durability)


def total(store: Store, customer_id: str = "customer-1") -> int:
    """What the customer's counter says."""
    return sum(row[4] for row in store.load_customer(customer_id).counters)


def measured(store: Store, customer_id: str = "customer-1") -> list[str]:
    """The ids of the customer's measurements, in order of arrival, after checking the whole log."""

    def ask(tx: Tx) -> list[str]:
        tx.verify_log(customer_id)
        return [row.measurement_id for row in tx.measurements(customer_id, "", "feature-1", 0, 1000)]

    return store.read(ask)


def start(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """A process that runs `code` with this module's names and `arguments` as `args`."""
    prelude = "import sys, os\nfrom tests.shell.stores import *\nargs = sys.argv[1:]\n"
    return subprocess.Popen(
        [sys.executable, "-c", prelude + code, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        **options,
    )
