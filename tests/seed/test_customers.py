"""The snippets on customers: provisioning, updating, reading, promotions, archiving."""

from typing import Any

import pytest

from stigg_local import NotFound, Stigg
from tests.seed.shapes import check_shape

BILLING_INFO: dict[str, Any] = {
    "language": "en",
    "timezone": "America/New_York",
    "customer_name": "The name of the customer for the billing provider",
    "billing_address": {
        "country": "US",
        "city": "New York",
        "state": "NY",
        "address_line1": "123 Main Street",
        "address_line2": "Apt. 1",
        "phone_number": "+1 212-499-5321",
        "postal_code": "10164",
    },
    "shipping_address": {
        "country": "US",
        "city": "New York",
        "state": "NY",
        "address_line1": "123 Main Street",
        "address_line2": "Apt. 1",
        "phone_number": "+1 212-499-5321",
        "postal_code": "10164",
    },
    "tax_ids": [
        {"type": "au_abn", "value": "12345678912"},
        {"type": "us_ein", "value": "12-3456789"},
    ],
    "invoice_custom_fields": {"lorem": "ipsum", "acme": "co"},
    "payment_method_id": "pm_1LcBMDAnAO1PFouUusJSmaPu",
    "currency": "usd",
    "metadata": {"hello": "world"},
}


def test_provision_customer(stigg: Stigg) -> None:
    customer = stigg.provision_customer(
        customer_id="customer-test-id",
        name="My very first customer",
        email="john@example.com",
        coupon_id="coupon-test-id",
        subscription_params={
            "plan_id": "plan-basic",
            "resource_id": "resource-01",
            "billable_features": [{"feature_id": "feature-01-templates", "quantity": 2}],
            "billing_period": "MONTHLY",
            "addons": [{"addon_id": "addon-extra-stuff", "quantity": 1}],
            "promotion_code": "STIGG30",
            "billing_country_code": "DK",
            "metadata": {"key": "value"},
            "billing_information": {"tax_percentage": 17},
        },
        billing_info=BILLING_INFO,
        metadata={"key": "value"},
    )
    # The experiment is another product's: see below.
    check_shape("provision-customer", customer.to_dict(), without=("experimentInfo",))
    assert customer.subscription_decision_strategy == "REQUESTED_PLAN"
    assert customer.customer.id == "customer-test-id"
    subscription = customer.subscription
    assert subscription is not None
    assert (subscription.plan_id, subscription.status, subscription.customer_id) == (
        "plan-basic",
        "ACTIVE",
        "customer-test-id",
    )
    assert subscription.to_dict()["resource"] == {"id": "resource-01"}
    assert subscription.to_dict()["addonIds"] == ["addon-extra-stuff"]
    # Two templates at 5, a base of 20 and an add-on at 3.
    assert subscription.to_dict()["totalPrice"]["subTotal"] == {"amount": 33, "currency": "USD"}


def test_experiments_show_in_customer_and_subscription(stigg: Stigg) -> None:
    found = stigg.provision_customer("customer-test-id").to_dict()
    expected = {
        "name": "should we use freemium?",
        "id": "should-we-use-freemium",
        "groupName": "Variant group",
        "groupType": "VARIANT",
    }
    assert found["subscriptionDecisionStrategy"] == "PREDEFINED_FREE_PLAN"
    assert found["subscription"]["experimentInfo"] == expected
    assert found["customer"]["experimentInfo"] == expected


def test_no_subscription_where_params_are_none(stigg: Stigg) -> None:
    found = stigg.provision_customer(customer_id="customer-test-id", subscription_params=None)
    assert found.subscription is None
    assert found.subscription_decision_strategy == "SKIPPED_SUBSCRIPTION_CREATION"


def test_update_customer(stigg: Stigg) -> None:
    stigg.provision_customer("customer-test-id", name="My very first customer", subscription_params=None)
    customer = stigg.update_customer(
        customer_id="customer-test-id",
        email="john@example.com",
        coupon_id="coupon-test-id",
        billing_info=BILLING_INFO,
        metadata={"key": "value"},
    )
    check_shape("update-customer", customer.to_dict())
    assert stigg.get_customer("customer-test-id").name == "My very first customer"


def test_get_customer(stigg: Stigg) -> None:
    stigg.provision_customer(
        "customer-demo-01",
        name="Test Name",
        email="john@example.com",
        metadata={"lorem": "ipsum"},
        subscription_params=None,
    )
    customer = stigg.get_customer("customer-demo-01")
    check_shape("get-customer", customer.to_dict())
    assert customer.to_dict()["promotionalEntitlements"] == []
    assert customer.to_dict()["hasPaymentMethod"] is False
    assert customer.to_dict()["metadata"] == {"lorem": "ipsum"}


def test_grant_and_revoke_promotional_entitlements(stigg: Stigg) -> None:
    stigg.provision_customer("customer-demo-01", subscription_params=None)
    stigg.grant_promotional_entitlements(
        "customer-demo-01", [{"feature_id": "feature-demo-01", "period": "ONE_MONTH"}]
    )
    assert stigg.get_boolean_entitlement("customer-demo-01", "feature-demo-01").has_access
    assert len(stigg.get_customer("customer-demo-01").to_dict()["promotionalEntitlements"]) == 1
    stigg.revoke_promotional_entitlements("customer-demo-01", ["feature-demo-01"])
    assert not stigg.get_boolean_entitlement("customer-demo-01", "feature-demo-01").has_access


def test_archive_customer(stigg: Stigg) -> None:
    stigg.provision_customer("customer-a18f01", name="Ann", email="ann@example.com", subscription_params=None)
    stigg.archive_customer("customer-a18f01")
    with pytest.raises(NotFound) as caught:
        stigg.get_customer("customer-a18f01")
    assert caught.value.code == "CustomerNotFound"
