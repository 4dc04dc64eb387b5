"""What one source gives: plan, increments and overrides of a subscription, or a promotion."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stigg_local.core import sources
from stigg_local.core.catalog import Coupon, CreditRate, FeatureGroup, OveragePrice, UnitTransformation
from stigg_local.core.quantity import RAW_MAX
from stigg_local.core.sources import admitted_raw, contribution, feature_ids, promotional_contribution, transformed
from tests.builders import addon, catalog, feature, gives, plan, price, promotion, source

CALLS = feature(scale=0)


@given(st.integers(1, 1000), st.integers(0, 50), st.sampled_from(("UP", "DOWN")), st.integers(0, 3), st.data())
def test_the_admitted_usage_is_the_largest_that_fits(
    divide: int, limit: int, rounding: Any, scale: int, data: st.DataObject
) -> None:
    """A unit transformation rounds the total: a raw usage is admitted exactly where the rounded one is."""
    item = feature(scale=scale, unit_transformation=UnitTransformation(divide=divide, round=rounding))
    most = admitted_raw(limit, item)
    used = data.draw(st.integers(0, 2 * most + 2))
    assert (used <= most) == ((transformed(used, item) or 0) <= limit)


def test_a_fractional_limit_admits_whole_units() -> None:
    """2.5 blocks admit what two do."""
    item = feature(scale=0, unit_transformation=UnitTransformation(divide=10))
    assert admitted_raw(2, item) == admitted_raw(2.5, item) == 20
    assert None is transformed(7, CALLS)


@pytest.mark.parametrize(
    ("own", "addons", "expected"),
    [
        ({"usage_limit": 10}, [], (10, False, False)),
        ({"usage_limit": 10}, [({"usage_limit": 20}, 3)], (70, False, False)),
        ({"usage_limit": 10}, [({"usage_limit": 20, "has_soft_limit": True}, 1)], (30, False, True)),
        ({"usage_limit": 100}, [({"usage_limit": 500, "behavior": "Override"}, 1)], (500, False, False)),
        (
            {"usage_limit": 100},
            [
                ({"usage_limit": 50}, 2),
                ({"usage_limit": 300, "behavior": "Override"}, 1),
                ({"usage_limit": 200, "behavior": "Override"}, 1),
            ],
            (300, False, False),
        ),
        ({"is_unlimited": True}, [({"usage_limit": 500, "behavior": "Override"}, 1)], (500, False, False)),
        ({"usage_limit": 1000}, [({"is_unlimited": True, "behavior": "Override"}, 1)], (None, True, False)),
        ({"usage_limit": 10}, [({"is_unlimited": True}, 1)], (None, True, False)),
        ({"usage_limit": 10, "is_granted": False}, [({"usage_limit": 5}, 1)], (5, False, False)),
        ({"usage_limit": 10}, [({"usage_limit": 5, "is_granted": False}, 1)], (10, False, False)),
        ({"usage_limit": 0.5}, [({"usage_limit": 0.25}, 2)], (1, False, False)),
    ],
)
def test_plan_and_addons_combine(
    own: dict[str, Any], addons: list[tuple[dict[str, Any], int]], expected: tuple[Any, bool, bool]
) -> None:
    """Increments add up, an override replaces even downwards, and an unlimited one leaves no limit."""
    made = [addon(f"addon-{index}", entitlements=(gives(**fields),)) for index, (fields, _) in enumerate(addons)]
    packages = (("plan-a", 1, 1), *((item.id, 1, pair[1]) for item, pair in zip(made, addons, strict=True)))
    compiled = catalog(CALLS, plan(entitlements=(gives(**own),)), *made)
    found = contribution(compiled, source(packages=packages), CALLS)
    assert found is not None
    assert expected == (found.limit, found.is_unlimited, found.has_soft_limit)
    assert ("plan-a", *(item.id for item in made)) == found.by


def test_the_winning_override_brings_its_own_rate_and_the_plan_the_rest() -> None:
    """Semantics §20.5."""
    plan_rate, addon_rate = (CreditRate(currency_id="ai", amount=amount) for amount in (1, 2))  # type: ignore[arg-type]
    month = {"reset_period": "MONTH"}
    compiled = catalog(
        plan(entitlements=(gives(credit_rate=plan_rate, has_soft_limit=True, **month),)),
        addon("o-1", entitlements=(gives(behavior="Override", usage_limit=5, credit_rate=addon_rate),)),
        addon("o-2", entitlements=(gives(behavior="Override", usage_limit=9, reset_period="DAY"),)),
        addon("i-1", entitlements=(gives(credit_rate=addon_rate),)),
        plan("bare", entitlements=()),
    )

    def found(*packages: str) -> tuple[Any, ...]:
        item = contribution(compiled, source(packages=tuple((name, 1, 1) for name in packages)), feature())
        assert item is not None
        return item.limit, item.has_soft_limit, item.reset_period, item.rate and item.rate.amount

    assert (5, False, "MONTH", 2) == found("plan-a", "o-1")
    assert (9, False, "MONTH", 1) == found("plan-a", "o-1", "o-2")
    assert (20, True, "MONTH", 1) == found("plan-a", "i-1")
    assert (10, False, None, 2) == found("bare", "i-1")
    assert (9, False, "DAY", None) == found("bare", "o-2")


def test_a_price_makes_a_feature_billable() -> None:
    """Units that were committed are the limit; paying as one goes has none; overage makes a limit soft."""
    compiled = catalog(
        feature("gb"),
        feature("seats", meter_type="Fluctuating"),
        plan(
            prices=(
                price(billing_model="PER_UNIT", feature_id="seats"),
                price(billing_model="USAGE_BASED", feature_id="gb"),
            ),
            overage_prices=(OveragePrice(feature_id="calls", billing_period="MONTHLY", currency="USD"),),
        ),
    )
    at = source(units=(("seats", 7),))
    answers = {}
    for item in compiled.features.values():
        found = contribution(compiled, at, item)
        assert found is not None
        answers[item.id] = found.limit, found.is_unlimited, found.has_soft_limit
    assert {"calls": (10, False, True), "gb": (None, True, False), "seats": (7, False, False)} == answers
    assert {"calls", "gb", "seats"} == set(feature_ids(compiled, at))


@pytest.mark.parametrize(("given_value", "expected"), [(25, (25, False)), (None, (None, True))])
def test_a_subscription_brings_the_value_of_a_custom_plan(
    given_value: int | None, expected: tuple[int | None, bool]
) -> None:
    """None stands for unlimited."""
    compiled = catalog(plan(entitlements=(gives(is_custom=True),)))
    found = contribution(compiled, source(custom=(("calls", given_value),)), feature())
    assert found is not None
    assert expected == (found.limit, found.is_unlimited)


def test_a_source_says_nothing_about_what_it_does_not_name() -> None:
    """A gone package and another feature's promotion give nothing."""
    compiled = catalog(feature("other"), plan())
    other = compiled.features["other"]
    assert None is contribution(compiled, source(), other)
    assert None is contribution(compiled, source(packages=(("gone", 1, 1),)), feature())
    assert [] == list(feature_ids(compiled, source(packages=(("gone", 1, 1),))))
    assert None is contribution(compiled, promotion(gives()), other)
    assert ["calls"] == list(feature_ids(compiled, promotion(gives())))


def test_a_promotion_without_a_number_is_unlimited() -> None:
    """And a fluctuating feature never resets, whatever is said."""
    free = promotional_contribution(gives(is_unlimited=False), feature())
    assert (None, True, RAW_MAX) == (free.limit, free.is_unlimited, free.limit_raw)
    seats = feature("seats", meter_type="Fluctuating")
    assert None is promotional_contribution(gives("seats", usage_limit=1, reset_period="DAY"), seats).reset_period


def test_enum_values_are_united() -> None:
    """Without values an entitlement gives all of them."""
    cities = feature("cities", feature_type="Enum", meter_type="None", enum_values=("NY", "LA", "SF"))
    compiled = catalog(
        cities,
        plan(entitlements=(gives("cities", enum_values=("NY",)),)),
        addon(entitlements=(gives("cities", enum_values=("LA",)),)),
        addon("all", entitlements=(gives("cities"),)),
    )

    def values(*packages: str) -> set[str]:
        found = contribution(compiled, source(packages=tuple((name, 1, 1) for name in packages)), cities)
        return set() if found is None else set(found.values)

    assert {"NY", "LA"} == values("plan-a", "addon-a")
    assert {"NY", "LA", "SF"} == values("plan-a", "all")


def test_contributions_are_shared_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Customers of one plan share one record; the table is emptied before it grows without end."""
    compiled = catalog(plan())
    assert contribution(compiled, source(), CALLS) is contribution(compiled, source(subscription_id="s-2"), CALLS)
    monkeypatch.setattr(sources, "INTERNED_MAX", 1)
    contribution(compiled, source(packages=(("plan-a", 1, 1), ("gone", 1, 1))), CALLS)
    assert 1 == len(compiled.interned)


def test_the_catalog_keeps_what_answers_do_not_need() -> None:
    """Groups have a place; coupons and the like are listed by kind."""
    compiled = sources.Catalog(
        [
            ("featureGroup", FeatureGroup(id="g", feature_ids=("calls",))),
            ("coupon", Coupon(id="c", type="FIXED")),
            ("plan", plan(version=2)),
            ("plan", plan()),
        ]
    )
    assert (["g"], ["coupon"], {"plan-a": 2}) == (list(compiled.groups), list(compiled.others), compiled.latest)
    latest = compiled.latest_package("plan-a")
    assert latest is not None
    assert 2 == latest.version
    assert None is compiled.latest_package("gone")
