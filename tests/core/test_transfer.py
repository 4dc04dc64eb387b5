"""Moving subscriptions, archiving customers, experiments, customer coupons and revoking promotions."""

from decimal import Decimal

import pytest

from stigg_local.core.archive import archive
from stigg_local.core.catalog import Coupon, Experiment, Product, ProductSettings, PromotionCode, VariantSettings
from stigg_local.core.change import entitled_to_latest, is_latest
from stigg_local.core.customer import PromotionalEntitlement, SubscriptionAddon, status_of
from stigg_local.core.discounts import with_code, with_customer_coupon
from stigg_local.core.experiment import assigned, group_of, settings_of
from stigg_local.core.lifecycle import next_ms
from stigg_local.core.promotional import GrantPromotional, grant, grant_events, revoke
from stigg_local.core.sources import Catalog
from stigg_local.core.subscription import journey
from stigg_local.core.transfer import delegate, transfer, transfer_resource
from stigg_local.errors import StiggError
from tests.builders import addon, catalog, customer, derived, gives, plan, subscription
from tests.core.lives import PAID, T0, buy, end, plans_at, shop


def sites() -> Catalog:
    return catalog(Product(id="product", multiple_subscriptions=True), plan("site"))


def test_a_subscription_moves_to_a_free_resource() -> None:
    """With its cycle; a taken one is refused."""
    compiled = sites()
    made = buy(customer(), compiled, "site", resource_id="s-1")
    moved = transfer(made.customer, compiled, made.subscription_id, "s-2", now_ms=T0 + 5)
    assert ("s-2", T0, ("s-1", "s-2")) == (
        moved.subscription.resource_id,
        moved.subscription.usage_anchor_ms,
        moved.customer.resource_ids,
    )
    other = buy(moved.customer, compiled, "site", T0 + 6, resource_id="s-1")
    with pytest.raises(StiggError) as raised:
        transfer_resource(other.customer, compiled, "s-1", "s-2", now_ms=T0 + 7)
    assert "DuplicatedEntityNotAllowed" == raised.value.code
    back = transfer_resource(moved.customer, compiled, "s-2", "s-1", now_ms=T0 + 7)
    assert "s-1" == back.subscription.resource_id
    for source, code in (("s-9", "CustomerResourceNotFound"), ("s-1", "NoActiveSubscriptionForCustomer")):
        with pytest.raises(StiggError) as raised:
            transfer_resource(moved.customer, compiled, source, "s-3", now_ms=T0 + 7)
        assert code == raised.value.code
    with pytest.raises(StiggError) as raised:
        transfer(made.customer, compiled, made.subscription_id, None, now_ms=T0 + 5)
    assert "InvalidArgumentError" == raised.value.code


def test_what_has_ended_on_a_resource_is_not_in_the_way() -> None:
    """The one that runs is moved, and the place of one that ended is free."""
    compiled = sites()
    first = buy(customer(), compiled, "site", resource_id="s-1")
    ended = end(first.customer, compiled, first.subscription_id, T0 + 5)
    again = buy(ended.customer, compiled, "site", T0 + 6, resource_id="s-1")
    moved = transfer_resource(again.customer, compiled, "s-1", "s-2", now_ms=T0 + 7)
    assert (again.subscription_id, "s-2") == (moved.subscription_id, moved.subscription.resource_id)
    back = transfer_resource(moved.customer, compiled, "s-2", "s-1", now_ms=T0 + 8)
    assert (again.subscription_id, "s-1") == (back.subscription_id, back.subscription.resource_id)


def test_a_resource_goes_with_its_subscription() -> None:
    """Whoever gets it knows the resource from then on."""
    compiled = sites()
    made = buy(customer(), compiled, "site", resource_id="s-1")
    moved = delegate(made.customer, customer(id="other"), compiled, made.subscription_id, now_ms=T0 + 5)
    assert (("s-1",), ("s-1",)) == (moved.source.resource_ids, moved.destination.resource_ids)


def test_a_trial_moves_to_where_something_is_paid_for() -> None:
    """The two run side by side; a second trial there is one too many."""
    compiled = shop()
    tried = buy(customer(), compiled, "tried")
    paying = buy(customer(id="other"), compiled, "basic", **PAID).customer
    moved = delegate(tried.customer, paying, compiled, tried.subscription_id, now_ms=T0 + 5)
    assert ["basic", "tried"] == [item.plan_id for item in moved.destination.subscriptions]
    trying = buy(customer(id="other"), compiled, "turns").customer
    with pytest.raises(StiggError) as raised:
        delegate(tried.customer, trying, compiled, tried.subscription_id, now_ms=T0 + 5)
    assert "DuplicatedEntityNotAllowed" == raised.value.code


def test_a_delegated_subscription_is_paid_for_by_who_had_it() -> None:
    """Until it comes back."""
    compiled = shop()
    made = buy(customer(), compiled, "basic", **PAID)
    other = customer(id="other")
    given = delegate(made.customer, other, compiled, made.subscription_id, now_ms=T0 + 5)
    assert ((), "c") == (given.source.subscriptions, given.destination.subscriptions[0].paying_customer_id)
    back = delegate(given.destination, given.source, compiled, made.subscription_id, now_ms=T0 + 6)
    assert made.customer.subscriptions == back.destination.subscriptions
    taken = buy(other, compiled, "free").customer
    for destination, code in ((taken, "DuplicatedEntityNotAllowed"), (made.customer, "InvalidArgumentError")):
        with pytest.raises(StiggError) as raised:
            delegate(made.customer, destination, compiled, made.subscription_id, now_ms=T0 + 5)
        assert code == raised.value.code


def test_an_archived_customer_keeps_no_name() -> None:
    """Its subscriptions end, no free plan follows, and time does nothing more."""
    compiled = shop(subscription_end_setup="DOWNGRADE_TO_FREE", downgrade_plan_id="free")
    record = customer(name="Ada", email="ada@example.com", metadata={"a": "1"})
    made = buy(record, compiled, "tried", metadata={"b": "2"})
    gone = archive(made.customer, compiled, now_ms=T0 + 5)
    item = gone.customer.subscriptions[0]
    assert (None, None, None, None, T0 + 5) == (
        gone.customer.name,
        gone.customer.email,
        gone.customer.metadata,
        item.metadata,
        gone.customer.archived_ms,
    )
    assert ("CANCELED", "CustomerArchived", None) == (
        status_of(item, T0 + 5),
        item.cancel_reason,
        next_ms(gone.customer),
    )
    assert ["subscription.canceled", "customer.deleted"] == [item.type for item in gone.events]


def test_an_experiment_spreads_customers_and_keeps_them() -> None:
    """About the share that it says; the variant has its own journey, and a stored group stays."""
    variant = VariantSettings(subscription_start_setup="FREE_PLAN", subscription_start_plan_id="free")
    test = Experiment(id="e", product_id="product", variant_percentage=30, variant_settings=variant, name="freemium?")
    compiled = shop()
    compiled.others = {"experiment": [test]}
    groups = [group_of(test, f"customer-{index}") for index in range(2000)]
    assert 500 < groups.count("VARIANT") < 700
    chosen = next(f"customer-{index}" for index, group in enumerate(groups) if group == "VARIANT")
    other = next(f"customer-{index}" for index, group in enumerate(groups) if group == "CONTROL")
    found = journey(compiled, customer=customer(id=chosen))
    assert ("free", None) == (None if found is None else found[1], journey(compiled, customer=customer(id=other)))
    made = buy(customer(id=chosen), compiled, "free")
    assert made.subscription.experiment is not None
    assert ("freemium?", "e", "Variant group", "VARIANT") == (
        made.subscription.experiment.name,
        made.subscription.experiment.id,
        made.subscription.experiment.group_name,
        made.subscription.experiment.group_type,
    )
    ended = shop()
    ended.others = {
        "experiment": [Experiment(id="e", product_id="product", variant_percentage=0, variant_settings=variant)]
    }
    assert variant.over(ended.products["product"].settings) == settings_of(
        made.customer, ended, ended.products["product"]
    )
    assert made.customer is assigned(made.customer, ended, "product")


def test_a_variant_keeps_what_it_does_not_say() -> None:
    """The end, the reset and the cancellation of its product; what it says wins, also over a rarer choice."""
    settings = ProductSettings(
        subscription_end_setup="DOWNGRADE_TO_FREE",
        downgrade_plan_id="free",
        subscription_cancellation_time="END_OF_BILLING_PERIOD",
        usage_reset_on_plan_change="NEVER_RESET",
    )
    variant = VariantSettings(
        subscription_start_setup="FREE_PLAN",
        subscription_start_plan_id="free",
        subscription_cancellation_time="IMMEDIATE",
    )
    whole = ProductSettings(
        subscription_start_setup="FREE_PLAN",
        subscription_start_plan_id="free",
        subscription_end_setup="DOWNGRADE_TO_FREE",
        downgrade_plan_id="free",
        subscription_cancellation_time="IMMEDIATE",
        usage_reset_on_plan_change="NEVER_RESET",
    )
    assert whole == variant.over(settings)


def test_a_customer_has_one_coupon() -> None:
    """Taken away before another is given."""
    coupons = [Coupon(id=name, type="PERCENTAGE", percent_off=Decimal(5)) for name in ("a", "b")]
    compiled = shop(*coupons, Coupon(id="old", type="PERCENTAGE", status="ARCHIVED"))
    compiled.others = {"coupon": compiled.others[""]}
    record = with_customer_coupon(customer(), compiled, "a", now_ms=T0)
    assert ("a", T0) == (record.coupon_id, record.coupon_ms)
    assert record is with_customer_coupon(record, compiled, "a", now_ms=T0 + 5)
    assert None is with_customer_coupon(record, compiled, None, now_ms=T0).coupon_id
    for held, asked, code in (
        (record, "b", "CustomerAlreadyHaveCustomerCoupon"),
        (customer(), "zz", "CouponNotFound"),
        (customer(), "old", "ArchivedCouponCantBeApplied"),
    ):
        with pytest.raises(StiggError) as raised:
            with_customer_coupon(held, compiled, asked, now_ms=T0)
        assert code == raised.value.code


def test_a_promotion_code_has_to_be_good() -> None:
    """Known, active, and not used up."""
    coupon = Coupon(id="half", type="PERCENTAGE", percent_off=Decimal(50))
    codes = [
        PromotionCode(code="HALF", coupon_id="half", max_redemptions=2),
        PromotionCode(code="OFF", coupon_id="half", active=False),
    ]
    compiled = shop()
    compiled.others = {"coupon": [coupon], "promotionCode": list(codes)}
    assert "HALF" == with_code(compiled, "HALF", resolved=None, redeemed=1, now_ms=T0).promotion_code
    for code, redeemed, expected in (
        ("HALFF", 0, "PromotionCodeNotFound"),
        ("OFF", 0, "PromotionCodeNotActive"),
        ("HALF", 2, "PromotionCodeMaxRedemptionsReached"),
    ):
        with pytest.raises(StiggError) as raised:
            with_code(compiled, code, resolved=None, redeemed=redeemed, now_ms=T0)
        assert expected == raised.value.code


def test_promotions_are_revoked_together_or_not_at_all() -> None:
    """An expired one is not there."""
    held = tuple(
        PromotionalEntitlement(entitlement=gives(name), period="CUSTOM", start_ms=T0 - 9, end_ms=end)
        for name, end in (("a", None), ("b", T0 + 9), ("old", T0))
    )
    record = customer(promotional_entitlements=held)
    for asked, code in (
        (("a", "old"), "PromotionalEntitlementNotFoundError"),
        (("a", "zz"), "PromotionalEntitlementNotFoundError"),
        (("a", "a"), "DuplicatedEntityNotAllowed"),
    ):
        with pytest.raises(StiggError) as raised:
            revoke(record, shop(), asked, now_ms=T0)
        assert code == raised.value.code
    done = revoke(record, shop(), ("a", "b"), now_ms=T0)
    assert ["old"] == [item.entitlement.feature_id for item in done.customer.promotional_entitlements]
    assert ["expired", "revoked", "revoked"] == [item.type.rpartition(".")[2] for item in done.events]


def test_a_grant_is_told_as_granted_or_updated() -> None:
    """By whether one was in force."""
    compiled = shop()
    asked = (GrantPromotional(entitlement=gives(), period="LIFETIME"),)
    seen, record = [], customer()
    for at in (T0, T0 + 5):
        after, made = grant(record, compiled, asked, now_ms=at)
        seen += [item.type for item in grant_events(record, made, now_ms=at)]
        record = after
    assert ["promotional_entitlement.granted", "promotional_entitlement.updated"] == seen


def test_publishing_to_all_moves_entitlements_and_never_prices() -> None:
    """So that migrating is still a change."""
    compiled = catalog(plan(), plan(version=2), addon(), addon(version=2))
    item = subscription(addons=(SubscriptionAddon(addon_id="addon-a", version=1),))
    moved = entitled_to_latest(item, compiled)
    assert (2, 1, SubscriptionAddon(addon_id="addon-a", version=2, price_version=1), False) == (
        moved.plan_version,
        moved.price_version,
        moved.addons[0],
        is_latest(moved, compiled),
    )
    assert moved == entitled_to_latest(moved, compiled)


def test_a_place_is_the_resources_own() -> None:
    """What starts in one ends nothing in another."""
    compiled = sites()
    first = buy(customer(), compiled, "site", resource_id="s-1")
    second = buy(first.customer, compiled, "site", T0 + 5, resource_id="s-2")
    assert ((), ["site", "site"]) == (
        second.ended,
        plans_at(derived(second.customer, compiled, T0).sources, T0 + 5),
    )
