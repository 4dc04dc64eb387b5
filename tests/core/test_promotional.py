"""Promotions: what may be granted of a feature, until when, and one for each feature."""

from typing import Any

import pytest

from stigg_local.core.period import DAY_MS
from stigg_local.core.promotional import GrantPromotional, grant, grant_events
from stigg_local.errors import StiggError
from tests.builders import NOW_MS, catalog, customer, feature, gives

COMPILED = catalog(
    feature(),
    feature("seats", meter_type="Fluctuating"),
    feature("flag", feature_type="Boolean", meter_type="None"),
    feature("cities", feature_type="Enum", meter_type="None", enum_values=("NY", "LA")),
)


def make(period: str = "LIFETIME", custom_end_ms: int | None = None, **fields: Any) -> GrantPromotional:
    stated = {"is_unlimited": False} | fields
    return GrantPromotional(entitlement=gives(**stated), period=period, custom_end_ms=custom_end_ms)


def test_a_second_grant_of_a_feature_replaces_the_first() -> None:
    """Revoking is by feature, so there is one."""
    record, first = grant(customer(), COMPILED, [make(usage_limit=5), make(feature_id="flag")], now_ms=NOW_MS)
    record, second = grant(record, COMPILED, [make(usage_limit=3)], now_ms=NOW_MS + 1)
    assert (first[1], *second) == record.promotional_entitlements
    assert (NOW_MS + 1, NOW_MS + 1) == (record.updated_ms, second[0].start_ms)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (make(), None),
        (make("ONE_WEEK"), NOW_MS + 7 * DAY_MS),
        (make("CUSTOM", NOW_MS + 1), NOW_MS + 1),
    ],
)
def test_a_grant_ends_by_its_period(item: GrantPromotional, expected: int | None) -> None:
    """A custom end is the caller's."""
    assert expected == grant(customer(), COMPILED, [item], now_ms=NOW_MS)[1][0].end_ms


@pytest.mark.parametrize(
    ("code", "item"),
    [
        ("FeatureNotFound", make(feature_id="callss")),
        ("FeatureNotFound", make(feature_id="?")),
        ("InvalidArgumentError", make("CUSTOM", NOW_MS)),
        ("InvalidArgumentError", make("CUSTOM")),
        ("InvalidArgumentError", make(feature_id="flag", usage_limit=1)),
        ("InvalidArgumentError", make(feature_id="cities", is_unlimited=True)),
        ("InvalidArgumentError", make(usage_limit=-1)),
        ("InvalidArgumentError", make(enum_values=("NY",))),
        ("InvalidArgumentError", make(feature_id="cities", enum_values=("NYC",))),
        ("InvalidArgumentError", make(feature_id="cities", enum_values=("Berlin",))),
        ("InvalidArgumentError", make(usage_limit=1, is_unlimited=True)),
        ("DuplicatedEntityNotAllowed", make(usage_limit=1)),
        ("InvalidEntitlementResetPeriod", make(feature_id="seats", reset_period="MONTH")),
        ("InvalidEntitlementResetPeriod", make(reset_period="DAY", reset_period_configuration="StartOfTheMonth")),
        ("InvalidEntitlementResetPeriod", make(reset_period="MONTH", reset_period_configuration="EveryMonday")),
        ("InvalidEntitlementResetPeriod", make(reset_period_configuration="StartOfTheMonth")),
        ("InvalidEntitlementResetPeriod", make(reset_period="WEEK", reset_period_configuration="StartOfTheMonth")),
    ],
)
def test_what_does_not_fit_the_feature_is_refused(code: str, item: GrantPromotional) -> None:
    """All of the call, so that half of it is not granted."""
    with pytest.raises(StiggError) as raised:
        grant(customer(), COMPILED, [make(), item], now_ms=NOW_MS)
    assert code == raised.value.code


@pytest.mark.parametrize(
    ("period", "configuration"), [("MONTH", "StartOfTheMonth"), ("WEEK", "EveryFriday"), ("DAY", "SubscriptionStart")]
)
def test_a_reset_that_fits_is_granted(period: str, configuration: str) -> None:
    """As in a plan."""
    item = make(reset_period=period, reset_period_configuration=configuration)
    assert configuration == (
        grant(customer(), COMPILED, [item], now_ms=NOW_MS)[1][0].entitlement.reset_period_configuration
    )


@pytest.mark.parametrize(
    ("at_ms", "groups", "told"),
    [
        (NOW_MS + 9, ("group",), "promotional_entitlement.updated"),
        (NOW_MS + 10, (), "promotional_entitlement.granted"),
    ],
)
def test_what_is_granted_goes_on_from_what_is_in_force(at_ms: int, groups: tuple[str, ...], told: str) -> None:
    """At its very end a promotion is over: its groups give nothing any more, and the next one is a new one."""
    item = GrantPromotional(
        entitlement=gives(is_unlimited=False), period="CUSTOM", custom_end_ms=NOW_MS + 10, group_id="group"
    )
    record, _ = grant(customer(), COMPILED, [item], now_ms=NOW_MS)
    _, made = grant(record, COMPILED, [make(usage_limit=3)], now_ms=at_ms)
    assert [(True, groups)] == [(one.is_direct, one.group_ids) for one in made]
    assert [told] == [one.type for one in grant_events(record, made, now_ms=at_ms)]
