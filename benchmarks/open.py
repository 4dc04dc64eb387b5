"""Opening: from the constructor to the first answer, with all customers on disk, in fresh processes.

Sketch: nothing is loaded but the catalog and one customer, so the size does not matter: 1.5 ms to open, 1.5 ms to
compile the catalog and answer; in a fresh process the engine's modules are imported on top of that.
"""

import statistics
import time
from typing import Any

from benchmarks.harness import Parameters, Report, answers_hash, fresh, main


def run(parameters: Parameters) -> Report:
    """All figures of the suite."""
    from benchmarks.data import populated

    report = Report("open", parameters)
    small, large = str(populated(10)), str(populated(parameters.customers))
    # Not measured: it compiles what has changed since the last run.
    fresh("open", large, small)
    found = [fresh("open", large, small) for _ in range(parameters.repeats)]
    answers = {item["answers"] for item in found}
    assert len(answers) == 1, answers
    report.answers = answers.pop()

    def median(name: str) -> float:
        return float(statistics.median(item[name] for item in found))

    report.add("open to first answer, fresh process", median("first_ms"), "ms", at_most=5, note="imports included")
    report.add("open to first answer, modules loaded", median("again_ms"), "ms", at_most=5)
    report.add("  of it the constructor", median("constructor_ms"), "ms")
    report.add("  the same with 10 customers on disk", median("small_ms"), "ms")
    return report


def child(arguments: list[str]) -> dict[str, Any]:
    """The figures of one fresh process."""
    large, small = arguments
    import stigg_local  # noqa: F401 - imported before the clock starts, as an application does

    first_ms, _, answer = _open(large)
    small_ms, _, _ = _open(small)
    again_ms, constructor_ms, _ = _open(large)
    return {
        "first_ms": first_ms,
        "small_ms": small_ms,
        "again_ms": again_ms,
        "constructor_ms": constructor_ms,
        "answers": answers_hash([answer]),
    }


def _open(directory: str) -> tuple[float, float, Any]:
    from stigg_local import Stigg

    start = time.perf_counter()
    client = Stigg(data_dir=directory)
    opened = time.perf_counter()
    answer = client.get_metered_entitlement("customer-0000004", "feature-metered-00")
    done = time.perf_counter()
    client.close()
    return (done - start) * 1000, (opened - start) * 1000, answer


if __name__ == "__main__":
    main(run, child)
