"""`paywall`, `products` and `coupons`: what is sold, as a pricing page shows it."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from stigg_local.cli import records
from stigg_local.cli.options import data_dir_option, json_option, pass_output, reader
from stigg_local.cli.output import Output
from stigg_local.cli.words import amount
from stigg_local.errors import InvalidInput

if TYPE_CHECKING:
    from stigg_local.core.paywall_shape import (
        CouponResult,
        PaywallAddon,
        PaywallCredit,
        PaywallEntitlement,
        PaywallPlan,
        PaywallPrice,
        PaywallTier,
    )

PERIODS = {"MONTHLY": "a month", "ANNUALLY": "a year"}
Row = tuple[str, ...]


@click.command(short_help="What a pricing page shows.")
@click.argument("product", required=False)
@click.option("--customer", metavar="CUSTOMER", help="Also what this customer has.")
@click.option("--resource", metavar="R", help="Of that, what is this resource's.")
@click.option("--country", metavar="CC", help="ISO 3166-1 alpha-2: prices of that country where there are any.")
@click.option("--include-hidden", is_flag=True, help="Also plans and add-ons that are marked hidden.")
@data_dir_option
@json_option
@pass_output
def paywall(
    out: Output,
    *,
    product: str | None,
    customer: str | None,
    resource: str | None,
    country: str | None,
    include_hidden: bool,
    data_dir: str | None,
) -> int:
    """Show the published plans of PRODUCT, or of all products: prices, what they give and inherit, add-ons.

    \b
    Examples:
      stigg-local paywall
      stigg-local paywall product-revvenu --country DE
      stigg-local paywall product-revvenu --customer customer-acme --json
    """
    if resource is not None and customer is None:
        raise InvalidInput("--resource goes with --customer", hint="name the customer whose resource it is")
    with reader(data_dir, None, out) as client:
        found = client.get_paywall(
            product,
            customer_id=customer,
            resource_id=resource,
            billing_country_code=country,
            include_hidden_plans=include_hidden,
        )
    if out.as_json:
        out.json(found.to_dict())
        return 0
    for number, plan in enumerate(found.plans):
        if number:
            out.line()
        _show_plan(out, plan)
    if found.active_subscriptions is not None:
        out.line()
        out.line(f"what {customer} has", "title")
        rows = [records.subscription_row(item) for item in found.active_subscriptions]
        out.table(records.SUBSCRIPTION_HEADER, rows, indent=2)
    return 0


@click.command(short_help="What is sold.")
@data_dir_option
@json_option
@pass_output
def products(out: Output, *, data_dir: str | None) -> int:
    """List the products, each with the free plan that follows the end of a subscription, if there is one.

    \b
    Example:
      stigg-local products
    """
    with reader(data_dir, None, out) as client:
        found = client.get_products()
    if out.as_json:
        out.json({"products": [item.to_dict() for item in found]})
        return 0
    rows = [
        (
            item.id,
            item.display_name,
            "" if item.downgrade_plan is None else item.downgrade_plan.id,
            records.mapping(item.metadata),
            item.description or "",
        )
        for item in found
    ]
    out.table(("id", "name", "afterwards", "metadata", "description"), rows)
    return 0


@click.command(short_help="Discounts that can be applied.")
@data_dir_option
@json_option
@pass_output
def coupons(out: Output, *, data_dir: str | None) -> int:
    """List the coupons that can be applied.

    \b
    Example:
      stigg-local coupons
    """
    with reader(data_dir, None, out) as client:
        found = client.get_coupons()
    if out.as_json:
        out.json({"coupons": [item.to_dict() for item in found]})
        return 0
    rows = [(item.id, item.name, _off(item), _lasts(item), item.description or "") for item in found]
    out.table(("id", "name", "takes off", "lasts", "description"), rows)
    return 0


def _off(coupon: "CouponResult") -> str:
    if coupon.percent_off is not None:
        return f"{records.price(coupon.percent_off)} %"
    return " or ".join(records.money(item) for item in coupon.amounts_off or ())


def _lasts(coupon: "CouponResult") -> str:
    months = coupon.duration_in_months
    if months is None:
        return "first invoice" if coupon.once else "for good"
    return "1 month" if months == 1 else f"{months} months"


# Plans ----------------------------------------------------------------------------------------------------------


def _show_plan(out: Output, plan: "PaywallPlan") -> None:
    hidden = ", hidden" if plan.hidden else ""
    out.line(f"{plan.display_name}  {plan.id}  ({plan.pricing_type}, version {plan.version_number}{hidden})", "title")
    trial = plan.default_trial_config
    records.fields(
        out,
        (
            ("", plan.description or ""),
            ("product", plan.product.id),
            ("price", _entry(plan)),
            (
                "trial",
                ""
                if trial is None
                else f"{trial.duration} {trial.units}, then {trial.trial_end_behavior}"
                + ("" if trial.budget is None else f", at most {records.money(trial.budget)}"),
            ),
            ("metadata", records.mapping(plan.metadata)),
        ),
    )
    base = "inherited" if plan.base_plan is None else f"inherited from {plan.base_plan.display_name}"
    given = [*_given(plan.entitlements, plan.credit_entitlements, "the plan")]
    given += _given(plan.inherited_entitlements, plan.inherited_credit_entitlements, base)
    if given:
        out.table(("feature", "by", "gives"), given, indent=2)
    prices = [*_prices(plan.prices, ""), *_prices(plan.overage_prices, "overage of ")]
    if len(prices) > 1 or plan.overage_prices:
        out.table(("price of", "billed", "amount"), prices, indent=2)
    if plan.compatible_addons:
        rows = [_addon(addon) for addon in plan.compatible_addons]
        out.table(("add-on", "name", "at most", "price", "gives"), rows, indent=2)


def _entry(plan: "PaywallPlan") -> str:
    if not plan.price_points:
        return {"FREE": "free", "CUSTOM": "by agreement"}.get(plan.pricing_type, "")
    points = [
        f"{records.price(point.amount)} {point.currency} {PERIODS.get(point.billing_period, point.billing_period)}"
        + (" and more by use" if point.additional_charges_may_apply else "")
        for point in plan.price_points
    ]
    least = [f"at least {records.money(value)} {PERIODS.get(period, period)}" for period, value in plan.minimum_spend]
    return ", ".join([*points, *least])


def _given(entitlements: Iterable["PaywallEntitlement"], credits: Iterable["PaywallCredit"], by: str) -> Iterator[Row]:
    for item in entitlements:
        name = item.display_name_override or item.feature.display_name
        hidden = f" (hidden: {', '.join(item.hidden_from_widgets)})" if item.hidden_from_widgets else ""
        yield item.feature.id, by, f"{name}: {_value(item)}{hidden}"
    for credit in credits:
        yield credit.currency_id, by, f"{credit.display_name}: {amount(credit.amount)} each {credit.cadence}"


def _value(item: "PaywallEntitlement") -> str:
    if item.is_granted is False:
        return "no"
    if item.feature.feature_type == "Boolean":
        return "yes"
    if item.enum_values is not None:
        return ", ".join(item.enum_values)
    if item.has_unlimited_usage:
        return "unlimited"
    if item.usage_limit is None:
        return "by agreement" if item.is_custom else "no value"
    units = item.feature.units if item.usage_limit == 1 else item.feature.units_plural or item.feature.units
    text = f"{amount(item.usage_limit)} {units or ''}".rstrip() + (", soft limit" if item.has_soft_limit else "")
    return text + (f" each {item.reset_period}" if item.reset_period else "")


def _prices(prices: Iterable["PaywallPrice"], kind: str) -> Iterator[Row]:
    for item in prices:
        what = kind + (item.feature_id or "the plan")
        where = "" if item.billing_country_code is None else f" in {item.billing_country_code}"
        yield what, f"{item.billing_period}{where}", _amount(item)


def _amount(item: "PaywallPrice") -> str:
    if item.tiers is not None:
        return f"{'; '.join(_tier(tier) for tier in item.tiers)} ({item.tiers_mode})"
    if item.price is None:
        return ""
    text = records.money(item.price)
    if item.block_size is not None:
        return f"{text} for each {item.block_size:,}"
    if item.billing_model in ("PER_UNIT", "USAGE_BASED"):
        text += " each"
    units = [
        f"{word} {count:,}"
        for word, count in (("from", item.min_unit_quantity), ("up to", item.max_unit_quantity))
        if count is not None
    ]
    return ", ".join([text, " ".join(units)] if units else [text])


def _tier(tier: "PaywallTier") -> str:
    parts = [] if tier.unit_price is None else [f"{records.money(tier.unit_price)} each"]
    parts += [] if tier.flat_price is None else [f"{records.money(tier.flat_price)} flat"]
    end = "beyond" if tier.up_to is None else f"up to {amount(tier.up_to)}"
    return f"{end} {' and '.join(parts)}"


def _addon(addon: "PaywallAddon") -> Row:
    prices = [f"{amount_text} {billed}" for _, billed, amount_text in _prices(addon.prices, "")]
    given = [text for *_, text in _given(addon.entitlements, addon.credit_entitlements, "")]
    needs = f" (needs {', '.join(addon.dependencies)})" if addon.dependencies else ""
    most = "" if addon.max_quantity is None else f"{addon.max_quantity:,}"
    return addon.id, addon.display_name, most, ", ".join(prices), "; ".join(given) + needs
