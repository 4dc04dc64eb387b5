"""Calculated usage: how reports become counters.

Law: a counter is the fold of the log over its interval, in arrival order; adding one report to it is the same as
folding again. Incremental usage stops at 0; fluctuating usage below 0 is refused. Source: semantics §3.2, §20.
"""

from collections.abc import Iterable

from stigg_local.core.catalog import Feature
from stigg_local.core.ids import told
from stigg_local.core.quantity import RAW_MAX, from_raw
from stigg_local.errors import InvalidInput, NotAllowed

DELTA, SET = "DELTA", "SET"
# A report stamped further ahead of the clock than this is a mistake; a nearer one is taken as now.
AHEAD_MS_MAX = 5 * 60 * 1000
# Percentages of a limit that are told when usage crosses them.
USAGE_THRESHOLDS = (80, 90, 100)


# A day at least, and no more than a calendar holds.
RETENTION_DAYS_MAX = 100_000
THRESHOLD_MAX = 10_000


def check_thresholds(value: object) -> tuple[int, ...]:
    """Percentages of a limit, in order.

    Raises:
        InvalidInput: Something else than whole numbers above 0.
    """
    if not isinstance(value, tuple | list | set | frozenset) or not all(
        type(item) is int and 0 < item <= THRESHOLD_MAX for item in value
    ):
        raise InvalidInput(
            f"usage_thresholds is `{told(value)}`",
            code="InvalidArgumentError",
            hint="pass percentages, for example (80, 90, 100)",
        )
    return tuple(sorted(set(value)))


def check_retention(value: object) -> int | None:
    """For how many days usage is kept one by one; None for the default.

    Raises:
        InvalidInput: Something else than a whole number above 0.
    """
    if value is None or (type(value) is int and 0 < value <= RETENTION_DAYS_MAX):
        return value
    raise InvalidInput(
        f"usage_retention_days is `{told(value)}`", code="InvalidArgumentError", hint="pass a number of days, or None"
    )


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
