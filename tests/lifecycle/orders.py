"""What an order asks the model for: its trial, quantities and code, checked, and whether it is more or less."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from tests.lifecycle.course import Course
from tests.lifecycle.record import DAY, Bought, Person, Terms, months_after, ms
from tests.lifecycle.shelf import Item, Shelf, currency_of, pick, refuse


class Orders(Course):
    """Checks, and nothing that changes a customer."""

    def __init__(self, shelf: Shelf, now: int, *, has_provider: bool = False) -> None:
        super().__init__(shelf, now, has_provider=has_provider)
        self.redeemed: dict[str, int] = {}

    def _redeem(self, code: str) -> str:
        found = self.shelf.codes.get(code)
        if found is None:
            raise refuse("PromotionCodeNotFound")
        if not found.get("active", True):
            raise refuse("PromotionCodeNotActive")
        used = self.redeemed.get(code, 0)
        if used >= found.get("maxRedemptions", used + 1):
            raise refuse("PromotionCodeMaxRedemptionsReached")
        self.redeemed[code] = used + 1
        return str(found["couponId"])

    def _trial(
        self, person: Person, plan: Item, resource: str | None, start: int, asked: Mapping[str, Any]
    ) -> tuple[int, str] | None:
        config = plan.get("defaultTrialConfig")
        override = asked.get("trial_override")
        behavior = (config or {}).get("trialEndBehavior", "CONVERT_TO_PAID")
        if override is not None:
            if not override.get("is_trial", True):
                return None
            if override.get("trial_end_date") is not None:
                return ms(override["trial_end_date"]), override.get("trial_end_behavior") or behavior
        elif config is None or asked.get("skip_trial"):
            return None
        place = plan["productId"], resource
        for sub in person.subs:
            if override is None and sub.product == plan["productId"] and sub.trial_end is not None:
                return None
            if sub.terms.plan == plan["id"] and (sub.product, sub.resource) == place and sub.runs:
                return None
        assert config is not None, "a trial without an end"
        length = config["duration"]
        end = start + length * DAY if config.get("units", "DAY") == "DAY" else months_after(start, length)
        return end, behavior

    # ------------------------------------------------------------------ what is asked for

    def _terms(self, plan: Item, asked: Mapping[str, Any], *, is_trial: bool = False) -> Terms:
        period, country = asked.get("billing_period"), asked.get("billing_country_code")
        if country is not None and (len(country) != 2 or country in ("XX", "ZZ")):
            raise refuse("InvalidArgumentError")
        prices = plan.get("prices", ()) if plan.get("pricingType", "FREE") == "PAID" else ()
        addons = self.addons(plan, asked.get("addons") or (), period)
        if prices and period is None and not is_trial:
            raise refuse("BillingPeriodMissingError")
        if prices and period is not None and period not in {price["billingPeriod"] for price in prices}:
            raise refuse("PriceNotFound")
        latest = self.shelf.latest(plan["id"])
        return Terms(
            plan["id"],
            latest,
            latest,
            period if prices or plan.get("pricingType") == "CUSTOM" else None,
            country,
            self.units(plan, asked.get("billable_features") or (), period, country, {}),
            addons,
            {
                item["feature"]["feature_id"]: item["feature"].get("usage_limit")
                for item in asked.get("entitlements") or ()
            },
        )

    def units(
        self,
        plan: Item,
        asked: Sequence[Mapping[str, Any]],
        period: str | None,
        country: str | None,
        kept: Mapping[str, int],
    ) -> dict[str, int]:
        """The committed quantities, those asked for over those kept."""
        listed = plan.get("prices", ())
        period = period or (listed[0]["billingPeriod"] if listed else None)
        prices = [price for price in pick(listed, period, country) if price.get("billingModel") == "PER_UNIT"]
        given = {item["feature_id"]: item["quantity"] for item in asked}
        if len(given) != len(asked):
            raise refuse("DuplicatedEntityNotAllowed")
        if set(given) - {price["featureId"] for price in prices}:
            raise refuse("InvalidQuantity")
        found = {**kept, **given}
        for price in prices:
            quantity = found.get(price["featureId"])
            if quantity is None or not price.get("minUnits", 1) <= quantity <= price.get("maxUnits", 1 << 40):
                raise refuse("InvalidQuantity")
        return {price["featureId"]: found[price["featureId"]] for price in prices}

    def addons(self, plan: Item, asked: Sequence[Mapping[str, Any]], period: str | None) -> dict[str, Bought]:
        """The add-ons at their latest version, each checked."""
        found: dict[str, Bought] = {}
        for item in asked:
            addon_id, quantity = item["addon_id"], item.get("quantity", 1)
            addon = self.shelf.addons.get(addon_id)
            if addon is None:
                raise refuse("AddonNotFound")
            if addon_id in found:
                raise refuse("DuplicateAddonProvisionedError")
            if addon_id not in plan.get("compatibleAddonIds", ()):
                raise refuse("IncompatibleSubscriptionAddon")
            if quantity < 1:
                raise refuse("InvalidQuantity")
            if quantity > addon.get("maxQuantity", quantity):
                raise refuse("AddonQuantityExceedsLimitError")
            if period is not None and period not in {price["billingPeriod"] for price in addon["prices"]}:
                raise refuse("PriceNotFound")
            if set(addon.get("dependencies", ())) - {other["addon_id"] for other in asked}:
                raise refuse("AddonDependencyMissingError")
            found[addon_id] = quantity, self.shelf.latest(addon_id), self.shelf.latest(addon_id)
        return found

    # ------------------------------------------------------------------ more or less

    def _is_up(self, old: Terms, new: Terms) -> bool:
        if old.plan != new.plan:
            kinds = self.pricing(old), self.pricing(new)
            if "CUSTOM" in kinds:
                return kinds[1] == "CUSTOM"
            currencies = [
                currency_of(self.shelf, terms.plan, terms.price_version, terms.period, terms.country)
                for terms in (old, new)
            ]
            if None not in currencies and currencies[0] != currencies[1]:
                return True
            return self._monthly(new) >= self._monthly(old)
        if old.period == "ANNUALLY" and new.period == "MONTHLY":
            return False
        fewer_units = any(new.units.get(feature, 0) < quantity for feature, quantity in old.units.items())
        fewer_addons = any(
            new.addons.get(addon, (0, 0, 0))[0] < quantity for addon, (quantity, _, _) in old.addons.items()
        )
        return not fewer_units and not fewer_addons

    def _monthly(self, terms: Terms) -> Fraction:
        return self.subtotal(terms) / (12 if terms.period == "ANNUALLY" else 1)
