"""The least that a plan costs, as a paywall shows it (semantics §8.5)."""

from decimal import Decimal

from msgspec import Struct

from stigg_local.core.catalog import Plan
from stigg_local.core.pricing import localized, price_of
from stigg_local.core.quantity import EXACT

CHARGED_LATER = frozenset({"USAGE_BASED", "CREDIT_BASED", "MINIMUM_SPEND"})


class EntryPrice(Struct, frozen=True, kw_only=True):
    """The least that a plan costs for one billing period."""

    amount: Decimal
    currency: str
    billing_country_code: str | None
    has_further_charges: bool
    feature_id: str | None


def entry_price(plan: Plan, billing_period: str, country: str | None) -> EntryPrice | None:
    """The least that a plan costs: its flat fees and the fewest units that can be bought; None where it has no price.

    Args:
        plan: The plan.
        billing_period: MONTHLY or ANNUALLY.
        country: ISO 3166-1 alpha-2, or None for the default prices.
    """
    chosen = [price for price in localized(plan.prices, country) if price.billing_period == billing_period]
    overage = [price for price in localized(plan.overage_prices, country) if price.billing_period == billing_period]
    if not chosen:
        return None
    amount = Decimal(0)
    feature_id = None
    for price in chosen:
        if price.billing_model in CHARGED_LATER:
            continue
        if price.billing_model == "PER_UNIT":
            amount = EXACT.add(amount, price_of(price, 1 if price.min_units is None else price.min_units))
            feature_id = feature_id or price.feature_id
        elif price.amount is not None:
            amount = EXACT.add(amount, price.amount)
    return EntryPrice(
        amount=amount,
        currency=chosen[0].currency,
        billing_country_code=chosen[0].billing_country_code,
        has_further_charges=bool(overage)
        or billing_period in plan.minimum_spend
        or any(price.billing_model in CHARGED_LATER for price in chosen),
        feature_id=feature_id,
    )
