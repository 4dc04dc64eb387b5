"""How a user's typed code looks: mypy reads it, nothing runs it."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, assert_type

from stigg_local import (
    UNSET,
    AccessDeniedReason,
    BillingPeriod,
    Coupon,
    Invoice,
    PaymentOutcome,
    PaymentProvider,
    Stigg,
    StiggError,
    SubscriptionCancellationTime,
    SubscriptionMigrationTime,
    SubscriptionScheduleStatus,
)
from stigg_local.testing import ManualClock, ScriptedPayments


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


def consume(client: Stigg) -> None:
    consumed = client.consume("customer-1", "feature-calls", 2, dimensions={"model": "small"}, scope="host")
    assert_type(consumed.allowed, bool)
    assert_type(consumed.access_denied_reason, AccessDeniedReason | None)
    assert_type(consumed.measurement_id, str | None)
    client.consume("customer-1", currency_id="currency-tokens", value=1.5)
    with client.reserve("customer-1", "feature-calls", amount=100, ttl_seconds=120) as hold:
        assert_type(hold.allowed, bool)
        assert_type(hold.id, str | None)
        assert_type(hold.expires_at, datetime | None)
        if hold.allowed:
            assert_type(hold.settle(40).is_late, bool)
    assert_type(client.settle("hold-1", 1).measurement_id, str | None)
    assert_type(client.release("hold-1").released, bool)
    assert_type(client.consume_credits("customer-1", "currency-tokens", 3).current_balance, int | float)
    for grant in client.get_credit_grants("customer-1", "currency-tokens"):
        assert_type(grant.consumed_amount, int | float)
        client.void_credit_grant(grant.id)
    for line in client.get_credit_ledger("customer-1"):
        assert_type(line.timestamp, datetime | None)


class Bank:
    """Whoever collects: three methods are enough."""

    def sync_customer(self, customer_id: str, billing_info: Mapping[str, Any]) -> None:
        print(customer_id, billing_info)

    def collect(self, invoice: Invoice, checkout_options: Mapping[str, Any] | None = None) -> PaymentOutcome:
        assert_type(invoice.amount, Decimal)
        return PaymentOutcome(outcome="CHECKOUT", checkout_url="https://bank.example/1")

    def resolve_promotion_code(self, code: str) -> Coupon | None:
        return None


def pay() -> None:
    provider: PaymentProvider = Bank()
    client = Stigg(catalog="catalog.toml", payment_provider=provider)
    Stigg(catalog="catalog.toml", payment_provider=ScriptedPayments(["CHECKOUT", PaymentOutcome(outcome="FAILED")]))
    done = client.provision_subscription("customer-1", "plan-pro", billing_period=BillingPeriod.MONTHLY)
    assert_type(done.checkout_url, str | None)
    if done.checkout_url is not None:
        settled = client.payments.settle(done.checkout_url, "PAID")
        assert settled is not None
        assert_type(settled.current_billing_period_end, datetime | None)


def live(client: Stigg) -> None:
    made = client.provision_subscription("customer-1", "plan-pro", start_date=datetime.now().astimezone()).subscription
    assert made is not None
    assert_type(made.price, Decimal | None)
    changed = client.update_subscription(made.id, addons=[{"addon_id": "a"}], cancellation_date=None, metadata=UNSET)
    assert_type(changed.scheduled_updates[0].scheduled_execution_time, datetime | None)
    client.cancel_subscription(made.id, cancellation_time=SubscriptionCancellationTime.SPECIFIC_DATE)
    client.migrate_subscription_to_latest(
        made.id, subscription_migration_time=SubscriptionMigrationTime.EndOfBillingPeriod
    )
    client.cancel_subscription_scheduled_updates(made.id, status=SubscriptionScheduleStatus.PendingPayment)
    for slim in client.get_active_subscriptions_list("customer-1", ["r-1", "r-2"]):
        assert_type(slim.plan.product.ref_id, str)
    page = client.get_subscriptions("customer-1", limit=10)
    assert_type(page.next, str | None)
    for subscription in page:
        assert_type(subscription.id, str)
    for plan in client.get_paywall().plans:
        assert_type(plan.order, int)
    assert_type(client.get_coupons()[0].discount_value, Decimal)
    assert_type(client.get_customer("customer-1").created_at, datetime | None)
    assert_type(client.archive_customer("customer-1"), str)
    assert_type(client.erase_customer("customer-1"), bool)
    assert_type(client.revoke_promotional_entitlements("customer-1", feature_group_ids="group-1"), list[str])
    for event in client.get_events(types=["customer.created"], wait_seconds=1):
        assert_type(event.actor, str)


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
