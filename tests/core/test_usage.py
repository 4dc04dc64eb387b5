"""Usage: one report after the other is the fold of all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stigg_local.core.history import Reported, measured, spans
from stigg_local.core.period import DAY_MS
from stigg_local.core.quantity import RAW_MAX
from stigg_local.core.usage import DELTA, SET, add, fold
from stigg_local.core.words import UsageMarkerType
from stigg_local.errors import InvalidInput, NotAllowed
from tests.builders import NOW_MS, catalog, feature, gives, plan, snapshot, source

CALLS = feature(scale=0)
SEATS = feature("seats", meter_type="Fluctuating", scale=0)
REPORTS = st.lists(st.tuples(st.sampled_from((DELTA, SET)), st.integers(-20, 50)), max_size=30)


@given(REPORTS, st.sampled_from((CALLS, SEATS)))
def test_adding_reports_one_by_one_is_folding_the_log(reports: list[tuple[str, int]], item: object) -> None:
    """What is refused is not in the log, and everything else counts in its order."""
    kind = CALLS if item is CALLS else SEATS
    usage, log = 0, []
    for behavior, value in reports:
        try:
            usage = add(kind, usage, behavior, value)
        except NotAllowed:
            continue
        log.append((behavior, value))
        assert usage == fold(kind, log)
        assert usage >= 0


def test_a_correction_stops_at_nothing() -> None:
    """Calls that were never reported cannot be taken back."""
    assert [11, 0, 10] == [add(CALLS, 12, DELTA, -1), add(CALLS, 2, DELTA, -5), add(CALLS, 11, SET, 10)]


@pytest.mark.parametrize(("kind", "behavior"), [(SEATS, DELTA), (SEATS, SET), (CALLS, SET)])
def test_a_level_below_nothing_is_refused(kind: object, behavior: str) -> None:
    """A level that would be negative was counted wrongly, and nobody can guess how."""
    with pytest.raises(NotAllowed) as raised:
        add(SEATS if kind is SEATS else CALLS, 2, behavior, -3)
    assert "UsageMeasurementDiffOutOfRangeError" == raised.value.code


def test_a_sum_out_of_range_is_refused() -> None:
    """It would no longer be what was reported."""
    with pytest.raises(InvalidInput) as raised:
        add(CALLS, RAW_MAX, DELTA, 1)
    assert "EntitlementUsageOutOfRangeError" == raised.value.code


def test_a_window_that_ends_with_its_subscription_was_reset_by_the_change() -> None:
    """At a window's end usage begins anew by itself only where the same subscription goes on."""
    day, next_day, end = NOW_MS, NOW_MS + DAY_MS, NOW_MS + 2 * DAY_MS
    compiled = catalog(plan(entitlements=(gives(reset_period="DAY"),)))
    one, other = source(end_ms=next_day), source(subscription_id="s-2", start_ms=next_day)
    found = {
        name: [
            (item.start_ms, item.end_ms, item.reset)
            for item in spans(compiled, snapshot(*sources), feature(), resource_id="", start_ms=day, end_ms=end)
        ]
        for name, sources in {"goes on": (source(),), "is another": (one, other)}.items()
    }
    first = day, next_day, None
    assert [first, (next_day, end, UsageMarkerType.PERIODIC_RESET)] == found["goes on"]
    assert [first, (next_day, end, UsageMarkerType.SUBSCRIPTION_CHANGE_RESET)] == found["is another"]


def test_a_history_has_one_point_for_an_instant() -> None:
    """What usage was once everything of that instant had happened, in the order of arrival."""
    at = [NOW_MS, NOW_MS + 5, NOW_MS + 5, NOW_MS + 3]
    said = [(DELTA, 1), (DELTA, 2), (SET, 7), (DELTA, 4)]
    reports = [Reported(when, (1, place), *one) for place, (when, one) in enumerate(zip(at, said, strict=True))]
    before, changes = measured(CALLS, reports, NOW_MS + 1, NOW_MS + 10)
    # The one that came last happened before those that came earlier: at its own time 1 and 4, then 7 set, and 4 on it.
    assert (1, [(NOW_MS + 3, 5), (NOW_MS + 5, 11)]) == (before, list(changes))


def test_a_window_that_is_cut_short_was_reset_by_the_change() -> None:
    """Also where the same subscription goes on, on another plan."""
    noon = NOW_MS + DAY_MS // 2
    compiled = catalog(plan(entitlements=(gives(reset_period="DAY"),)))
    sources = snapshot(source(end_ms=noon), source(start_ms=noon, anchor_ms=NOW_MS, cut_ms=noon))
    found = spans(compiled, sources, feature(), resource_id="", start_ms=NOW_MS, end_ms=NOW_MS + DAY_MS)
    assert [(NOW_MS, None), (noon, UsageMarkerType.SUBSCRIPTION_CHANGE_RESET)] == [
        (item.start_ms, item.reset) for item in found
    ]
