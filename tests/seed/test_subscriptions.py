"""The snippets on subscriptions: provisioning with every argument, updates, cancellations, lists, migration."""

from collections.abc import Iterator
from typing import Any

import pytest

from stigg_local import BillingPeriod, Stigg, StiggError, SubscriptionBillingCycleAnchor
from stigg_local.testing import ManualClock
from tests.seed.shapes import check_shape
from tests.vectors.runner import catalog_path

ARGUMENTS: dict[str, Any] = {
    "customer_id": "customer-demo-01",
    "plan_id": "plan-basic",
    "billing_period": "MONTHLY",
    "resource_id": "resource-01",
    "billable_features": [{"feature_id": "feature-01-templates", "quantity": 2}],
    "addons": [{"addon_id": "addon-extra-stuff", "quantity": 1}],
    "promotion_code": "STIGG30",
    "billing_country_code": "DK",
    "billing_information": {
        "tax_rate_ids": ["txr_1LcTSRE1gVT2zwZV07MIRKdf", "txr_1LcTSRE1gVT2zwZV07MIRKdf"],
        "metadata": {"lorem": "ipsum"},
        "tax_percentage": 17,
    },
    "checkout_options": {
        "success_url": "https://your-success-url.com",
        "cancel_url": "https://your-cancel-url.com",
        "allow_promo_codes": True,
        "collect_billing_address": True,
        "reference_id": "your-id-for-the-checkout-session",
        "allow_tax_id_collection": True,
        "collect_phone_number": True,
    },
    "metadata": {"key": "value"},
    "billing_cycle_anchor": SubscriptionBillingCycleAnchor.UNCHANGED,
}


@pytest.fixture
def demo(stigg: Stigg) -> Stigg:
    stigg.provision_customer("customer-demo-01", email="user@example.com", subscription_params=None)
    return stigg


@pytest.fixture
def paying(clock: ManualClock, request: pytest.FixtureRequest) -> Iterator[Stigg]:
    """A client whose payments end as the test's parameter says; codes are resolved by the provider."""
    from stigg_local.testing import ScriptedPayments

    provider = ScriptedPayments([request.param])
    client = Stigg(catalog=catalog_path("seed"), clock=clock, payment_provider=provider)
    client.provision_customer("customer-demo-01", email="user@example.com", subscription_params=None)
    yield client
    client.close()


def provisioned(client: Stigg, **arguments: Any) -> Any:
    """The subscription of a provisioning that needs no payment."""
    result = client.provision_subscription(**arguments)
    assert result.subscription is not None
    return result.subscription


def test_provision_subscription(demo: Stigg) -> None:
    result = demo.provision_subscription(**ARGUMENTS)
    # Nothing was collected, so there is no invoice; the experiment is another product's.
    check_shape(
        "provision-subscription",
        result.to_dict(),
        without=("latestInvoice", "experimentInfo"),
    )
    assert (result.status, result.checkout_url) == ("Success", ARGUMENTS["checkout_options"]["success_url"])
    assert result.subscription is not None
    assert result.subscription.status == "ACTIVE"
    assert result.subscription.to_dict()["paymentCollection"] == "NOT_REQUIRED"
    assert result.subscription.to_dict()["metadata"] == {"key": "value"}


def test_provision_a_custom_plan(demo: Stigg) -> None:
    subscription = provisioned(
        demo,
        customer_id="customer-demo-01",
        plan_id="plan-custom",
        resource_id="resource-01",
        entitlements=[
            {"feature": {"feature_id": "feature-seats", "usage_limit": 50}},
            {"credit": {"custom_currency_id": "currency-api-credits", "amount": 50000, "cadence": "MONTH"}},
        ],
    )
    assert subscription.to_dict()["price"] is None
    assert subscription.pricing_type == "CUSTOM"
    seats = demo.get_metered_entitlement("customer-demo-01", "feature-seats", resource_id="resource-01")
    assert seats.usage_limit == 50
    credits = demo.get_credit_entitlement("customer-demo-01", "currency-api-credits", resource_id="resource-01")
    assert credits.remaining == 50000


def without_code() -> dict[str, Any]:
    return {key: value for key, value in ARGUMENTS.items() if key != "promotion_code"}


@pytest.mark.parametrize("paying", ["PAID"], indirect=True)
def test_a_paid_invoice_shows(paying: Stigg) -> None:
    result = paying.provision_subscription(**without_code()).to_dict()
    check_shape("provision-subscription", result, without=("experimentInfo",))
    assert result["subscription"]["latestInvoice"]["status"] == "PAID"


@pytest.mark.parametrize("paying", ["ACTION_REQUIRED"], indirect=True)
def test_payment_needs_an_action(paying: Stigg) -> None:
    result = paying.provision_subscription(**without_code()).to_dict()
    check_shape("provision-subscription-action-required", result)
    assert result["subscription"]["paymentCollection"] == "ACTION_REQUIRED"


@pytest.mark.parametrize("paying", ["FAILED"], indirect=True)
def test_payment_fails(paying: Stigg) -> None:
    result = paying.provision_subscription(**without_code()).to_dict()
    check_shape("provision-subscription-failed", result)
    assert result["subscription"]["paymentCollection"] == "FAILED"


@pytest.mark.parametrize("paying", ["CHECKOUT"], indirect=True)
def test_payment_goes_to_a_checkout_page(paying: Stigg) -> None:
    result = paying.provision_subscription(**without_code()).to_dict()
    check_shape("provision-subscription-checkout", result)
    assert result["status"] == "PaymentRequired"
    assert result.get("subscription") is None


def test_create_subscription_is_deprecated(demo: Stigg) -> None:
    with pytest.warns(DeprecationWarning, match="provision_subscription"):
        subscription = demo.create_subscription(**ARGUMENTS)
    assert subscription is not None
    assert subscription.plan_id == "plan-basic"


def test_update_subscription(demo: Stigg) -> None:
    made = provisioned(demo, **ARGUMENTS)
    subscription = demo.update_subscription(
        subscription_id=made.id,
        billable_features=[{"feature_id": "feature-01-templates", "quantity": 3}],
        promotion_code="STIGG30",
        addons=[{"addon_id": "extra-api-calls", "quantity": 5}],
        metadata={"key": "newValue"},
        billing_information={"metadata": {"lorem": "ipsum"}},
        billing_period=BillingPeriod.Monthly,
        billing_cycle_anchor=SubscriptionBillingCycleAnchor.UNCHANGED,
    )
    check_shape("update-subscription", subscription.to_dict(), without=("experimentInfo",))
    found = subscription.to_dict()
    assert (found["id"], found["addonIds"], found["metadata"]) == (made.id, ["extra-api-calls"], {"key": "newValue"})


def test_cancel_subscription(demo: Stigg) -> None:
    made = provisioned(demo, **ARGUMENTS)
    subscription = demo.cancel_subscription(subscription_id=made.id)
    check_shape("cancel-subscription", subscription.to_dict())
    assert subscription.status == "CANCELED"
    assert subscription.to_dict()["effectiveEndDate"] == "2024-01-15T00:00:00.000Z"


def test_cancel_scheduled_updates(demo: Stigg) -> None:
    from stigg_local import SubscriptionScheduleStatus

    made = provisioned(demo, customer_id="customer-demo-01", plan_id="plan-pro", billing_period="MONTHLY")
    demo.provision_subscription(customer_id="customer-demo-01", plan_id="plan-essentials", billing_period="MONTHLY")
    result = demo.cancel_subscription_scheduled_updates(
        subscription_id=made.id,
        status=SubscriptionScheduleStatus.Scheduled,
    )
    check_shape("cancel-scheduled-updates", result.to_dict())
    assert result.subscription_id == made.id
    with pytest.raises(StiggError) as caught:
        demo.cancel_subscription_scheduled_updates(
            subscription_id=made.id,
            status=SubscriptionScheduleStatus.PendingPayment,
        )
    assert caught.value.code == "FutureUpdateNotFound"


def test_list_active_subscriptions(demo: Stigg) -> None:
    demo.provision_subscription(
        customer_id="customer-demo-01",
        plan_id="plan-pro",
        billing_period="MONTHLY",
        metadata={"internalTierId": "tier-gold"},
    )
    demo.provision_subscription(**ARGUMENTS)
    subscriptions = demo.get_active_subscriptions_list(customer_id="customer-demo-01")
    # It has no planned end: the documented example's has.
    found = [item.to_dict() for item in subscriptions]
    check_shape("active-subscriptions", found, without=("effectiveEndDate",))
    (item,) = found
    assert item["additionalMetaData"] == {"internalTierId": "tier-gold"}
    assert item["customer"] == {"customerId": "customer-demo-01", "email": "user@example.com"}
    assert item["plan"]["product"]["downgradePlan"]["refId"] == "plan-stigg-starter"
    (price,) = item["prices"]
    assert price["billingModel"] == "FLAT_FEE"
    assert price["price"]["billingPeriod"] == "MONTHLY"
    assert price["price"]["price"] == {"amount": 99, "currency": "USD"}
    assert item["totalPrice"] == {
        "subTotal": {"amount": 99, "currency": "USD"},
        "total": {"amount": 99, "currency": "USD"},
    }
    assert item["currentBillingPeriodEnd"] == "2024-02-15T00:00:00.000Z"
    assert item["endDate"] is None
    assert item["trialEndDate"] is None


def test_list_active_subscriptions_of_resources(demo: Stigg) -> None:
    demo.provision_subscription(**ARGUMENTS)
    one = demo.get_active_subscriptions_list(customer_id="customer-demo-01", resource_id="resource-01")
    many = demo.get_active_subscriptions_list(
        customer_id="customer-demo-01",
        resource_id=["resource-01", "resource-02", "resource-03"],
    )
    assert [item.to_dict()["plan"]["refId"] for item in one] == ["plan-basic"]
    assert [item.to_dict()["subscriptionId"] for item in many] == [item.to_dict()["subscriptionId"] for item in one]


def test_get_subscription(demo: Stigg) -> None:
    made = provisioned(demo, **ARGUMENTS)
    found = demo.get_subscription(subscription_id=made.id)
    assert found.to_dict() == made.to_dict()


def test_migrate_subscription_to_latest(demo: Stigg) -> None:
    from stigg_local import SubscriptionMigrationTime

    made = provisioned(demo, **ARGUMENTS)
    with pytest.raises(Exception, match="SubscriptionAlreadyOnLatestPlanError"):
        demo.migrate_subscription_to_latest(
            made.id, subscription_migration_time=SubscriptionMigrationTime.EndOfBillingPeriod
        )
