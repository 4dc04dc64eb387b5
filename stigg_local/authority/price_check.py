"""The prices of plans and add-ons: each against its billing model, its feature and the other prices.

Laws: pure; what rests on an unknown feature or a broken field of one is not judged.
"""

from collections.abc import Mapping, Sequence

from stigg_local.authority.catalog_draft import Draft, camel, shown
from stigg_local.core.catalog import (
    Addon,
    CreditEntitlement,
    Feature,
    MoneyAmount,
    OveragePrice,
    PackageEntitlement,
    Plan,
    Price,
    Tier,
    TopUpPrice,
)
from stigg_local.core.iso import COUNTRIES, CURRENCIES

COST_FIELDS = ("amount", "unit_amount", "tiers")
KEY_FIELDS = ("feature_id", "billing_period", "billing_country_code")
WITH_ARTICLE = {"Boolean": "a Boolean", "Numeric": "a Numeric", "Enum": "an Enum"}
CURRENCIES_IN_ORDER = sorted(CURRENCIES)
COUNTRIES_IN_ORDER = sorted(COUNTRIES)


def check_currency(draft: Draft, record: Price | OveragePrice | MoneyAmount | TopUpPrice) -> bool:
    """Report a currency that ISO 4217 does not know; True where it is known."""
    known = record.currency in CURRENCIES
    if not known and draft.sound(record, "currency"):
        # Among words of three letters too many are near each other to guess.
        is_near = len(record.currency) != 3 or record.currency.upper() in CURRENCIES
        hint = draft.hint(record.currency, CURRENCIES_IN_ORDER) if is_near else None
        draft.report(
            record,
            "currency",
            f"`{shown(record.currency)}` is not a currency code of ISO 4217",
            hint=hint or "three capital letters, for example `USD`",
        )
    return known


def check_prices(draft: Draft, package: Plan | Addon, features: Mapping[str, Feature]) -> None:
    """Report what is wrong with the prices of a plan or an add-on."""
    key: tuple[str | None, ...]
    prices: set[tuple[str | None, ...]] = set()
    for price in package.prices:
        _check_price(draft, price, features)
        key = (price.billing_model, price.feature_id, price.billing_period, price.billing_country_code)
        if draft.sound(price, "billing_model", *KEY_FIELDS):
            if key in prices:
                _report_twice(draft, price)
            prices.add(key)
    overages: set[tuple[str | None, ...]] = set()
    for overage in package.overage_prices:
        _check_overage(draft, overage, features)
        key = (overage.feature_id, overage.billing_period, overage.billing_country_code)
        if draft.sound(overage, *KEY_FIELDS):
            if key in overages:
                _report_twice(draft, overage)
            overages.add(key)
    if isinstance(package, Plan):
        for amount in package.minimum_spend.values():
            check_currency(draft, amount)


def known_feature(
    draft: Draft,
    record: PackageEntitlement | Price | OveragePrice | CreditEntitlement,
    name: str,
    features: Mapping[str, Feature],
    field: str = "feature_id",
) -> Feature | None:
    """The feature that a record names; None, reported, where there is none."""
    if not draft.sound(record, field):
        return None
    feature = features.get(name)
    if feature is None:
        draft.unknown(record, field, name, features, "a feature", code="FeatureNotFound")
    return feature


def _check_price(draft: Draft, price: Price, features: Mapping[str, Feature]) -> None:
    check_currency(draft, price)
    _check_country(draft, price)
    model = price.billing_model
    by_unit = model in ("PER_UNIT", "USAGE_BASED")
    needs = ("billing_model",)
    if price.feature_id is None:
        if by_unit:
            draft.report(price, "feature_id", f"a {model} price names its feature", needs=needs)
    elif model in ("FLAT_FEE", "MINIMUM_SPEND"):
        hint = "billingModel PER_UNIT and USAGE_BASED are for features"
        draft.report(price, "feature_id", f"a {model} price is for no feature", hint=hint, needs=needs)
    else:
        feature = known_feature(draft, price, price.feature_id, features)
        if feature is not None and by_unit and draft.sound(price, "billing_model"):
            _check_priced_feature(draft, price, feature, metered=model == "USAGE_BASED")
    for field in ("min_units", "max_units"):
        if model != "PER_UNIT" and getattr(price, field) is not None:
            draft.report(price, field, f"a {model} price has no number of units", needs=(*needs, "min_units"))
    if price.min_units is not None and price.max_units is not None and price.min_units > price.max_units:
        message = f"`{price.min_units}` is more than maxUnits, `{price.max_units}`"
        draft.report(price, "min_units", message, needs=("max_units",))
    _check_cost(draft, price, by_unit)


def _check_cost(draft: Draft, price: Price, by_unit: bool) -> None:
    """Exactly one of amount, unitAmount and tiers, and the one that fits the model."""
    model = price.billing_model
    stated = [field for field in COST_FIELDS if getattr(price, field) not in (None, ())]
    needs = (*COST_FIELDS, "billing_model", "block_size")
    fitting = "amount"
    if by_unit or model == "CREDIT_BASED":
        fitting = "unitAmount, tiers, or blockSize with the amount of one block"
    if not stated:
        if draft.whole(price, "tiers"):
            draft.report(price, "", "states no amount", hint=f"a {model} price states {fitting}", needs=needs)
    elif len(stated) > 1:
        names = " and ".join(camel(field) for field in stated)
        hint = "state exactly one of amount, unitAmount and tiers"
        draft.report(price, stated[-1], f"is one too many: {names} are both stated", hint=hint, needs=needs)
    elif price.block_size is not None:
        if stated != ["amount"] or model in ("FLAT_FEE", "MINIMUM_SPEND"):
            message = "is for a price by unit that states the amount of one block"
            draft.report(price, "block_size", message, needs=needs)
    elif by_unit and stated == ["amount"]:
        hint = f"a {model} price states {fitting}"
        draft.report(price, "amount", f"does not fit a {model} price", hint=hint, needs=needs)
    elif model in ("FLAT_FEE", "MINIMUM_SPEND") and stated != ["amount"]:
        hint = f"a {model} price states amount; PER_UNIT and USAGE_BASED are by unit"
        draft.report(price, stated[0], f"does not fit a {model} price", hint=hint, needs=needs)
    if price.tiers and price.tiers_mode is None:
        draft.report(price, "tiers_mode", "is missing beside tiers", hint="GRADUATED | VOLUME", needs=("tiers",))
    elif price.tiers_mode is not None and not price.tiers and draft.whole(price, "tiers"):
        draft.report(price, "tiers_mode", "is stated without tiers", needs=needs)
    if draft.whole(price, "tiers"):
        _check_tiers(draft, price.tiers)


def _check_tiers(draft: Draft, tiers: Sequence[Tier]) -> None:
    below: int | float = 0
    for number, tier in enumerate(tiers, 1):
        if number == len(tiers):
            if tier.up_to is not None:
                draft.report(tier, "up_to", "the last tier is open and has no upTo")
        elif tier.up_to is None:
            draft.report(tier, "up_to", "only the last tier is open", hint="state how far this one goes")
        elif tier.up_to <= below:
            message = f"`{tier.up_to}` is not above the tier before it, which ends at `{below}`"
            draft.report(tier, "up_to", message)
        if tier.up_to is not None and draft.sound(tier, "up_to"):
            below = max(below, tier.up_to)
        if tier.unit_amount is None and tier.flat_amount is None:
            message = "states neither unitAmount nor flatAmount"
            draft.report(tier, "", message, needs=("unit_amount", "flat_amount"))


def _check_overage(draft: Draft, overage: OveragePrice, features: Mapping[str, Feature]) -> None:
    check_currency(draft, overage)
    _check_country(draft, overage)
    feature = known_feature(draft, overage, overage.feature_id, features)
    if feature is not None:
        _check_priced_feature(draft, overage, feature, metered=True)
    needs = ("amount", "unit_amount", "block_size")
    hint = "state unitAmount, or blockSize with the amount of one block"
    if overage.amount is not None and overage.unit_amount is not None:
        draft.report(overage, "amount", "stands beside unitAmount", hint=hint, needs=needs)
    elif overage.amount is None and overage.unit_amount is None:
        draft.report(overage, "", "states no amount", hint=hint, needs=needs)
    elif overage.amount is not None and overage.block_size is None:
        draft.report(overage, "amount", "needs the blockSize that it is for", hint=hint, needs=needs)
    elif overage.unit_amount is not None and overage.block_size is not None:
        draft.report(overage, "block_size", "needs the amount of one block", hint=hint, needs=needs)


def _check_priced_feature(draft: Draft, price: Price | OveragePrice, feature: Feature, *, metered: bool) -> None:
    if feature.feature_type != "Numeric":
        if draft.sound(feature, "feature_type"):
            kind = WITH_ARTICLE[feature.feature_type]
            message = f"`{shown(feature.id)}` is {kind} feature and has no units to pay for"
            draft.report(price, "feature_id", message)
    elif metered and not feature.is_metered and draft.sound(feature, "feature_type", "meter_type"):
        message = f"`{shown(feature.id)}` is not metered, so there is no usage to pay for"
        draft.report(price, "feature_id", message)


def _check_country(draft: Draft, price: Price | OveragePrice) -> None:
    code = price.billing_country_code
    if code is None or code in COUNTRIES:
        return
    hint = "did you mean `GB`?" if code.upper() == "UK" else None
    if code.upper() in COUNTRIES:
        hint = draft.hint(code, COUNTRIES_IN_ORDER)
    draft.report(
        price,
        "billing_country_code",
        f"`{shown(code)}` is not a country code of ISO 3166-1",
        hint=hint or "two capital letters, for example `DE`",
        code="InvalidArgumentError",
    )


def _report_twice(draft: Draft, price: Price | OveragePrice) -> None:
    draft.report(
        price,
        "",
        "is stated twice: a price before it has the same model, feature, billing period and country",
        code="DuplicatedEntityNotAllowed",
        needs=("*",),
    )
