"""Records and snapshots: status from the clock, intervals from the record, and codecs that lose nothing."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from stigg_local.core.catalog import Product, ProductSettings
from stigg_local.core.credit import Grant
from stigg_local.core.customer import (
    SUBSCRIPTION,
    TRIAL,
    Customer,
    CustomerSnapshot,
    PromotionalEntitlement,
    PromotionalSource,
    SubscriptionSource,
    entitled_until,
    status_of,
)
from stigg_local.core.period import DAY_MS, FOREVER_MS
from tests.builders import NOW_MS, catalog, customer, derived, gives, plan, subscription
from tests.core.test_entitlement import lived
from tests.strategies import LIVES, Step

END = NOW_MS + DAY_MS


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(LIVES)
def test_records_go_out_and_come_back(life: list[Step]) -> None:
    """What is stored is what was decided."""
    level, _ = lived(life)
    for held in level.customers.values():
        assert held.record == msgspec.json.decode(msgspec.json.encode(held.record), type=Customer)
        assert held.snapshot == msgspec.msgpack.decode(msgspec.msgpack.encode(held.snapshot), type=CustomerSnapshot)
        assert held.grants == msgspec.msgpack.decode(msgspec.msgpack.encode(held.grants), type=list[Grant])
    for package in level.catalog.packages.values():
        version = package.version
        assert version == msgspec.json.decode(msgspec.json.encode(version), type=type(version))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["NOT_STARTED", "ACTIVE", "ACTIVE", "ACTIVE"]),
        ({"end_ms": END}, ["NOT_STARTED", "ACTIVE", "CANCELED", "CANCELED"]),
        ({"end_ms": END, "cancel_reason": "Expired"}, ["NOT_STARTED", "ACTIVE", "EXPIRED", "EXPIRED"]),
        ({"trial_end_ms": END}, ["NOT_STARTED", "IN_TRIAL", "ACTIVE", "ACTIVE"]),
        (
            {"trial_end_ms": END, "trial_end_behavior": "CANCEL_SUBSCRIPTION"},
            ["NOT_STARTED", "IN_TRIAL", "EXPIRED", "EXPIRED"],
        ),
    ],
)
def test_the_status_follows_from_the_clock(fields: dict[str, Any], expected: list[str]) -> None:
    """Nothing has to run for it to be right."""
    item = subscription(**fields)
    assert expected == [status_of(item, at_ms) for at_ms in (NOW_MS - 1, NOW_MS, END, FOREVER_MS)]


def test_a_subscription_entitles_until_its_first_end() -> None:
    """For ever, to its end, or to the end of a trial that does not convert."""
    cancels: dict[str, Any] = {"trial_end_ms": END, "trial_end_behavior": "CANCEL_SUBSCRIPTION"}
    items = [subscription(), subscription(end_ms=5), subscription(**cancels), subscription(end_ms=5, **cancels)]
    assert [FOREVER_MS, 5, END, 5] == [entitled_until(item) for item in items]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"trial_end_ms": END}, END),
        ({"trial_end_ms": END, "end_ms": END}, FOREVER_MS),
        ({"trial_end_ms": END, "trial_end_behavior": "CANCEL_SUBSCRIPTION"}, FOREVER_MS),
        ({"trial_end_ms": END, "resource_id": "s"}, FOREVER_MS),
        ({"trial_end_ms": END, "product_id": "other"}, FOREVER_MS),
    ],
)
def test_only_a_trial_that_converts_in_the_same_place_ends_another(fields: dict[str, Any], expected: int) -> None:
    """A trial that ends, one elsewhere and a paid one leave it alone."""
    sources = derived(customer(subscription(), subscription("s-2", **fields)), catalog(plan())).sources
    ends = [item.end_ms for item in sources if isinstance(item, SubscriptionSource) and item.subscription_id == "s-1"]
    assert [expected] == ends


def test_a_trial_becomes_two_intervals_where_it_converts() -> None:
    """Without a gap, on one anchor."""
    sources = derived(customer(subscription(trial_end_ms=END)), catalog(plan())).sources
    assert [(TRIAL, NOW_MS, END), (SUBSCRIPTION, END, FOREVER_MS)] == [
        (item.kind, item.start_ms, item.end_ms) for item in sources if isinstance(item, SubscriptionSource)
    ]


def test_what_is_over_is_not_kept() -> None:
    """Nor what never was; promotions have their own ends."""
    promotions = tuple(
        PromotionalEntitlement(entitlement=gives(), period="CUSTOM", start_ms=0, end_ms=end)
        for end in (NOW_MS, END, None)
    )
    record = customer(
        subscription(end_ms=NOW_MS), subscription("s-2", start_ms=END, end_ms=END), promotional_entitlements=promotions
    )
    sources = derived(record, catalog(plan())).sources
    assert [END, FOREVER_MS] == [item.end_ms for item in sources if isinstance(item, PromotionalSource)]
    assert 2 == len(sources)
    assert CustomerSnapshot(NOW_MS, True, (), ()) == derived(customer(archived_ms=5), catalog(plan()))


@pytest.mark.parametrize(
    ("settings_given", "trial", "expected"),
    [
        ({}, {}, NOW_MS + DAY_MS),
        ({"usage_reset_on_plan_change": "NEVER_RESET"}, {}, NOW_MS),
        ({"subscription_end_setup": "CANCEL_SUBSCRIPTION"}, {}, None),
        ({"downgrade_plan_id": None}, {}, None),
        ({"downgrade_plan_id": "gone"}, {}, None),
        ({}, {"product_id": "gone"}, None),
        ({}, {"end_ms": END - 1}, None),
        ({}, {"trial_end_behavior": "CONVERT_TO_PAID"}, None),
    ],
)
def test_a_reverse_trial_leaves_a_free_plan(
    settings_given: dict[str, Any], trial: dict[str, Any], expected: int | None
) -> None:
    """From the instant at which it ends, counted anew unless usage is never reset."""
    setup = {"subscription_end_setup": "DOWNGRADE_TO_FREE", "downgrade_plan_id": "free"} | settings_given
    compiled = catalog(Product(id="product", settings=ProductSettings(**setup)), plan(), plan("free"))
    fields: dict[str, Any] = {"trial_end_ms": END, "trial_end_behavior": "CANCEL_SUBSCRIPTION"} | trial
    sources = derived(customer(subscription(**fields)), compiled).sources
    found = [item for item in sources if isinstance(item, SubscriptionSource) and item.packages[0][0] == "free"]
    assert ([] if expected is None else [(expected, END)]) == [(item.anchor_ms, item.start_ms) for item in found]


def test_no_free_plan_is_made_where_another_runs() -> None:
    """A paid subscription beside the trial goes on; one that starts later ends the free plan."""
    setup = ProductSettings(subscription_end_setup="DOWNGRADE_TO_FREE", downgrade_plan_id="free")
    compiled = catalog(Product(id="product", settings=setup), plan(), plan("free"))
    trial = subscription(trial_end_ms=END, trial_end_behavior="CANCEL_SUBSCRIPTION")

    def ends(other: Any) -> list[int]:
        sources = derived(customer(trial, other), compiled).sources
        return [
            item.end_ms for item in sources if isinstance(item, SubscriptionSource) and item.packages[0][0] == "free"
        ]

    assert [] == ends(subscription("s-2"))
    assert [FOREVER_MS] == ends(subscription("s-2", end_ms=END))
    assert [END + 5] == ends(subscription("s-2", start_ms=END + 5, is_waiting=True))
