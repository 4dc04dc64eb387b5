"""Memory: customers preloaded, and what the memo's entries take, each in a fresh process.

Sketch: a preloaded customer is an customer, a place in a dictionary and one block of bytes: 500 bytes with a recurring
grant. A customer who was asked about holds a decoded view besides: 1.5 KB, and 0.7 KB for each metered answer.
"""

import gc
import statistics
import time
from typing import Any

from benchmarks.data import BOOLEANS, METERED, customer_id, populated
from benchmarks.harness import Parameters, Report, answers_hash, fresh, main
from stigg_local import Stigg
from stigg_local.bench.timing import rss_mb


def run(parameters: Parameters) -> Report:
    """All figures of the suite."""
    report = Report("memory", parameters)
    size = parameters.customers
    directory = str(populated(size))
    repeats = max(1, parameters.repeats // 3)
    found = [fresh("memory", directory, str(size)) for _ in range(repeats)]
    answers = {item["answers"] for item in found}
    assert len(answers) == 1, answers
    report.answers = answers.pop()

    def median(name: str) -> float:
        return float(statistics.median(item[name] for item in found))

    scale = 100_000 / size
    report.add("preload, per 100,000 customers", median("preload_s") * scale, "s")
    report.add("  memory, per 100,000 customers", median("preload_mb") * scale, "MB", at_most=50)
    per = 1e6 / size
    report.add("held customer with one metered answer", median("held_mb") * per, "bytes")
    report.add("  further metered answer", median("metered_mb") * per, "bytes")
    report.add("  further boolean answer", median("boolean_mb") * per, "bytes")
    report.add("memo: resident over its own estimate", median("memo_mb") / median("estimate_mb"), "x")
    report.add("default bound, resident with three answers each", median("bounded_mb"), "MB", note="of 268 MB")
    return report


def child(arguments: list[str]) -> dict[str, Any]:
    """The figures of one fresh process."""
    directory, size = arguments[0], int(arguments[1])
    ids = [customer_id(index) for index in range(size)]
    with Stigg(data_dir=directory, memory_limit_bytes=4_000_000_000) as client:
        client.get_metered_entitlement(ids[4], METERED[0])
        client.reload_entitlements(ids[4])
        before = _settled()
        start = time.perf_counter()
        client.preload()
        preload_s = time.perf_counter() - start
        preloaded = _settled()
        answers = [client.get_metered_entitlement(customer, METERED[0]) for customer in ids]
        found = answers_hash(answers[:1000])
        del answers
        held = _settled()
        for customer in ids:
            client.get_metered_entitlement(customer, METERED[1])
        metered = _settled()
        for customer in ids:
            client.get_boolean_entitlement(customer, BOOLEANS[0])
        boolean = _settled()
        assert client._embedded is not None
        estimate_mb = client._embedded.replica.held_bytes() / 1e6
    released = _settled()
    with Stigg(data_dir=directory) as client:
        for customer in ids:
            for feature_id in METERED[:3]:
                client.get_metered_entitlement(customer, feature_id)
        # What the closed client gave back is used again, so the whole of it counts from before the first.
        bounded = _settled()
    return {
        "preload_s": preload_s,
        "preload_mb": preloaded - before,
        "held_mb": held - preloaded,
        "metered_mb": metered - held,
        "boolean_mb": boolean - metered,
        "memo_mb": boolean - preloaded,
        "estimate_mb": max(estimate_mb, 1e-6),
        "released_mb": released - before,
        "bounded_mb": bounded - before,
        "answers": found,
    }


def _settled() -> float:
    gc.collect()
    return rss_mb()


if __name__ == "__main__":
    main(run, child)
