"""Money: what a subscription costs each period, how two compare, and what a change of one costs at once.

Laws: no binary float decides; each line is rounded half-up to the currency's minor unit and sums are of rounded
lines; what is unchanged gives no line; a price for the exact country is taken before the default one, and the country
is never guessed. Source: semantics §7.3, §8, §9, §19.7.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TypeVar

from msgspec import Struct

from stigg_local.core.catalog import Addon, Coupon, OveragePrice, Plan, Price
from stigg_local.core.customer import AppliedCoupon, Subscription
from stigg_local.core.iso import minor_units
from stigg_local.core.period import SECOND_MS, add_months
from stigg_local.core.place import billing_period, is_custom
from stigg_local.core.quantity import EXACT
from stigg_local.core.sources import Catalog

ZERO, ONE = Decimal(0), Decimal(1)
_RECURRING_MODELS = ("FLAT_FEE", "PER_UNIT")
AnyPrice = TypeVar("AnyPrice", Price, OveragePrice)


class Line(Struct, frozen=True, kw_only=True, rename="camel"):
    """One line of a price or an invoice.

    Attributes:
        package_id: The plan or add-on that it is for.
        feature_id: The feature whose units it is for; None for a flat fee.
        quantity: Units, or how many times the add-on.
        amount: Full currency units, rounded; negative for what is given back.
        model: FLAT_FEE or PER_UNIT.
    """

    package_id: str
    feature_id: str | None = None
    quantity: int = 1
    amount: Decimal = ZERO
    model: str = "FLAT_FEE"

    @property
    def key(self) -> tuple[str, str | None]:
        """What the line is for: two lines of one key are before and after a change."""
        return self.package_id, self.feature_id


class Recurring(Struct, frozen=True, kw_only=True):
    """What a subscription costs in each billing period, before discount and tax; no lines where it costs nothing."""

    currency: str | None
    lines: tuple[Line, ...]

    @property
    def subtotal(self) -> Decimal:
        """The sum of the lines."""
        return total(self.lines)


def total(lines: Iterable[Line]) -> Decimal:
    """The sum of lines."""
    amount = ZERO
    for line in lines:
        amount = EXACT.add(amount, line.amount)
    return amount


def rounded(amount: Decimal, currency: str) -> Decimal:
    """The amount to the currency's minor unit, half-up."""
    return amount.quantize(Decimal(1).scaleb(-minor_units(currency)), context=EXACT)


def localized(prices: Sequence[AnyPrice], country: str | None) -> tuple[AnyPrice, ...]:
    """The prices that hold for a country, in catalog order.

    Of prices that differ in their country alone, the country's own is taken, else the default one.
    """
    own = {_place(price) for price in prices if country is not None and price.billing_country_code == country}
    return tuple(
        price for price in prices if price.billing_country_code == (country if _place(price) in own else None)
    )


def _place(price: Price | OveragePrice) -> tuple[str, str, str | None]:
    model = price.billing_model if isinstance(price, Price) else "OVERAGE"
    return price.billing_period, model, price.feature_id


def prices_of(package: Plan | Addon, period: str | None, country: str | None) -> tuple[Price, ...]:
    """The recurring prices of a package that hold for a billing period and a country."""
    recur = [
        price
        for price in package.prices
        if price.billing_period == period and price.billing_model in _RECURRING_MODELS
    ]
    return localized(recur, country)


def paid_packages(subscription: Subscription, catalog: Catalog) -> Iterator[tuple[str, int, tuple[Price, ...]]]:
    """(package, how many times, recurring prices) of plan and add-ons, at the price versions that it is on."""
    packages = [(subscription.plan_id, subscription.price_version, 1)]
    packages += [
        (addon.addon_id, addon.version if addon.price_version is None else addon.price_version, addon.quantity)
        for addon in subscription.addons
    ]
    for package_id, version, times in packages:
        package = catalog.packages.get((package_id, version))
        if package is not None:
            period, country = subscription.billing_period, subscription.billing_country_code
            yield package_id, times, prices_of(package.version.package, period, country)


def price_of(price: Price, quantity: int) -> Decimal:
    """What so many units cost at a price, not rounded: by its tiers, its blocks or its unit amount."""
    if price.tiers:
        return _tiered(price, quantity)
    unit = price.amount if price.unit_amount is None else price.unit_amount
    if unit is None:
        return ZERO
    if price.block_size is not None:
        quantity = -(-quantity // price.block_size)
    return EXACT.multiply(unit, Decimal(quantity))


def _tiered(price: Price, quantity: int) -> Decimal:
    amount, below = ZERO, Decimal(0)
    if quantity <= 0:
        return amount
    units = Decimal(quantity)
    for tier in price.tiers:
        top = None if tier.up_to is None else Decimal(str(tier.up_to))
        is_last = top is None or units <= top
        if price.tiers_mode == "VOLUME":
            if not is_last:
                continue
            in_tier = units
        else:
            in_tier = EXACT.subtract(units if is_last or top is None else top, below)
        amount = EXACT.add(amount, tier.flat_amount or ZERO)
        amount = EXACT.add(amount, EXACT.multiply(tier.unit_amount or ZERO, in_tier))
        if is_last:
            break
        below = top if top is not None else below
    return amount


def recurring(subscription: Subscription, catalog: Catalog) -> Recurring:
    """The recurring price of a subscription, at the price versions that it is on."""
    lines: list[Line] = []
    currency: str | None = None
    for package_id, times, prices in paid_packages(subscription, catalog):
        for price in prices:
            currency = currency or price.currency
            per_unit = price.billing_model == "PER_UNIT" and price.feature_id is not None
            units = subscription.units.get(price.feature_id or "", 0) if per_unit else 1
            amount = EXACT.multiply(price_of(price, units), Decimal(times))
            lines.append(
                Line(
                    package_id=package_id,
                    feature_id=price.feature_id if per_unit else None,
                    quantity=units if per_unit else times,
                    amount=rounded(amount, price.currency),
                    model=price.billing_model,
                )
            )
    return Recurring(currency=currency, lines=tuple(lines))


def is_downgrade(before: Subscription, after: Subscription, catalog: Catalog) -> bool:
    """Whether a change is a downgrade as a whole (semantics §7.3, §19.7); an equal price is an upgrade.

    Another plan is compared by its monthly list price, one of the same plan by what it lowers.
    """
    if before.plan_id == after.plan_id:
        if (before.billing_period, after.billing_period) == ("ANNUALLY", "MONTHLY"):
            return True
        held = {addon.addon_id: addon.quantity for addon in after.addons}
        fewer_addons = any(held.get(addon.addon_id, 0) < addon.quantity for addon in before.addons)
        return fewer_addons or any(after.units.get(key, 0) < quantity for key, quantity in before.units.items())
    to_custom, from_custom = is_custom(after, catalog), is_custom(before, catalog)
    if to_custom or from_custom:
        return from_custom and not to_custom
    old, new = recurring(before, catalog), recurring(after, catalog)
    if old.currency != new.currency and old.currency is not None and new.currency is not None:
        return False
    return _yearly(new, after) < _yearly(old, before)


def _yearly(price: Recurring, subscription: Subscription) -> Decimal:
    # Twelve months compare as one month does, without a division.
    return price.subtotal if subscription.billing_period == "ANNUALLY" else EXACT.multiply(price.subtotal, Decimal(12))


def share(amount: Decimal, at_ms: int, period: tuple[int, int], currency: str) -> Decimal:
    """The part of an amount for the rest of a period, by whole seconds, rounded."""
    start, end = (instant // SECOND_MS for instant in period)
    left = max(0, min(end - start, end - at_ms // SECOND_MS))
    return rounded(EXACT.divide(EXACT.multiply(amount, Decimal(left)), Decimal(end - start)), currency)


def unused(subscription: Subscription, catalog: Catalog, at_ms: int, *, paid: Decimal = ONE) -> tuple[Line, ...]:
    """What is given back of a subscription that ends inside a period: a negative line for each of its prices.

    Args:
        paid: The part of the list price that was paid for the period, where a coupon took something off.
    """
    period = billing_period(subscription, catalog, at_ms)
    price = recurring(subscription, catalog)
    if period is None or price.currency is None:
        return ()
    return tuple(_scaled(line, at_ms, period, price.currency, -paid) for line in price.lines)


def difference(
    before: Subscription | None, after: Subscription, catalog: Catalog, at_ms: int, *, paid: Decimal = ONE
) -> tuple[str | None, tuple[Line, ...]]:
    """(currency, lines) of what a change costs at once: credit for what is left of the old, debit for the new.

    Inside one cycle both are for the rest of the period, and what did not change gives no line. A new cycle gives
    back the rest of the old one and costs the new one in full. Where less than the list price was paid for the old,
    no more than that part, `paid`, is given back.
    """
    new = recurring(after, catalog)
    period = billing_period(after, catalog, at_ms)
    if period is None or new.currency is None:
        # Nothing recurs from here on; what was paid ahead is given back.
        lines = () if before is None else unused(before, catalog, at_ms, paid=paid)
        return None if before is None else recurring(before, catalog).currency, lines
    before_period = None if before is None else billing_period(before, catalog, at_ms)
    if before is None or before_period is None:
        return new.currency, new.lines if period[0] == at_ms else _rest(new, at_ms, period)
    old = recurring(before, catalog)
    if before_period != period:
        back = tuple(_scaled(line, at_ms, before_period, old.currency or new.currency, -paid) for line in old.lines)
        return new.currency, (*back, *new.lines) if old.currency == new.currency else new.lines
    if old.currency != new.currency:
        return new.currency, _rest(new, at_ms, period)
    kept = {(line.key, line.quantity, line.amount) for line in old.lines} & {
        (line.key, line.quantity, line.amount) for line in new.lines
    }
    lines = (
        *(
            _scaled(line, at_ms, period, new.currency, -paid)
            for line in old.lines
            if (line.key, line.quantity, line.amount) not in kept
        ),
        *(
            _scaled(line, at_ms, period, new.currency, ONE)
            for line in new.lines
            if (line.key, line.quantity, line.amount) not in kept
        ),
    )
    return new.currency, lines


def _rest(price: Recurring, at_ms: int, period: tuple[int, int]) -> tuple[Line, ...]:
    currency = price.currency or ""
    return tuple(_scaled(line, at_ms, period, currency, ONE) for line in price.lines)


def _scaled(line: Line, at_ms: int, period: tuple[int, int], currency: str, times: Decimal) -> Line:
    """The line's part for the rest of a period; `times` is negative for what is given back."""
    amount = line.amount if abs(times) == 1 else EXACT.multiply(line.amount, abs(times))
    left = share(amount, at_ms, period, currency)
    return Line(
        package_id=line.package_id,
        feature_id=line.feature_id,
        quantity=line.quantity,
        amount=left if times > 0 else EXACT.minus(left),
        model=line.model,
    )


def coupon_holds(applied: AppliedCoupon, at_ms: int) -> bool:
    """Whether a coupon counts on an invoice of an instant: for ever, for its months, or once."""
    if applied.coupon.once:
        return not applied.is_used
    months = applied.coupon.duration_in_months
    return months is None or at_ms < add_months(applied.start_ms, months)


def discount(coupon: Coupon, subtotal: Decimal, currency: str) -> Decimal:
    """What a coupon takes off a subtotal: never more than it, nothing off what is not above 0."""
    if subtotal <= 0:
        return ZERO
    if coupon.type == "PERCENTAGE":
        percent = coupon.percent_off or ZERO
        return rounded(EXACT.divide(EXACT.multiply(subtotal, percent), Decimal(100)), currency)
    off = next((item.amount for item in coupon.amounts_off if item.currency == currency), ZERO)
    return min(subtotal, rounded(off, currency))
