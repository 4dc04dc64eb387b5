"""Import: time and memory of `import stigg_local` over a bare interpreter, in fresh processes.

Sketch: msgspec is two thirds of it, 20 ms and 5 MB; SQLite is not loaded before a client is opened.
"""

import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import Parameters, Report, main
from stigg_local.bench.timing import clean_environment

_CODE = """\
import time
start = time.perf_counter()
{imports}
taken = time.perf_counter() - start
try:
    size = int(open('/proc/self/statm').read().split()[1]) * 4096
except OSError:
    import resource
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(taken, size)
"""

_ROWS = {
    "bare": "pass",
    "import msgspec": "import msgspec",
    "import msgspec, apsw": "import msgspec, apsw",
    "import stigg_local": "import stigg_local",
    "import stigg_local and what a client opens with": "import stigg_local, stigg_local.embedded",
}


def run(parameters: Parameters) -> Report:
    """All figures of the suite."""
    report = Report("imports", parameters)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in _ROWS}
    # Not measured: it compiles what has changed since the last run.
    _measure(_ROWS["import stigg_local and what a client opens with"])
    for _ in range(parameters.repeats):
        for name, imports in _ROWS.items():
            taken[name].append(_measure(imports))
    bare = statistics.median(size for _, size in taken["bare"])
    for name in list(_ROWS)[1:]:
        is_ours = name == "import stigg_local"
        time_ms = statistics.median(ms for ms, _ in taken[name])
        size_mb = statistics.median(size for _, size in taken[name]) - bare
        report.add(name, time_ms, "ms", at_most=60 if is_ours else None)
        report.add(f"  {name}, memory", size_mb, "MB", at_most=8 if is_ours else None)
    report.answers = "none"
    return report


def _measure(imports: str) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", _CODE.format(imports=imports)],
        cwd=Path(__file__).parents[1],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, size = done.stdout.split()
    return float(seconds) * 1000, int(size) / 1e6


if __name__ == "__main__":
    main(run)
