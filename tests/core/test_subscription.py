"""The life cycle: what provisioning refuses, what it ends, and that one place holds one subscription."""

from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from stigg_local.core.catalog import Product, ProductSettings, TrialConfig
from stigg_local.core.customer import (
    SUBSCRIPTION,
    CustomCredit,
    Customer,
    CustomFeature,
    SubscriptionSource,
    is_trial_at,
)
from stigg_local.core.decided import Decided
from stigg_local.core.period import DAY_MS
from stigg_local.core.sources import Catalog
from stigg_local.core.subscription import ProvisionSubscription, journey, provision
from stigg_local.errors import StiggError
from tests.builders import NOW_MS, addon, catalog, customer, derived, gives, plan, price, subscription
from tests.core.test_entitlement import lived
from tests.strategies import LIVES, Step

TRIAL_CONFIG = TrialConfig(duration=5, trial_end_behavior="CANCEL_SUBSCRIPTION")
CONVERTS = TrialConfig(duration=5)


def ask(record: Customer, compiled: Catalog, plan_id: str = "plan-a", at_ms: int = NOW_MS, **fields: Any) -> Decided:
    ids = count()
    command = ProvisionSubscription(customer_id=record.id, plan_id=plan_id, **fields)
    return provision(record, compiled, command, now_ms=at_ms, new_id=lambda: f"{at_ms}-{next(ids)}"[-6:])


def product(**fields: Any) -> Product:
    return Product(id="product", settings=ProductSettings(**fields))


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(LIVES)
def test_one_place_holds_one_subscription_beside_a_trial(life: list[Step]) -> None:
    """At any instant at most one non-trial subscription for each customer, product and resource."""
    level, clock = lived(life)
    plans = {
        package.id: package.package.product_id
        for package in map(level.catalog.latest_package, level.catalog.latest)
        if package
    }
    for held in level.customers.values():
        sources = [item for item in held.snapshot.sources if isinstance(item, SubscriptionSource)]
        for instant in [round(clock.time() * 1000), *(item.start_ms for item in sources)]:
            for kind in (SUBSCRIPTION, 1 - SUBSCRIPTION):
                places = [
                    (plans[item.packages[0][0]], item.resource_id)
                    for item in sources
                    if item.kind == kind and item.start_ms <= instant < item.end_ms
                ]
                assert len(places) == len(set(places))


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("PlanNotFound", {"plan_id": "plan-aa"}),
        ("PlanNotFound", {"plan_id": "zzz"}),
        ("PlanNotFound", {"plan_id": "addon-a"}),
        ("UnPublishedPackage", {"plan_id": "draft"}),
        ("ProductNotFoundError", {"plan_id": "lost"}),
        ("InvalidArgumentError", {"plan_id": "site"}),
        ("InvalidArgumentError", {"resource_id": "s"}),
        ("InvalidArgumentError", {"billing_country_code": "DEU"}),
        ("InvalidArgumentError", {"billing_country_code": "??????"}),
        ("AddonNotFound", {"addons": (("addon-b", 1),)}),
        ("AddonNotFound", {"addons": (("zzzzzzzzz", 1),)}),
        ("DuplicateAddonProvisionedError", {"addons": (("addon-a", 1), ("addon-a", 1))}),
        ("IncompatibleSubscriptionAddon", {"addons": (("stranger", 1),)}),
        (
            "IncompatibleSubscriptionAddon",
            {"plan_id": "paid", "billing_period": "MONTHLY", "addons": (("addon-a", 1),)},
        ),
        ("UnPublishedPackage", {"addons": (("old", 1),)}),
        ("InvalidQuantity", {"addons": (("addon-a", 0),)}),
        ("AddonQuantityExceedsLimitError", {"addons": (("addon-a", 4),)}),
        ("AddonDependencyMissingError", {"addons": (("needy", 1),)}),
        ("PriceNotFound", {"billing_period": "ANNUALLY", "addons": (("priced", 1),)}),
        ("BillingPeriodMissingError", {"plan_id": "paid"}),
        ("PriceNotFound", {"plan_id": "paid", "billing_period": "ANNUALLY"}),
        ("InvalidQuantity", {"plan_id": "units", "billing_period": "MONTHLY"}),
        ("InvalidQuantity", {"plan_id": "units", "billing_period": "MONTHLY", "units": (("calls", 1),)}),
        ("InvalidQuantity", {"plan_id": "units", "billing_period": "MONTHLY", "units": (("calls", 6),)}),
        ("InvalidQuantity", {"plan_id": "units", "billing_period": "MONTHLY", "units": (("calls", 3), ("b", 0))}),
        ("InvalidQuantity", {"units": (("calls", 1),)}),
        ("InvalidArgumentError", {"custom_features": {"calls": CustomFeature(usage_limit=1)}}),
        ("InvalidArgumentError", {"plan_id": "custom", "custom_features": {"none": CustomFeature(usage_limit=1)}}),
        (
            "CustomCurrencyNotFound",
            {"plan_id": "custom", "custom_credits": (CustomCredit(currency_id="x", amount=1, cadence="MONTH"),)},
        ),
    ],
)
def test_what_a_rule_refuses(code: str, fields: dict[str, Any]) -> None:
    """The code is the field's own."""
    compiled = catalog(
        Product(id="sites", multiple_subscriptions=True),
        plan(compatible_addon_ids=("addon-a", "old", "needy", "priced")),
        plan("draft", status="DRAFT"),
        plan("lost", product_id="nowhere"),
        plan("site", product_id="sites"),
        plan("paid", pricing_type="PAID", prices=(price(),)),
        plan(
            "units",
            pricing_type="PAID",
            prices=(
                price(billing_model="PER_UNIT", feature_id="calls", min_units=2, max_units=5),
                price(billing_model="PER_UNIT", feature_id="b"),
            ),
        ),
        plan("custom", pricing_type="CUSTOM", entitlements=(gives(is_custom=True),)),
        addon(max_quantity=3),
        addon("stranger"),
        addon("old", status="ARCHIVED"),
        addon("needy", dependencies=("addon-a",)),
        addon("priced", prices=(price(),)),
    )
    with pytest.raises(StiggError) as raised:
        ask(customer(), compiled, **fields)
    assert code == raised.value.code


def test_what_is_asked_for_is_kept() -> None:
    """Units, add-ons, custom values and the resource."""
    compiled = catalog(
        Product(id="sites", multiple_subscriptions=True),
        plan(
            product_id="sites",
            pricing_type="CUSTOM",
            entitlements=(gives(is_custom=True),),
            compatible_addon_ids=("addon-a",),
            prices=(price(billing_model="PER_UNIT", feature_id="seats", min_units=0),),
        ),
        addon(),
    )
    record = customer()
    for site in ("s-1", "s-1", "s-2"):
        made = ask(
            record,
            compiled,
            at_ms=NOW_MS + len(record.subscriptions),
            resource_id=site,
            units=(("seats", 0),),
            addons=(("addon-a", 2),),
            custom_features={"calls": CustomFeature(usage_limit=5)},
            custom_credits=(CustomCredit(currency_id="ai", amount=1, cadence="MONTH"),),
        )
        record = made.customer
    assert ("s-1", "s-2") == record.resource_ids
    assert ({"seats": 0}, 2, 5) == (
        made.subscription.units,
        made.subscription.addons[0].quantity,
        made.subscription.custom_features["calls"].usage_limit,
    )
    assert [NOW_MS + 1, None, None] == [item.end_ms for item in record.subscriptions]


def test_a_plan_without_prices_needs_no_billing_period() -> None:
    """Neither does a trial of a priced one: it converts later."""
    assert ask(customer(), catalog(plan(pricing_type="PAID"))).subscription.billing_period is None
    compiled = catalog(plan(pricing_type="PAID", prices=(price(),), default_trial_config=TRIAL_CONFIG))
    assert NOW_MS + 5 * DAY_MS == ask(customer(), compiled).subscription.trial_end_ms


def test_a_product_is_tried_once() -> None:
    """A second time, a paid customer of the plan, and one who skips it start at once."""
    compiled = catalog(
        plan(default_trial_config=TRIAL_CONFIG), plan("plan-b", default_trial_config=TRIAL_CONFIG), plan("plan-c")
    )
    first = ask(customer(), compiled)
    assert first.subscription.trial_end_ms is not None
    assert None is ask(first.customer, compiled, "plan-b", NOW_MS + 1).subscription.trial_end_ms
    skipped = ask(customer(), compiled, skip_trial=True)
    assert None is skipped.subscription.trial_end_ms
    assert None is ask(skipped.customer, compiled, at_ms=NOW_MS + 1).subscription.trial_end_ms
    beside = ask(skipped.customer, compiled, "plan-b", NOW_MS + 1)
    assert ((), True) == (beside.ended, is_trial_at(beside.subscription, NOW_MS + 1))


def test_buying_the_trialed_plan_ends_the_trial_and_what_runs_beside_it() -> None:
    """Another plan leaves the trial alone."""
    compiled = catalog(plan(default_trial_config=TRIAL_CONFIG), plan("plan-b"))
    tried = ask(customer(), compiled)
    beside = ask(tried.customer, compiled, "plan-b", NOW_MS + 1)
    assert () == beside.ended
    bought = ask(beside.customer, compiled, at_ms=NOW_MS + 2)
    assert [("plan-a", "TrialConverted"), ("plan-b", "UpgradeOrDowngrade")] == [
        (item.plan_id, item.cancel_reason) for item in bought.ended
    ]


def test_a_trial_that_converts_takes_the_place_of_what_runs_beside_it() -> None:
    """Two subscriptions of one product never entitle together."""
    compiled = catalog(plan(default_trial_config=CONVERTS), plan("plan-b"))
    record = ask(ask(customer(), compiled, "plan-b").customer, compiled, at_ms=NOW_MS + 1).customer
    converts = NOW_MS + 1 + 5 * DAY_MS
    sources = [item for item in derived(record, compiled).sources if isinstance(item, SubscriptionSource)]
    assert [("plan-b", converts), ("plan-a", converts), ("plan-a", 2**63 - 1)] == [
        (item.packages[0][0], item.end_ms) for item in sources
    ]
    after = ask(record, compiled, "plan-b", converts + 1)
    assert ["plan-a"] == [item.plan_id for item in after.ended]


def test_the_free_plan_after_a_trial_ends_when_another_starts() -> None:
    """It was never provisioned by anybody, and is replaced like any other."""
    compiled = catalog(
        product(subscription_end_setup="DOWNGRADE_TO_FREE", downgrade_plan_id="free"),
        plan("free"),
        plan("plan-b"),
        plan(default_trial_config=TRIAL_CONFIG),
    )
    tried = ask(customer(), compiled)
    after = ask(tried.customer, compiled, "plan-b", NOW_MS + 6 * DAY_MS)
    assert ["free"] == [item.plan_id for item in after.ended]
    assert NOW_MS + 5 * DAY_MS == after.ended[0].start_ms
    alive = derived(after.customer, compiled, NOW_MS + 6 * DAY_MS).sources
    assert 1 == len(alive)


@pytest.mark.parametrize(
    ("rule", "first", "second", "keeps"),
    [
        ("ALWAYS_RESET", {}, {"plan_id": "plan-b"}, False),
        ("ALWAYS_RESET", {}, {}, True),
        ("ALWAYS_RESET", {"billing_period": "MONTHLY"}, {"billing_period": "ANNUALLY"}, False),
        ("ALWAYS_RESET", {}, {"billing_cycle_anchor": "NOW"}, False),
        ("NEVER_RESET", {}, {"plan_id": "plan-b"}, True),
        (
            "BILLING_PERIOD_CHANGE",
            {"billing_period": "MONTHLY"},
            {"plan_id": "plan-b", "billing_period": "MONTHLY"},
            True,
        ),
        ("BILLING_PERIOD_CHANGE", {}, {"plan_id": "plan-b", "billing_period": "MONTHLY"}, False),
        ("BILLING_PERIOD_CHANGE", {"plan_id": "tried"}, {"plan_id": "tried"}, False),
        ("NEVER_RESET", {"plan_id": "tried"}, {"plan_id": "tried"}, True),
    ],
)
def test_a_plan_change_resets_usage_as_the_product_says(
    rule: Any, first: dict[str, Any], second: dict[str, Any], keeps: bool
) -> None:
    """Re-buying the same plan on the same cycle is no change."""
    compiled = catalog(
        product(usage_reset_on_plan_change=rule),
        plan(pricing_type="PAID"),
        plan("plan-b", pricing_type="PAID"),
        plan("tried", default_trial_config=CONVERTS),
    )
    before = ask(customer(), compiled, **first)
    after = ask(before.customer, compiled, at_ms=NOW_MS + DAY_MS, **second).subscription
    start = NOW_MS if keeps else NOW_MS + DAY_MS
    assert (start, start) == (after.usage_anchor_ms, after.usage_cut_ms)


def test_buying_again_what_a_trial_has_become_changes_nothing() -> None:
    """A converted trial is paid for like any other: the usage window is kept."""
    compiled = catalog(plan(pricing_type="PAID", default_trial_config=CONVERTS))
    tried = ask(customer(), compiled, billing_period="MONTHLY")
    again = ask(tried.customer, compiled, at_ms=NOW_MS + 9 * DAY_MS, billing_period="MONTHLY")
    assert (NOW_MS, "UpgradeOrDowngrade") == (again.subscription.usage_anchor_ms, again.ended[0].cancel_reason)


def test_what_has_ended_is_not_ended_again() -> None:
    """Its end and its reason stay."""
    record = customer(subscription(end_ms=NOW_MS, cancel_reason="Immediate", start_ms=0))
    made = ask(record, catalog(plan()))
    assert ((), "Immediate") == (made.ended, made.customer.subscriptions[0].cancel_reason)


@pytest.mark.parametrize(
    ("setup", "plan_id", "expected"),
    [
        ("PLAN_SELECTION", "free", None),
        ("FREE_PLAN", "free", "free"),
        ("TRIAL_PERIOD", "plan-a", "plan-a"),
        ("FREE_PLAN", None, None),
    ],
)
def test_a_journey_names_the_first_plan(setup: Any, plan_id: str | None, expected: str | None) -> None:
    """Products with one subscription for each resource have none."""
    compiled = Catalog(
        [
            ("", Product(id="sites", multiple_subscriptions=True)),
            ("", product(subscription_start_setup=setup, subscription_start_plan_id=plan_id)),
        ]
    )
    for asked in (None, "product"):
        found = journey(compiled, asked)
        assert expected == (None if found is None else found[1])
    assert None is journey(compiled, "sites")
