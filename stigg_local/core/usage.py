"""Calculated usage: how reports become counters.

Law: a counter is the fold of the log over its interval, in arrival order; adding one report to it is the same as
folding again. Incremental usage stops at 0; fluctuating usage below 0 is refused. Source: semantics §3.2, §20.
"""

from collections.abc import Iterable

from stigg_local.core.catalog import Feature
from stigg_local.core.quantity import RAW_MAX, from_raw
from stigg_local.errors import InvalidInput, NotAllowed

DELTA, SET = "DELTA", "SET"
# A report stamped further ahead of the clock than this is a mistake; a nearer one is taken as now.
AHEAD_MS_MAX = 5 * 60 * 1000


def add(feature: Feature, current: int, behavior: str, value: int) -> int:
    """The usage after one report.

    Args:
        feature: Its meter type decides what happens below 0.
        current: Raw usage before.
        behavior: DELTA or SET.
        value: Raw value reported.

    Raises:
        NotAllowed: Fluctuating usage would fall below 0 (`UsageMeasurementDiffOutOfRangeError`).
        InvalidInput: The sum is out of range (`EntitlementUsageOutOfRangeError`).
    """
    after = value if behavior == SET else current + value
    if after < 0:
        if feature.meter_type == "Fluctuating" or behavior == SET:
            raise NotAllowed(
                f"usage of `{feature.id}` would be `{from_raw(after, feature.scale)}`, below 0",
                code="UsageMeasurementDiffOutOfRangeError",
                hint=f"the current usage is {from_raw(current, feature.scale)}",
            )
        return 0
    if after > RAW_MAX:
        raise InvalidInput(
            f"usage of `{feature.id}` would be beyond the range of a scale of {feature.scale} digits",
            code="EntitlementUsageOutOfRangeError",
            hint="give the feature a smaller `scale`",
        )
    return after


def fold(feature: Feature, measurements: Iterable[tuple[str, int]]) -> int:
    """The usage that (behavior, raw value) pairs of one interval give, in arrival order."""
    usage = 0
    for behavior, value in measurements:
        after = value if behavior == SET else usage + value
        usage = max(0, min(RAW_MAX, after))
    assert usage >= 0, f"usage of {feature.id} is never negative"
    return usage
