"""What a pricing page gets: plans in order, what each states and inherits, and the prices of a country."""

from decimal import Decimal

from msgspec.structs import replace

from stigg_local.core.catalog import Inherited, OveragePrice
from stigg_local.core.paywall import paywall_plans
from stigg_local.core.paywall_shape import PaywallPlan
from stigg_local.core.sources import Catalog
from tests.builders import addon, catalog, feature, gives, plan
from tests.core.lives import flat


def shown(compiled: Catalog, country: str | None = None, *, include_hidden: bool = False) -> list[PaywallPlan]:
    return list(paywall_plans(compiled, product_id=None, country=country, include_hidden=include_hidden))


def overage(amount: str, country: str | None = None) -> OveragePrice:
    return OveragePrice(
        feature_id="calls",
        billing_period="MONTHLY",
        currency="USD",
        amount=Decimal(amount),
        billing_country_code=country,
    )


def test_plans_come_by_their_order_and_those_without_one_last() -> None:
    """A plan without an order shows the place that it has."""
    compiled = catalog(plan("any"), plan("five", order=5), plan("two", order=2), plan("none"), plan("zero", order=0))
    assert [("zero", 0), ("two", 2), ("five", 5), ("any", 3), ("none", 4)] == [
        (item.id, item.order) for item in shown(compiled)
    ]


def test_what_a_plan_states_itself_it_does_not_inherit() -> None:
    inherited = tuple(Inherited(plan_id="base", entitlement=gives(name)) for name in ("calls", "mails"))
    heir = replace(plan("heir", parent_plan_id="base", entitlements=(gives(usage_limit=50),)), inherited=inherited)
    base = plan("base", entitlements=(gives(), gives("mails")))
    compiled = catalog(feature("mails"), base, heir)
    (found,) = [item for item in shown(compiled) if item.id == "heir"]
    assert ([("calls", 50)], ["mails"], "base") == (
        [(item.feature.id, item.usage_limit) for item in found.entitlements],
        [item.feature.id for item in found.inherited_entitlements],
        found.base_plan.id if found.base_plan else None,
    )


def test_prices_are_those_of_the_country_and_a_made_to_measure_plan_has_no_price_points() -> None:
    """What is charged for usage beyond is localised like every other price."""
    prices = (flat("10"), flat("9", billing_country_code="DE", currency="EUR"))
    paid = plan("paid", pricing_type="PAID", prices=prices, overage_prices=(overage("2"), overage("1", "DE")))
    compiled = catalog(paid, plan("custom", pricing_type="CUSTOM", prices=prices))
    for country, amount, beyond in ((None, 10, 2), ("FR", 10, 2), ("DE", 9, 1)):
        found, custom = shown(compiled, country)
        assert [amount] == [item.price.amount for item in found.prices if item.price]
        assert [beyond] == [item.price.amount for item in found.overage_prices if item.price]
        assert [(Decimal(amount), True)] == [
            (item.amount, item.additional_charges_may_apply) for item in found.price_points
        ]
        assert ((), 1) == (custom.price_points, len(custom.prices))


def test_hidden_addons_are_shown_on_demand_and_drafts_never() -> None:
    made = [addon("open"), addon("hidden", hidden=True), addon("draft", status="DRAFT")]
    compiled = catalog(plan(compatible_addon_ids=("open", "hidden", "draft")), *made)
    for is_asked, expected in ((False, ["open"]), (True, ["open", "hidden"])):
        (found,) = shown(compiled, include_hidden=is_asked)
        assert expected == [item.id for item in found.compatible_addons]
