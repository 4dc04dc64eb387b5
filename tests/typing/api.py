"""How a user's typed code looks: mypy reads it, nothing runs it."""

import asyncio
from datetime import datetime
from typing import assert_type

from stigg_local import AccessDeniedReason, Stigg, StiggError
from stigg_local.testing import ManualClock


def construct() -> None:
    Stigg(catalog="catalog.toml", data_dir="var/stigg")
    Stigg(catalog={"catalog": {}}, durability="disk", clock=ManualClock("2025-01-31T10:00:00Z"))
    Stigg(offline=True, entitlements_fallback={"feature-x": {"has_access": True, "usage_limit": 10}})
    Stigg(offline=True, api_key="key", fallback_file="fallback.toml")
    with Stigg(catalog="catalog.toml") as client:
        client.wait_for_initialization(timeout=5)
    client.close()


def read(client: Stigg) -> None:
    boolean = client.get_boolean_entitlement("customer-1", "feature-sso", fallback={"has_access": True})
    assert_type(boolean.has_access, bool)
    assert_type(boolean.is_fallback, bool)
    assert_type(boolean.access_denied_reason, AccessDeniedReason | None)
    assert_type(boolean.to_json(), str)

    numeric = client.get_numeric_entitlement("customer-1", "feature-seats")
    assert_type(numeric.is_unlimited, bool)

    metered = client.get_metered_entitlement("customer-1", "feature-calls", resource_id="r-1", requested_usage=3)
    assert_type(metered.has_soft_limit, bool)
    assert_type(metered.next_reset_date, datetime | None)

    enum = client.get_enum_entitlement("customer-1", "feature-region", requested_values=("eu",))
    assert_type(enum.has_access, bool)

    credit = client.get_credit_entitlement("customer-1", "currency-tokens", requested_usage=1.5)
    assert_type(credit.has_access, bool)

    entitlement = client.get_entitlement("customer-1", "feature-calls", requested_usage=1)
    if (
        not entitlement.has_access
        and entitlement.access_denied_reason is AccessDeniedReason.RequestedUsageExceedsLimit
    ):
        return

    for item in client.get_entitlements("customer-1"):
        assert_type(item.has_access, bool)
    state = client.get_entitlements_state("customer-1", resource_id="r-1")
    assert_type(state.access_denied_reason, AccessDeniedReason | None)


def write(client: Stigg) -> None:
    provisioned = client.provision_customer("customer-1", name="Acme", email="a@example.com", idempotency_key="k1")
    assert_type(provisioned.customer.id, str)
    done = client.provision_subscription(
        "customer-1",
        "plan-pro",
        billing_period="MONTHLY",
        addons=[{"addon_id": "addon-1", "quantity": 2}],
    )
    assert_type(done.status, str)
    client.grant_promotional_entitlements(
        "customer-1", [{"feature_id": "feature-calls", "usage_limit": 5, "period": "ONE_MONTH"}]
    )
    client.grant_credits("customer-1", "currency-tokens", 100, expire_at="2025-12-31T00:00:00Z")
    reported = client.report_usage("customer-1", "feature-calls", 3, update_behavior="DELTA", durability="disk")
    assert_type(reported.measurement_id, str)


async def wait(client: Stigg) -> None:
    await client.aio.report_usage("customer-1", "feature-calls", 1)
    await client.aio.get_metered_entitlement("customer-1", "feature-calls", requested_usage=1)
    await asyncio.gather(client.aio.close())


def fail(client: Stigg) -> None:
    try:
        client.report_usage("customer-1", "feature-calls", 1)
    except StiggError as error:
        assert_type(error.code, str)
        assert_type(error.hint, str | None)
        assert_type(error.retryable, bool)
