"""What calls return: the seed's shapes, nulls and dates, and results that survive being stored."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from stigg_local.core.customer import PromotionalEntitlement, SubscriptionAddon
from stigg_local.core.customer_result import CustomerResult, ProvisionCustomerResult, customer_result
from stigg_local.core.period import FOREVER_MS, to_datetime
from stigg_local.core.result import (
    CreditGrantResult,
    PromotionalResult,
    ReportUsageResult,
    grant_result,
    plain,
    promotional_result,
)
from stigg_local.core.subscription_result import (
    ProvisionSubscriptionResult,
    SubscriptionResult,
    subscription_result,
)
from tests.builders import NOW_MS, catalog, customer, gives, grant, plan, subscription

NOW_TEXT = "2025-01-31T10:00:00.000Z"
SUBSCRIPTION = subscription_result(
    customer(
        subscription(
            addons=(SubscriptionAddon(addon_id="a", version=1, quantity=2),), resource_id="s", trial_end_ms=NOW_MS
        )
    ),
    "s-1",
    catalog(plan(pricing_type="PAID")),
    now_ms=NOW_MS,
)
REPORT = ReportUsageResult(
    measurement_id="m",
    current_usage=2.5,
    usage_period_start_ms=NOW_MS,
    usage_period_end_ms=NOW_MS,
    durability="disk",
)
PROMOTION = promotional_result(
    PromotionalEntitlement(entitlement=gives(enum_values=("a",)), period="CUSTOM", start_ms=NOW_MS, end_ms=NOW_MS)
)
CUSTOMER = customer_result(customer(name="Ann"), now_ms=NOW_MS)
GRANT = grant_result(grant(amount=2500, consumed=500), customer_id="c", scale=3, now_ms=NOW_MS)


@pytest.mark.parametrize(
    "result",
    [
        SUBSCRIPTION,
        REPORT,
        PROMOTION,
        CUSTOMER,
        GRANT,
        ProvisionSubscriptionResult(status="Success", subscription=SUBSCRIPTION),
        ProvisionCustomerResult(customer=CUSTOMER, subscription_decision_strategy="REQUESTED_PLAN"),
    ],
)
def test_a_stored_reply_is_the_reply(result: Any) -> None:
    """A repeated call gets what the first one got."""
    assert result == msgspec.msgpack.decode(msgspec.msgpack.encode(result), type=type(result))
    assert result.to_dict() == json.loads(result.to_json())


def test_a_subscription_prints_the_seeds_keys() -> None:
    """`metadata` and `price` are there as null."""
    assert {
        "id": "s-1",
        "planId": "plan-a",
        "status": "ACTIVE",
        "addons": [{"id": "a", "quantity": 2}],
        "addonIds": ["a"],
        "customerId": "c",
        "resource": {"id": "s"},
        "metadata": None,
        "price": None,
        "pricingType": "PAID",
        "paymentCollection": "NOT_REQUIRED",
        "startDate": NOW_TEXT,
        "trialEndDate": NOW_TEXT,
        "planVersion": 1,
        "prices": [],
        "scheduledUpdates": [],
    } == SUBSCRIPTION.to_dict()
    assert (
        SUBSCRIPTION.to_dict()
        == ProvisionSubscriptionResult(status="S", subscription=SUBSCRIPTION).to_dict()["subscription"]
    )


def test_dates_read_as_dates() -> None:
    """Under the seed's names."""
    now = to_datetime(NOW_MS)
    assert [now, now, None] == [SUBSCRIPTION.start_date, SUBSCRIPTION.trial_end_date, SUBSCRIPTION.effective_end_date]
    assert [now] * 3 == [REPORT.usage_period_start, REPORT.usage_period_end, REPORT.next_reset_date]
    assert [now, now] == [PROMOTION.start_date, PROMOTION.end_date]
    assert [now, now] == [CUSTOMER.created_at, CUSTOMER.updated_at]
    assert [now, None] == [GRANT.effective_at, GRANT.expire_at]
    types = (SubscriptionResult, ReportUsageResult, PromotionalResult, CustomerResult, CreditGrantResult)
    assert types == tuple(type(item) for item in (SUBSCRIPTION, REPORT, PROMOTION, CUSTOMER, GRANT))


def test_a_report_names_the_next_reset_where_there_is_one() -> None:
    """Nothing resets without a period."""
    assert (NOW_TEXT, 2.5) == (REPORT.to_dict()["nextResetDate"], REPORT.to_dict()["currentUsage"])
    endless = msgspec.structs.replace(REPORT, usage_period_start_ms=None, usage_period_end_ms=None)
    assert {"measurementId": "m", "currentUsage": 2.5, "durability": "disk"} == endless.to_dict()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "ACTIVE"),
        ({"effective_ms": NOW_MS + 1}, "SCHEDULED"),
        ({"expire_ms": NOW_MS}, "EXPIRED"),
        ({"expire_ms": NOW_MS, "voided_ms": 1}, "VOIDED"),
    ],
)
def test_the_status_of_a_grant_follows_from_the_clock(fields: dict[str, int], expected: str) -> None:
    """Voided goes before expired."""
    assert expected == grant_result(grant(**fields), customer_id="c", scale=0, now_ms=NOW_MS).status  # type: ignore[arg-type]


def test_a_grant_prints_credits() -> None:
    """Not the fixed point inside; never to expire is null."""
    found = GRANT.to_dict()
    assert (2.5, 0.5, None) == (found["amount"], found["consumedAmount"], found["expireAt"])
    assert FOREVER_MS == grant().expire_ms


def test_money_prints_as_a_number() -> None:
    """49.00 is 49."""
    assert [49, 4.5, "a"] == plain([Decimal("49.00"), Decimal("4.5"), "a"])
