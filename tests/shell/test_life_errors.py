"""Every code that a refused call of the life cycle can have, raised through the client, each with a way out."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

import pytest

from stigg_local import Coupon, NotFound, Stigg, StiggError
from stigg_local.core.event import EVENT_TYPES
from tests.shell.shop import SHOP, Shop

SEATS = "feature-seats"


class Refused(NamedTuple):
    """A call that has to be refused."""

    code: str
    call: Callable[[Shop], object]
    # Called before, and may return nothing.
    before: Callable[[Shop], object] = lambda shop: shop.customer()


def catalog() -> dict[str, Any]:
    """The shop with promotion codes that do not hold and a product nobody starts on."""
    made = deepcopy(SHOP)
    made["promotionCodes"] += [
        {"code": "OFF", "couponId": "coupon-half", "active": False},
        {"code": "ONCE", "couponId": "coupon-half", "maxRedemptions": 1},
        {"code": "GONE", "couponId": "coupon-old"},
    ]
    return made


def republish(shop: Shop) -> None:
    """Another version of a plan, that nobody is moved to."""
    made = catalog()
    next(plan for plan in made["plans"] if plan["id"] == "plan-pro")["prices"][0]["amount"] = "60"
    shop.client.catalog.apply(made)


def bought(plan_id: str = "plan-pro", **arguments: Any) -> Callable[[Shop], object]:
    """A customer with a subscription."""

    def before(shop: Shop) -> None:
        shop.customer()
        shop.buy(plan_id, **arguments)

    return before


def own(shop: Shop) -> str:
    """The customer's newest subscription."""
    return next(iter(shop.client.get_subscriptions("customer-1"))).id


def buys(plan_id: str, **arguments: Any) -> Callable[[Shop], object]:
    return lambda shop: shop.client.provision_subscription("customer-1", plan_id, **arguments)


def updates(**arguments: Any) -> Callable[[Shop], object]:
    return lambda shop: shop.client.update_subscription(own(shop), **arguments)


def cancels(**arguments: Any) -> Callable[[Shop], object]:
    return lambda shop: shop.client.cancel_subscription(own(shop), **arguments)


def migrates(**arguments: Any) -> Callable[[Shop], object]:
    return lambda shop: shop.client.migrate_subscription_to_latest(own(shop), **arguments)


def grants(**arguments: Any) -> Callable[[Shop], object]:
    return lambda shop: shop.client.grant_promotional_entitlements("customer-1", [arguments])


def then(*steps: Callable[[Shop], object]) -> Callable[[Shop], object]:
    def before(shop: Shop) -> None:
        for step in steps:
            step(shop)

    return before


def addons(*ids: str, quantity: int = 1) -> list[dict[str, Any]]:
    return [{"addon_id": item, "quantity": quantity} for item in ids]


def units(quantity: int, feature_id: str = SEATS) -> list[dict[str, Any]]:
    return [{"feature_id": feature_id, "quantity": quantity}]


def use_once(shop: Shop) -> None:
    shop.buy("plan-pro", customer_id="customer-2", promotion_code="ONCE")


MONTHLY = {"billing_period": "MONTHLY"}
REFUSED = (
    Refused("CustomerNotFound", lambda shop: shop.client.get_customer("nobody")),
    Refused("CustomerNotFound", lambda shop: shop.client.provision_subscription("nobody", "plan-free")),
    Refused("CustomerNotFound", buys("plan-free", paying_customer_id="nobody")),
    Refused(
        "CustomerNotFound",
        lambda shop: shop.client.provision_customer(
            "customer-9", subscription_params={"plan_id": "plan-free", "paying_customer_id": "nobody"}
        ),
    ),
    Refused("CustomerNotFound", lambda shop: shop.client.get_paywall(customer_id="nobody")),
    Refused("CustomerNotFound", lambda shop: shop.client.get_active_subscriptions_list("nobody")),
    Refused("CustomerNotFound", lambda shop: shop.client.export_customer("nobody")),
    Refused("CustomerNotFound", lambda shop: shop.client.erase_customer("nobody")),
    Refused("CustomerNotFound", lambda shop: shop.client.delegate_subscription(own(shop), "nobody"), bought()),
    Refused(
        "CustomerResourceNotFound",
        lambda shop: shop.client.report_usage("customer-1", "feature-calls", 1, resource_id="site-9"),
    ),
    Refused("FeatureNotFound", grants(feature_id="feature-ssso")),
    Refused("FeatureGroupNotFoundError", grants(feature_group_id="group-securty")),
    Refused("PlanNotFound", buys("plan-prro")),
    Refused("UnPublishedPackage", buys("plan-draft")),
    Refused("AddonNotFound", buys("plan-pro", addons=addons("addon-cals"), **MONTHLY)),
    Refused("IncompatibleSubscriptionAddon", buys("plan-pro", addons=addons("addon-base"), **MONTHLY)),
    Refused("DuplicateAddonProvisionedError", buys("plan-pro", addons=addons(*["addon-calls"] * 2), **MONTHLY)),
    Refused("AddonQuantityExceedsLimitError", buys("plan-pro", addons=addons("addon-calls", quantity=4), **MONTHLY)),
    Refused("AddonDependencyMissingError", buys("plan-starter", addons=addons("addon-top"), **MONTHLY)),
    Refused("InvalidQuantity", buys("plan-pro", addons=addons("addon-calls", quantity=0), **MONTHLY)),
    Refused("InvalidQuantity", buys("plan-seats", **MONTHLY)),
    Refused("InvalidQuantity", buys("plan-seats", billable_features=units(51), **MONTHLY)),
    Refused("BillingPeriodMissingError", buys("plan-pro")),
    Refused("PriceNotFound", buys("plan-seats", billing_period="ANNUALLY", billable_features=units(2))),
    Refused("PriceNotFound", buys("plan-starter", addons=addons("addon-annual"), **MONTHLY)),
    Refused("ProductNotFoundError", lambda shop: shop.client.get_paywall("product-ap")),
    Refused("CouponNotFound", lambda shop: shop.client.update_customer("customer-1", coupon_id="coupon-halb")),
    Refused("CouponNotFound", buys("plan-pro", coupon_id="coupon-halb", **MONTHLY)),
    Refused(
        "ArchivedCouponCantBeApplied", lambda shop: shop.client.update_customer("customer-1", coupon_id="coupon-old")
    ),
    Refused("ArchivedCouponCantBeApplied", buys("plan-pro", promotion_code="GONE", **MONTHLY)),
    Refused(
        "CustomerAlreadyHaveCustomerCoupon",
        lambda shop: shop.client.provision_customer("customer-1", coupon_id="coupon-half", subscription_params=None),
        lambda shop: shop.client.provision_customer("customer-1", coupon_id="coupon-two", subscription_params=None),
    ),
    Refused("PromotionCodeNotFound", buys("plan-pro", promotion_code="HALB", **MONTHLY)),
    Refused("PromotionCodeNotActive", buys("plan-pro", promotion_code="OFF", **MONTHLY)),
    Refused(
        "PromotionCodeMaxRedemptionsReached",
        buys("plan-pro", promotion_code="ONCE", **MONTHLY),
        then(lambda shop: shop.customer("customer-2"), lambda shop: shop.customer(), use_once),
    ),
    Refused("SubscriptionNotFound", lambda shop: shop.client.get_subscription("subscription-nobody")),
    Refused("SubscriptionNotFound", lambda shop: shop.client.payments.settle("https://nowhere.example", "PAID")),
    Refused("SubscriptionAlreadyCanceledOrExpired", cancels(), then(bought(), cancels(cancellation_time="IMMEDIATE"))),
    Refused(
        "SubscriptionAlreadyCanceledOrExpired",
        updates(cancellation_date="1999-01-01T00:00:00Z"),
        then(bought(), cancels(cancellation_time="IMMEDIATE")),
    ),
    Refused("InvalidSubscriptionStatus", lambda shop: shop.client.payments.settle(own(shop), "PAID"), bought()),
    Refused("InvalidCancellationDate", cancels(cancellation_time="SPECIFIC_DATE"), bought()),
    Refused("InvalidCancellationDate", updates(cancellation_date="2020-01-01T00:00:00Z"), bought()),
    Refused(
        "TrialMustBeCancelledImmediately", cancels(cancellation_time="END_OF_BILLING_PERIOD"), bought("plan-trial")
    ),
    Refused(
        "SchedulingAtEndOfBillingPeriod",
        cancels(cancellation_time="END_OF_BILLING_PERIOD"),
        bought(
            "plan-custom", billing_period=None, entitlements=[{"feature": {"feature_id": SEATS, "usage_limit": 5}}]
        ),
    ),
    Refused(
        "FutureUpdateNotFound", lambda shop: shop.client.cancel_subscription_scheduled_updates(own(shop)), bought()
    ),
    Refused("SubscriptionAlreadyOnLatestPlanError", migrates(), bought()),
    Refused("ScheduledMigrationAlreadyExistsError", migrates(), then(bought(), republish, migrates())),
    Refused("PromotionalEntitlementNotFoundError", lambda shop: _revoke(shop, "feature-sso")),
    Refused("PromotionalEntitlementNotFoundError", lambda shop: _revoke(shop, feature_group_ids="group-all")),
    Refused(
        "DuplicatedEntityNotAllowed",
        lambda shop: _revoke(shop, ["feature-sso"] * 2),
        then(lambda shop: shop.customer(), grants(feature_id="feature-sso")),
    ),
    Refused(
        "DuplicatedEntityNotAllowed",
        lambda shop: shop.client.import_customer_bulk([{"customer_id": "a"}, {"customerId": "a"}]),
    ),
    Refused("InvalidEntitlementResetPeriod", grants(feature_id=SEATS, usage_limit=5, reset_period="MONTH")),
    Refused(
        "EntityIsArchivedError",
        lambda shop: shop.client.provision_customer("customer-1"),
        then(lambda shop: shop.customer(), lambda shop: shop.client.archive_customer("customer-1")),
    ),
    Refused("InvalidMetadataError", lambda shop: shop.client.update_customer("customer-1", metadata={"a": 1})),  # type: ignore[dict-item]
    Refused("InvalidMetadataError", updates(metadata=["a"]), bought()),
    Refused("InvalidArgumentError", buys("plan-site")),
    Refused("InvalidArgumentError", buys("plan-free", resource_id="site-1")),
    Refused(
        "InvalidArgumentError",
        lambda shop: shop.client.get_active_subscriptions_list("customer-1", [f"site-{n}" for n in range(101)]),
    ),
    Refused("InvalidArgumentError", buys("plan-pro", billing_country_code="XX", **MONTHLY)),
    Refused("InvalidArgumentError", buys("plan-pro", checkout_options={"success_url": "https://a"}, **MONTHLY)),
    Refused("InvalidArgumentError", buys("plan-pro", billing_information={"tax_percentage": 101}, **MONTHLY)),
    Refused("InvalidArgumentError", buys("plan-pro", schedule_strategy="LATER", **MONTHLY)),
    Refused("InvalidArgumentError", buys("plan-trial", trial_override={"is_trail": True}, **MONTHLY)),
    Refused("InvalidArgumentError", lambda shop: shop.client.payments.settle("x", "MAYBE")),
    Refused("InvalidArgumentError", lambda shop: _revoke(shop, [])),
    Refused("InvalidArgumentError", lambda shop: shop.client.get_customers(limit=0)),
    Refused("InvalidArgumentError", lambda shop: shop.client.get_events(types=["customer.craeted"])),
    Refused("InvalidArgumentError", lambda shop: shop.client.get_subscriptions("customer-1", cursor="x"), bought()),
    Refused("InvalidArgumentError", lambda shop: shop.client.import_customer_bulk([])),
)


def _revoke(shop: Shop, feature_ids: Any = (), **arguments: Any) -> object:
    return shop.client.revoke_promotional_entitlements("customer-1", feature_ids, **arguments)


@pytest.fixture(scope="module")
def prepared() -> dict[str, Any]:
    made = catalog()
    made["coupons"].append({"id": "coupon-two", "name": "Two", "type": "PERCENTAGE", "percentOff": "20"})
    return made


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.code)
def test_a_refusal_has_its_code_and_says_what_to_do(case: Refused, prepared: dict[str, Any]) -> None:
    """And it leaves no trace: no event, no change of the record."""
    with Shop(catalog=prepared, provider=None) as shop:
        case.before(shop)
        events, whole = shop.types(), _whole(shop.client)
        with pytest.raises(StiggError) as caught:
            case.call(shop)
        error = caught.value
        assert case.code == error.code
        assert error.hint
        assert not error.retryable
        assert error.message[0] == error.message[0].lower()
        assert not error.message.endswith(".")
        assert (events, whole) == (shop.types(), _whole(shop.client))


def _whole(client: Stigg) -> Any:
    try:
        return client.export_customer("customer-1")
    except NotFound:
        return None


@pytest.mark.parametrize(
    ("call", "near"),
    [
        (lambda client: client.provision_customer("c", subscription_params={"planID": "plan-free"}), "planid"),
        (
            lambda client: client.provision_customer("c", subscription_params={"plan_id": "p", "addon": []}),
            "addons",
        ),
        (lambda client: client.provision_customer("c", billing_info={"billingAdress": {}}), "billingaddress"),
        (
            lambda client: client.provision_customer("c", billing_info={"shipping_address": {"zip": "", "citi": ""}}),
            "",
        ),
        (
            lambda client: client.provision_subscription(
                "c", "p", checkout_options={"successUrl": "a", "cancelUrl": "b", "allowPromoCode": True}
            ),
            "allowpromocodes",
        ),
        (lambda client: client.provision_subscription("c", "p", billing_information={"taxPerentage": 17}), "taxperc"),
        (lambda client: client.provision_subscription("c", "p", addons=[{"addonID": "a"}]), "addonid"),
        (lambda client: client.provision_subscription("c", "p", billable_features=[{"featureID": "a"}]), "featureid"),
        (lambda client: client.provision_subscription("c", "p", entitlements=[{"feture": {}}]), "feature"),
        (lambda client: client.provision_subscription("c", "p", trial_override={"isTrail": True}), "istrial"),
        (lambda client: client.grant_promotional_entitlements("c", [{"feature_ids": "a"}]), "featureid"),
        (lambda client: client.import_customer_bulk([{"customer": "c"}]), "customerid"),
    ],
)
def test_an_unknown_key_names_the_nearest(call: Callable[[Stigg], object], near: str) -> None:
    with Shop(provider=None) as shop, pytest.raises(StiggError, match="unknown key") as caught:
        call(shop.client)
    assert near in str(caught.value.hint).replace("_", "").lower()


def test_a_promotion_code_of_the_provider_comes_first() -> None:
    from stigg_local.testing import ScriptedPayments

    half = Coupon(id="coupon-bank", type="PERCENTAGE", percent_off=50)  # type: ignore[arg-type]
    with Shop(provider=ScriptedPayments(promotion_codes={"BANK": half})) as shop:
        shop.customer()
        made = shop.buy("plan-pro", promotion_code="BANK")
        assert {"amount": 25, "currency": "USD"} == made.to_dict()["totalPrice"]["total"]
        assert ("coupon-bank", "BANK") == (made.coupon_id, made.promotion_code)
        taken = shop.client.update_subscription(made.id, promotion_code=None)
        assert {"amount": 50, "currency": "USD"} == taken.to_dict()["totalPrice"]["total"]


def test_every_type_of_event_can_be_listened_to() -> None:
    with Shop(provider=None) as shop:
        for kind in EVENT_TYPES:
            shop.client.add_listener(kind, print)
            shop.client.remove_listener(kind, print)
