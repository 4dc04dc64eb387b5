"""The snippets that read: entitlements, paywall, coupons, products, listeners, usage."""

from typing import Any

import pytest

from stigg_local import Stigg, UsageUpdateBehavior
from tests.seed.shapes import check_shape, response


@pytest.fixture
def demo(stigg: Stigg) -> Stigg:
    stigg.provision_customer("customer-demo-01", subscription_params=None)
    stigg.provision_subscription(
        customer_id="customer-demo-01",
        plan_id="plan-basic",
        billing_period="MONTHLY",
        resource_id="resource-01",
        billable_features=[{"feature_id": "feature-01-templates", "quantity": 20}],
    )
    stigg.provision_subscription(customer_id="customer-demo-01", plan_id="plan-pro", billing_period="MONTHLY")
    return stigg


def test_get_entitlement(demo: Stigg) -> None:
    for feature_id, kind in (
        ("feature-demo-01", "BOOLEAN"),
        ("feature-demo-02", "NUMERIC"),
        ("feature-demo-03", "METERED"),
    ):
        entitlement: Any = demo.get_entitlement(
            customer_id="customer-demo-01",
            feature_id=feature_id,
            resource_id="resource-01",
        )
        assert entitlement.has_access
        match entitlement.type:
            case "NUMERIC":
                assert entitlement.value == 100
            case "METERED":
                assert entitlement.usage_limit == 1000
                assert entitlement.current_usage == 0
                assert not entitlement.is_unlimited
            case "BOOLEAN":
                pass
        assert entitlement.type == kind


def test_get_boolean_entitlement(demo: Stigg) -> None:
    entitlement = demo.get_boolean_entitlement(
        customer_id="customer-demo-01",
        feature_id="feature-demo-01",
        resource_id="resource-01",
    )
    check_shape("boolean-access", entitlement.to_dict())
    denied = demo.get_boolean_entitlement(customer_id="nobody", feature_id="feature-demo-01")
    check_shape("boolean-no-access", denied.to_dict())


def test_get_numeric_entitlement(demo: Stigg) -> None:
    entitlement = demo.get_numeric_entitlement(
        customer_id="customer-demo-01",
        feature_id="feature-demo-02",
        resource_id="resource-01",
    )
    check_shape("numeric-access", entitlement.to_dict())
    assert entitlement.value == 100


def test_get_metered_entitlement(demo: Stigg) -> None:
    requested_usage = 1001
    entitlement = demo.get_metered_entitlement(
        customer_id="customer-demo-01",
        feature_id="feature-demo-03",
        requested_usage=requested_usage,
        resource_id="resource-01",
    )
    check_shape("metered-no-access", entitlement.to_dict())
    assert entitlement.access_denied_reason == response("metered-no-access")["accessDeniedReason"]


def test_get_credit_entitlement(demo: Stigg) -> None:
    credit = demo.get_credit_entitlement(customer_id="customer-demo-01", currency_id="currency-ai-credits")
    check_shape("credit-entitlement", credit.to_dict())
    assert credit.remaining == 5000


def test_get_entitlements_state(demo: Stigg) -> None:
    state = demo.get_entitlements_state("customer-demo-01", "resource-01")
    check_shape("entitlements", [entitlement.to_dict() for entitlement in state.entitlements])


def test_get_paywall(stigg: Stigg) -> None:
    paywall = stigg.get_paywall(product_id="product-stigg").to_dict()
    check_shape("paywall", paywall)
    starter = paywall["plans"][0]
    assert (starter["id"], starter["order"], starter["pricingType"]) == ("plan-stigg-starter", 0, "FREE")
    assert starter["pricePoints"] == []
    assert starter["inheritedEntitlements"] == []
    assert starter["defaultTrialConfig"] is None
    assert starter["compatibleAddons"] == []
    expected = {"id": "product-stigg", "displayName": "Stigg", "description": None, "metadata": None}
    assert {key: starter["product"][key] for key in expected} == expected
    by_feature = {item["feature"]["id"]: item for item in starter["entitlements"]}
    assert by_feature["feature-demo-02"]["usageLimit"] == 100
    assert by_feature["feature-demo-02"]["displayNameOverride"] == "Awesome feature #1"
    assert by_feature["feature-demo-01"]["hiddenFromWidgets"] == ["PAYWALL"]


def test_get_paywall_without_a_product(stigg: Stigg) -> None:
    plans = [plan["id"] for plan in stigg.get_paywall().to_dict()["plans"]]
    assert plans[:3] == ["plan-basic", "plan-main-free", "plan-custom"]
    assert plans[3:6] == ["plan-stigg-starter", "plan-pro", "plan-essentials"]


def test_get_coupons(stigg: Stigg) -> None:
    coupons = [coupon.to_dict() for coupon in stigg.get_coupons()]
    check_shape("coupons", coupons)
    expected = response("coupons")[0]
    assert expected in [{key: coupon[key] for key in expected} for coupon in coupons]


def test_get_products(stigg: Stigg) -> None:
    products = [product.to_dict() for product in stigg.get_products()]
    expected = response("products")[0]
    assert expected in [{key: product.get(key) for key in expected} for product in products]


def test_report_usage(demo: Stigg) -> None:
    first = demo.report_usage(
        customer_id="customer-demo-01",
        feature_id="feature-01-templates",
        value=10,
        resource_id="resource-01",
    )
    check_shape("report-usage", first.to_dict())
    demo.report_usage(
        customer_id="customer-demo-01",
        feature_id="feature-01-templates",
        value=10,
        update_behavior=UsageUpdateBehavior.Set,
        resource_id="resource-01",
    )
    found = demo.get_metered_entitlement("customer-demo-01", "feature-01-templates", resource_id="resource-01")
    assert found.current_usage == 10


def test_listeners(demo: Stigg) -> None:
    heard: list[str] = []
    demo.add_listener("entitlementsUpdated", lambda data: heard.append(data.customer_id))
    demo.add_listener("usageUpdated", lambda data: heard.append(f"{data.usage.current_usage}"))
    demo.grant_promotional_entitlements("customer-demo-01", [{"feature_id": "feature-demo-01", "period": "LIFETIME"}])
    assert "customer-demo-01" in heard
