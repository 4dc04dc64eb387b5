"""The demo's measurements: what calls cost, beside a dictionary lookup in the same run."""

from statistics import median
from time import perf_counter_ns
from timeit import Timer
from typing import Any

from stigg_local.cli.stage import Stage
from stigg_local.client import Stigg

LOOPS = 50_000
REPEATS = 5
REPORTS = 100
DICTIONARY_SIZE = 1_000


def measure(stage: Stage, client: Stigg, *, customer_id: str, boolean: str, metered: str, credit: str) -> None:
    """Measure reads in memory and reports on disk, and print them."""
    stage.step("Latencies, measured just now on this machine")
    dictionary = {f"customer-{index}": index for index in range(DICTIONARY_SIZE)}
    lookup = _per_call_ns("dictionary[key]", dictionary=dictionary, key=f"customer-{DICTIONARY_SIZE // 2}")
    names: dict[str, Any] = {"customer": customer_id, "boolean": boolean, "metered": metered, "credit": credit}
    statements = (
        ("boolean decision", "get(customer, boolean)", client.get_boolean_entitlement),
        ("metered decision", "get(customer, metered)", client.get_metered_entitlement),
        (
            "metered decision, 10 units asked",
            "get(customer, metered, requested_usage=10)",
            client.get_metered_entitlement,
        ),
        ("credit decision", "get(customer, credit)", client.get_credit_entitlement),
    )
    found = [("dictionary lookup", lookup)]
    found += [(what, _per_call_ns(statement, get=get, **names)) for what, statement, get in statements]
    found.append(("usage report, on disk when it returns", _report_ns(client, customer_id, metered)))
    stage.table(
        ("call", "time", "dictionary lookups"),
        [(what, _shown(spent), f"{spent / lookup:,.1f}") for what, spent in found],
    )


def _per_call_ns(statement: str, **names: Any) -> float:
    """The median over several loops of what one call costs, the loop around it included."""
    # As local names, which is how an application's own function would see them.
    setup = "; ".join(f"{name} = names[{name!r}]" for name in names)
    timer = Timer(statement, setup, globals={"names": names})
    timer.timeit(LOOPS // 10)
    return median(timer.repeat(REPEATS, LOOPS)) / LOOPS * 1e9


def _report_ns(client: Stigg, customer_id: str, feature_id: str) -> float:
    """The median of reports, one after the other."""
    spent = []
    for _ in range(REPORTS):
        start = perf_counter_ns()
        client.report_usage(customer_id, feature_id, 1)
        spent.append(perf_counter_ns() - start)
    return median(spent)


def _shown(nanoseconds: float) -> str:
    return f"{nanoseconds:,.0f} ns" if nanoseconds < 10_000 else f"{nanoseconds / 1000:,.0f} us"
