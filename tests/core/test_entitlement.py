"""Answers: monotone, valid for as long as they say, and the same however they are asked for."""

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stigg_local.core.answer import BOOLEAN, CREDIT, ENUM, METERED, NUMERIC, CreditEntitlement, MeteredEntitlement
from stigg_local.core.catalog import CreditCurrency, CreditRate
from stigg_local.core.customer import TRIAL, CustomerSnapshot
from stigg_local.core.entitlement import (
    CounterKey,
    CustomerView,
    answer_request,
    counting_windows,
    evaluate,
    find_winner,
    requested_raw,
    state,
)
from stigg_local.core.period import DAY_MS, FOREVER_MS, HOUR_MS
from stigg_local.core.quantity import POWERS, RAW_MAX
from stigg_local.core.words import AccessDeniedReason
from stigg_local.errors import InvalidInput, StiggError
from stigg_local.testing import ManualClock
from tests.builders import NOW_MS, addon, catalog, feature, gives, grant, ms, plan, promotion, snapshot, source, view
from tests.strategies import CURRENCY, CUSTOMERS, FEATURES, LIVES, SITES, WORLDS, Step, dated
from tests.vectors.model import CoreLevel

RATE = CreditRate(currency_id="ai", amount=Decimal("2.5"))


def lived(life: list[Step]) -> tuple[CoreLevel, ManualClock]:
    """The model after a life."""
    clock = ManualClock("2025-01-31T10:00:00Z")
    level = CoreLevel({"catalog": WORLDS[0]}, clock)
    for step in life:
        match step["type"]:
            case "advance":
                clock.advance(milliseconds=step["ms"])
            case "apply":
                level.apply(WORLDS[step["world"]], migrate=step["migrate"])
            case "preload" | "drop" | "reload" | "reopen":
                continue
            case _:
                with suppress(StiggError):
                    level.do(dated(step, round(clock.time() * 1000)))
    return level, clock


def timeless(answer: Any) -> dict[str, Any]:
    """What may not change before `valid_until`."""
    return {key: value for key, value in answer.to_dict().items() if key != "validUntil"}


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(LIVES, st.lists(st.floats(0, 1), min_size=1, max_size=3))
def test_an_answer_holds_until_it_says(life: list[Step], parts: list[float]) -> None:
    """A memo that asks again at `valid_until` is never too late."""
    level, clock = lived(life)
    now_ms = round(clock.time() * 1000)
    questions = [
        (customer, item, site) for customer in CUSTOMERS for item in (*FEATURES, CURRENCY) for site in (None, SITES[0])
    ]
    asked = {question: level.ask(None, *question[:2], resource_id=question[2]) for question in questions}
    for answer in asked.values():
        until = answer.valid_until_ms
        assert until is not None
        assert until > now_ms
    horizon = min(now_ms + 800 * DAY_MS, *(answer.valid_until_ms or FOREVER_MS for answer in asked.values()))
    instants = {now_ms + int((horizon - 1 - now_ms) * part) for part in (*parts, 1.0)}
    for instant in sorted(instants):
        clock.advance(milliseconds=instant - round(clock.time() * 1000))
        for question, answer in asked.items():
            later = level.ask(None, *question[:2], resource_id=question[2])
            assert timeless(answer) == timeless(later), question


@st.composite
def gated(draw: st.DrawFn) -> tuple[int, int, int, bool, int | None]:
    """Limit, usage and request, soft or not, and the credits where the feature has a rate."""
    return (
        draw(st.integers(0, 30)),
        draw(st.integers(0, 30)),
        draw(st.integers(0, 30)),
        draw(st.booleans()),
        draw(st.none() | st.integers(0, 40)),
    )


def access(limit: int, used: int, requested: float, soft: bool, credits: int | None) -> bool:
    rate = None if credits is None else RATE
    compiled = catalog(
        feature(scale=0), plan(entitlements=(gives(usage_limit=limit, has_soft_limit=soft, credit_rate=rate),))
    )
    counters: dict[CounterKey, int] = {("", "calls", 0, FOREVER_MS): used}
    grants = () if not credits else (grant(amount=credits),)
    found = evaluate(
        compiled,
        view(source(), counters=counters, grants=grants),
        "calls",
        resource_id="",
        kind=METERED,
        now_ms=NOW_MS,
    )
    assert found is not None
    return answer_request(found, requested, ()).has_access


@given(gated(), st.integers(0, 5))
def test_access_is_monotone(case: tuple[int, int, int, bool, int | None], more: int) -> None:
    """More used or more asked for never turns no into yes; a higher limit or more credits never yes into no."""
    limit, used, requested, soft, credits = case
    now = access(limit, used, requested, soft, credits)
    assert now >= access(limit, used + more, requested, soft, credits)
    assert now >= access(limit, used, requested + more, soft, credits)
    assert now <= access(limit + more, used, requested, soft, credits)
    assert now <= access(limit, used, requested, True, credits)
    if credits is not None:
        assert now <= access(limit, used, requested, soft, credits + more)


@given(gated())
def test_access_is_what_the_numbers_say(case: tuple[int, int, int, bool, int | None]) -> None:
    """Used and requested within the limit, and the wallet holds the cost; asking for nothing needs something in it."""
    limit, used, requested, soft, credits = case
    fits = soft or used + requested <= limit
    cost = int(requested * RATE.amount + Decimal("0.5")) if requested else 1
    expected = fits and (credits is None or cost <= credits)
    assert expected == access(limit, used, requested, soft, credits)


@given(st.integers(0, 60), st.integers(0, 6), st.integers(0, 10**7))
def test_a_whole_request_is_decided_like_any_other(used: int, scale: int, requested: int) -> None:
    """The one compare of the fast path, and the exact one behind it."""
    compiled = catalog(feature(scale=scale), plan(entitlements=(gives(usage_limit=50),)))
    counters: dict[CounterKey, int] = {("", "calls", 0, FOREVER_MS): used * POWERS[scale]}
    found = evaluate(compiled, view(source(), counters=counters), "calls", resource_id="", kind=None, now_ms=NOW_MS)
    assert found is not None
    whole, exact = (answer_request(found, number, ()) for number in (requested, Decimal(requested)))
    assert whole.to_dict() | {"requestedUsage": 0} == exact.to_dict() | {"requestedUsage": 0}


def test_a_request_of_nothing_is_the_compiled_answer() -> None:
    """What the memo holds is what `answer_request` would make."""
    compiled = catalog(
        feature(),
        feature("flag", feature_type="Boolean", meter_type="None"),
        feature("days", meter_type="None"),
        feature("cities", feature_type="Enum", meter_type="None", enum_values=("NY",)),
        plan(entitlements=(gives(), gives("flag"), gives("days", value=7), gives("cities"))),
    )
    kinds = {"calls": METERED, "flag": BOOLEAN, "days": NUMERIC, "cities": ENUM, "ai": CREDIT}
    for held in (view(source(), grants=(grant(),)), view(), None):
        for item, kind in kinds.items():
            for asked in (None, kind):
                found = evaluate(compiled, held, item, resource_id="", kind=asked, now_ms=NOW_MS)
                assert found is not None
                assert kind == found.kind == found.answer.type
                assert found.answer == answer_request(found, 0, ())


@pytest.mark.parametrize("wrong", [-1, -0.5, "1", None, float("nan"), True])
def test_a_request_is_a_number_of_nothing_or_more(wrong: object) -> None:
    """A negative request would widen the limit."""
    found = evaluate(catalog(plan()), view(source()), "calls", resource_id="", kind=None, now_ms=NOW_MS)
    assert found is not None
    with pytest.raises(InvalidInput):
        answer_request(found, wrong, ())


def test_a_tiny_request_is_a_request_and_a_huge_one_the_largest() -> None:
    """It is not rounded to nothing, nor wrapped."""
    assert [0, 1, 1, RAW_MAX] == [
        requested_raw(number, 0) for number in (0.0, 0.2, Decimal("1E-30"), Decimal("1E+40"))
    ]
    found = evaluate(catalog(plan()), view(source()), "calls", resource_id="", kind=None, now_ms=NOW_MS)
    assert found is not None
    assert AccessDeniedReason.RequestedUsageExceedsLimit == answer_request(found, 2**60, ()).access_denied_reason


def test_what_is_unknown_or_of_another_type_is_not_answered() -> None:
    """So that a fallback may."""
    compiled = catalog(plan())
    held = view(source())
    questions = [("none", None), ("none", METERED), ("none", CREDIT), ("calls", BOOLEAN), ("calls", CREDIT)]
    assert [None] * len(questions) == [
        evaluate(compiled, held, item, resource_id="", kind=kind, now_ms=NOW_MS) for item, kind in questions
    ]


def test_an_archived_customer_is_told_apart() -> None:
    """Nothing is entitled, whatever the record still says."""
    compiled = catalog(plan())
    held = CustomerView(CustomerSnapshot(NOW_MS, True, (), ()))
    for item, kind in (("calls", METERED), ("ai", CREDIT), ("none", None)):
        found = evaluate(compiled, held, item, resource_id="", kind=kind, now_ms=NOW_MS)
        assert found is not None
        assert AccessDeniedReason.CustomerIsArchived == found.answer.access_denied_reason


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"usage_limit": 9}, {"usage_limit": 10}),
        ({"usage_limit": 10**9}, {"is_unlimited": True}),
        ({"usage_limit": 10}, {"usage_limit": 10, "has_soft_limit": True}),
        ({"usage_limit": 10, "reset_period": "DAY"}, {"usage_limit": 10, "reset_period": "HOUR"}),
        ({"usage_limit": 10}, {"usage_limit": 10, "reset_period": "YEAR"}),
        ({"usage_limit": 10, "reset_period": "HOUR"}, {"usage_limit": 10, "has_soft_limit": True}),
        ({"usage_limit": 10, "is_granted": False}, {"usage_limit": 0}),
    ],
)
def test_the_more_generous_source_wins(worse: dict[str, Any], better: dict[str, Any]) -> None:
    """Whatever the order and the kind of the sources: semantics §2.3."""
    compiled = catalog(plan(entitlements=(gives(**worse),)), plan("plan-b", entitlements=(gives(**better),)))
    first = source(subscription_id="worse")
    for second in (source(packages=(("plan-b", 1, 1),), kind=TRIAL), promotion(gives(**better))):
        for sources in ((first, second), (second, first)):
            winner = find_winner(compiled, snapshot(*sources), feature(), "", NOW_MS)[0]
            assert winner is not None
            assert second is winner.source


def test_among_equals_a_subscription_goes_before_a_trial_before_a_promotion() -> None:
    """And the first before the second."""
    compiled = catalog(plan())
    one, two = source(), source(subscription_id="s-2")
    trial, given_by_hand = source(kind=TRIAL), promotion(gives())
    for sources, expected in (
        ((given_by_hand, trial, one, two), one),
        ((two, one), two),
        ((given_by_hand, trial), trial),
    ):
        winner = find_winner(compiled, snapshot(*sources), feature(), "", NOW_MS)[0]
        assert winner is not None
        assert expected is winner.source


def test_a_change_to_come_bounds_the_answer() -> None:
    """A start, an end, and what is out of scope does not matter."""
    compiled = catalog(plan())
    sources = snapshot(
        source(start_ms=NOW_MS + 50),
        source(end_ms=NOW_MS + 60),
        source(resource_id="site", end_ms=NOW_MS + 10),
        promotion(gives("other"), end_ms=NOW_MS + 20),
        source(start_ms=0, end_ms=NOW_MS),
    )
    assert NOW_MS + 50 == find_winner(compiled, sources, feature(), "", NOW_MS)[3]


def test_every_window_that_may_take_over_is_counted() -> None:
    """A promotion is anchored at a trial and, when that ends, at its own start: both windows count from now on."""
    compiled = catalog(plan(entitlements=()))
    trial = source(kind=TRIAL, start_ms=NOW_MS - 5 * HOUR_MS - 9, end_ms=NOW_MS + DAY_MS)
    sources = snapshot(trial, promotion(gives(reset_period="DAY")))
    windows = set(counting_windows(compiled, sources, feature(), resource_id="", at_ms=NOW_MS + 1, now_ms=NOW_MS + 1))
    expected = set()
    for at_ms in (NOW_MS + 1, NOW_MS + DAY_MS):
        winner = find_winner(compiled, sources, feature(), "", at_ms)[0]
        assert winner is not None
        expected.add((winner.from_ms % DAY_MS, winner.end_ms % DAY_MS))
    assert expected == {(start % DAY_MS, end % DAY_MS) for start, end in windows}


def test_a_late_report_counts_where_its_time_was() -> None:
    """Also in the window of a source that has ended since."""
    compiled = catalog(plan(entitlements=(gives(reset_period="DAY"),)))
    ended = snapshot(source(end_ms=NOW_MS + HOUR_MS))
    late = counting_windows(compiled, ended, feature(), resource_id="", at_ms=NOW_MS + 1, now_ms=NOW_MS + 2 * HOUR_MS)
    assert [(NOW_MS, NOW_MS + DAY_MS)] == list(late)
    after = counting_windows(
        compiled, ended, feature(), resource_id="", at_ms=NOW_MS + HOUR_MS, now_ms=NOW_MS + 2 * HOUR_MS
    )
    assert [] == list(after)


def test_a_window_counts_nothing_from_before_the_subscription() -> None:
    """The month is shown whole, and counted from the start: semantics §20.3."""
    compiled = catalog(plan(entitlements=(gives(reset_period="MONTH", reset_period_configuration="StartOfTheMonth"),)))
    winner = find_winner(compiled, snapshot(source()), feature(), "", NOW_MS)[0]
    assert winner is not None
    first = ms("2025-01-01T00:00:00Z")
    assert (first, first, ms("2025-02-01T00:00:00Z"), NOW_MS) == (
        winner.anchor_ms,
        winner.start_ms,
        winner.end_ms,
        winner.from_ms,
    )


def test_the_state_lists_what_is_entitled() -> None:
    """In catalog order, used up or not; credits where asked for; what is revoked or unknown is absent."""
    compiled = catalog(
        feature("calls"),
        feature("gone", meter_type="None"),
        CreditCurrency(id="other"),
        plan(entitlements=(gives(usage_limit=0), gives("gone", is_granted=False))),
        addon(entitlements=(gives("nowhere"),)),
    )
    held = view(source(packages=(("plan-a", 1, 1), ("addon-a", 1, 1))), grants=(grant(consumed=100),))

    def answer(item: str, kind: str | None) -> Any:
        found = evaluate(compiled, held, item, resource_id="", kind=kind, now_ms=NOW_MS)
        assert found is not None
        return found.answer

    def listed(who: CustomerView | None, include_credits: bool) -> tuple[list[str], AccessDeniedReason | None]:
        found = state(compiled, who, resource_id="", include_credits=include_credits, now_ms=NOW_MS, answer=answer)
        names = [
            item.currency.id
            if isinstance(item, CreditEntitlement) and item.currency
            else item.feature.id
            if item.feature
            else ""
            for item in found.entitlements
        ]
        return names, found.access_denied_reason

    assert (["calls"], None) == listed(held, False)
    assert (["calls", "ai"], None) == listed(held, True)
    assert ([], AccessDeniedReason.NoActiveSubscription) == listed(view(), True)
    assert ([], AccessDeniedReason.CustomerNotFound) == listed(None, True)
    assert isinstance(answer("calls", None), MeteredEntitlement)
