"""What needs a fresh process: opening a directory, and what customers take in memory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import stigg_local
from stigg_local.bench.timing import clean_environment, settled_mb
from stigg_local.client import Stigg
from stigg_local.errors import StiggError

# Customers asked about in memory; more of them are told nothing new.
HELD_MAX = 20_000
_MEMORY_LIMIT_BYTES = 4_000_000_000


def fresh(what: str, directory: str, customer_id: str, feature_id: str, resource_id: str) -> dict[str, Any]:
    """What `opened` or `memory` finds in a process of its own."""
    # As JSON, for an id may hold what an argument of a process cannot.
    about = json.dumps([directory, customer_id, feature_id, resource_id])
    arguments = [sys.executable, "-m", "stigg_local.bench.child", what, about]
    # Our own module in our own interpreter; the words go to it as they are, past any shell.
    done = subprocess.run(  # noqa: S603
        arguments, env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise StiggError(f"the process that measures `{what}` failed: {lines[-1] if lines else 'it said nothing'}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _environment() -> dict[str, str]:
    """Where this very package is found first, however this process found it."""
    found = clean_environment()
    paths = [str(Path(stigg_local.__file__).parents[1]), found.get("PYTHONPATH", "")]
    return found | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def opened(directory: str, customer_id: str, feature_id: str, resource_id: str) -> dict[str, Any]:
    """Nanoseconds from the constructor to the first answer; the package itself is imported already."""
    start = perf_counter_ns()
    client = Stigg(data_dir=directory)
    client.get_entitlement(customer_id, feature_id, resource_id or None)
    taken = perf_counter_ns() - start
    client.close()
    return {"taken": taken}


def memory(directory: str, customer_id: str, feature_id: str, resource_id: str) -> dict[str, Any]:
    """Megabytes that all customers take preloaded, and bytes of one who is held with an answer."""
    with Stigg(data_dir=directory, memory_limit_bytes=_MEMORY_LIMIT_BYTES) as client:
        client.get_entitlement(customer_id, feature_id, resource_id or None)
        client.reload_entitlements(customer_id)
        before = settled_mb()
        start = perf_counter_ns()
        customers = client.preload()
        preload_ns = perf_counter_ns() - start
        preloaded = settled_mb()
        embedded = client._embedded
        assert embedded is not None
        ids = list(embedded.replica._compact)[:HELD_MAX]
        listed = settled_mb()
        for held in ids:
            client.get_entitlement(held, feature_id)
        held_mb = settled_mb() - listed
    return {
        "customers": customers,
        "preload_ns": preload_ns,
        "preloaded_bytes": max(0, round((preloaded - before) * 1e6)),
        "held_bytes": max(0, round(held_mb * 1e6 / max(1, len(ids)))),
    }


if __name__ == "__main__":
    measured = {"open": opened, "memory": memory}[sys.argv[1]]
    print(json.dumps(measured(*json.loads(sys.argv[2]))))
