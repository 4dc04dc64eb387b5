"""The model's catalog: plain dictionaries, every published version of a plan or an add-on kept in a list."""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from stigg_local import StiggError

Item = dict[str, Any]
ZERO_DECIMALS = ("JPY", "KRW")


def refuse(code: str) -> StiggError:
    """The error that ends a step."""
    return StiggError("the model refuses", code=code)


def rounded(amount: Fraction, currency: str) -> Decimal:
    """Half-up to the currency's minor unit, away from zero where it is negative."""
    unit = 1 if currency in ZERO_DECIMALS else 100
    whole = abs(amount) * unit + Fraction(1, 2)
    sign = -1 if amount < 0 else 1
    return Decimal(sign * (whole.numerator // whole.denominator)) / unit


class Shelf:
    """Products, plans, add-ons, coupons; `versions[id]` holds what was published, oldest first."""

    def __init__(self, catalog: Path | Mapping[str, Any]) -> None:
        self.versions: dict[str, list[Item]] = {}
        self.apply(catalog)

    def apply(self, catalog: Path | Mapping[str, Any]) -> None:
        """Publish: a plan or add-on that differs, also in what it inherits, gets another version."""
        source = json.loads(catalog.read_text()) if isinstance(catalog, Path) else catalog
        self.features = {item["id"]: item for item in source.get("features", ())}
        self.groups = {item["id"]: item["featureIds"] for item in source.get("featureGroups", ())}
        self.products = {item["id"]: item for item in source.get("products", ())}
        self.coupons = {item["id"]: item for item in source.get("coupons", ())}
        self.codes = {item["code"]: item for item in source.get("promotionCodes", ())}
        self.plans = {item["id"]: item for item in source.get("plans", ())}
        self.addons = {item["id"]: item for item in source.get("addons", ())}
        for item in (*self.plans.values(), *self.addons.values()):
            whole = {**item, "inherited": self._inherited(item)}
            kept = self.versions.setdefault(item["id"], [])
            if not kept or kept[-1] != whole:
                kept.append(whole)

    def _inherited(self, item: Item) -> list[Item]:
        own = {entitlement["featureId"] for entitlement in item.get("entitlements", ())}
        found: list[Item] = []
        parent = self.plans.get(item.get("parentPlanId", ""))
        while parent is not None:
            for entitlement in parent.get("entitlements", ()):
                if entitlement["featureId"] not in own:
                    own.add(entitlement["featureId"])
                    found.append(entitlement)
            parent = self.plans.get(parent.get("parentPlanId", ""))
        return found

    def latest(self, item_id: str) -> int:
        """The number of the newest version, counted from 0."""
        return len(self.versions[item_id]) - 1

    def settings(self, product_id: str) -> Item:
        """A product's settings with every default filled in."""
        return {
            "subscriptionStartSetup": "PLAN_SELECTION",
            "subscriptionEndSetup": "CANCEL_SUBSCRIPTION",
            "subscriptionCancellationTime": "IMMEDIATE",
            "downgradeTime": "IMMEDIATE",
            "usageResetOnPlanChange": "ALWAYS_RESET",
            **self.products[product_id].get("settings", {}),
        }


def pick(prices: Iterable[Item], period: str | None, country: str | None) -> list[Item]:
    """The prices of a billing period: those of the country where it has any, else those of no country."""
    of_period = [price for price in prices if price["billingPeriod"] == period]
    local = [price for price in of_period if country and price.get("billingCountryCode") == country]
    return local or [price for price in of_period if not price.get("billingCountryCode")]


def lines(
    shelf: Shelf,
    plan: str,
    version: int,
    period: str | None,
    country: str | None,
    units: Mapping[str, int],
    addons: Mapping[str, tuple[int, int, int]],
) -> dict[str, Fraction]:
    """The recurring lines of a subscription: the base, each per-unit feature, each add-on."""
    found: dict[str, Fraction] = {}
    for price in pick(shelf.versions[plan][version].get("prices", ()), period, country):
        if price.get("billingModel", "FLAT_FEE") == "FLAT_FEE":
            found["base"] = Fraction(price["amount"])
        elif price["billingModel"] == "PER_UNIT":
            found[price["featureId"]] = Fraction(price["unitAmount"]) * units.get(price["featureId"], 0)
    for addon, (quantity, _, addon_version) in addons.items():
        for price in pick(shelf.versions[addon][addon_version].get("prices", ()), period, country):
            found[addon] = Fraction(price["amount"]) * quantity
    return found


def currency_of(shelf: Shelf, plan: str, version: int, period: str | None, country: str | None) -> str | None:
    """The currency in which a plan is sold; None for a free one."""
    prices = pick(shelf.versions[plan][version].get("prices", ()), period, country)
    return prices[0]["currency"] if prices else None
